-- tables: how far this generation has come in each project's log
-- The checkpoint has the same shape in every layout: a version reads how far the tables of the one before have come.
create table projection_checkpoint (
    project_id uuid   primary key,
    position   bigint not null
);
create table projection_snapshot (
    project_id uuid    not null,
    position   bigint  not null,
    snapshot   integer not null,
    primary key (project_id, position)
);

-- checkpoint: how far this generation has come in a project's log
select position from projection_checkpoint where project_id = %(project_id)s;

-- mark: the same, and which generation's table says so
select tableoid::bigint, position from projection_checkpoint where project_id = %(project_id)s;

-- counted: how far a project's log is counted, and its newest snapshot with its position; 0 is none
select c.position, coalesce(newest.snapshot, 0), coalesce(newest.position, 0)
from projection_checkpoint c
left join lateral (
    select snapshot, position from projection_snapshot
    where project_id = %(project_id)s
    order by position desc
    limit 1
) newest on true
where c.project_id = %(project_id)s;

-- running: how many experiments of a project count visitors
select count(*) from experiment_plan
where project_id = %(project_id)s and started_position is not null and stopped_position is null;

-- leave_snapshot: what the tables say now can be read for ever
insert into projection_snapshot (project_id, position, snapshot) values (%(project_id)s, %(until)s, %(snapshot)s);

-- begin_checkpoint: start a project at nothing
insert into projection_checkpoint (project_id, position) values (%(project_id)s, 0)
on conflict do nothing;

-- move_checkpoint: compare and swap; no row means that another projector was here
update projection_checkpoint set position = %(until)s
where project_id = %(project_id)s and position = %(after)s
returning position;

-- ahead: where the log ends and when that was received, when the next event was, and the first management fact after a position
select
    head.position,
    head.received_at,
    next.received_at,
    (select position from event_log
     where project_id = %(project_id)s and source = 'management' and position > %(after)s
       and received_at >= next.received_at and received_at <= head.received_at
     order by position limit 1)
from (
    select first_position + event_count - 1 as position, received_at from log_batch
    where project_id = %(project_id)s
    order by first_position desc limit 1
) head
left join (
    select received_at from log_batch
    where project_id = %(project_id)s and first_position <= %(after)s + 1
    order by first_position desc limit 1
) next on true;

-- let_sort_in_memory: a step of many events sorts and hashes without going to disk
set local work_mem = '64MB';

-- let_commit_later: what a step derives follows from the log, and is derived again should a crash lose it
set local synchronous_commit = off;

-- plan_once: plans may be kept from step to step, and are good for any small one: by keys wherever there are some
-- Before 18, PostgreSQL made each plan that cannot do without a scan so dear for that that its other costs vanished.
select set_config('plan_cache_mode', 'auto', true),
       set_config('jit', 'off', true),
       set_config(
           'enable_seqscan',
           case when current_setting('server_version_num')::integer >= 180000 then 'off' else 'on' end,
           true
       );

-- plan_each_time: plans are made for the rows at hand
select set_config('plan_cache_mode', 'force_custom_plan', true),
       set_config('jit', 'off', true),
       set_config('enable_seqscan', 'on', true);

-- facts_end: the last of the management facts that stand right behind a position, one behind the other
select max(position)
from (
    select position, row_number() over (order by position) as nth
    from (
        select position from event_log
        where project_id = %(project_id)s and source = 'management' and position > %(after)s
          and received_at >= %(received_from)s and received_at <= %(received_until)s
        order by position
        limit %(facts_max)s
    ) next
) fact
where position = %(after)s + nth;

-- count: how many events a range holds, which must be its length
select count(*) from event_log
where project_id = %(project_id)s and position > %(after)s and position <= %(until)s
  and received_at >= %(received_from)s and received_at <= %(received_until)s;

-- staging: the step's events that a projection needs
create temporary table if not exists staged_event (
    position      bigint      not null,
    unit_id       text collate "C" not null,
    is_identified boolean     not null,
    occurred_at   timestamptz not null,
    event_type    text        not null,
    event_name    text,
    experiment_id uuid,
    variant_id    uuid,
    is_impression boolean     not null,
    is_known      boolean     not null,
    segment       bigint,
    event_data    json
) on commit delete rows;

-- stage_events: read the range once; keep impressions, events that name a variant, and those of a type that a goal counts
insert into staged_event
select e.position, coalesce(e.visitor_id, e.event_id::text), e.visitor_id is not null, e.occurred_at,
       e.event_type, e.event_name, e.experiment_id, e.variant_id, e.event_type = 'experiment_impression',
       -- Hashed once: joined, a few variants were looked up in their index for each event.
       coalesce((e.experiment_id, e.variant_id) in (
           select experiment_id, variant_id from planned_variant where project_id = %(project_id)s
       ), false),
       -- How and whence a visitor came, in one number; what the server writes for browsers needs no parsing.
       case when e.event_type = 'experiment_impression' then hashtextextended(concat(
           case
               when e.source = 'browser' then e.context::text
               else concat(e.context ->> 'device', E'\n', e.context ->> 'browser', E'\n', e.context ->> 'os')
           end,
           E'\n', split_part(e.referrer, '/', 3),
           case when e.utm is not null then
               concat(E'\n', e.utm ->> 'source', E'\n', e.utm ->> 'medium', E'\n', e.utm ->> 'campaign')
           end
       ), 0) end,
       case when e.event_type <> 'experiment_impression' then e.event_data end
from event_log e
where e.project_id = %(project_id)s and e.position > %(after)s and e.position <= %(until)s
  and e.received_at >= %(received_from)s and e.received_at <= %(received_until)s
  and e.source <> 'management'
  and (
      e.event_type = 'experiment_impression' or e.experiment_id is not null or e.variant_id is not null
      or e.event_type = any (array(select distinct event_type from planned_goal where project_id = %(project_id)s))
  )
  -- Where one experiment is counted, what names another known one changes nothing.
  and (
      %(only)s::uuid is null or e.experiment_id is null or e.experiment_id = %(only)s
      or e.experiment_id not in (select experiment_id from experiment_plan where project_id = %(project_id)s)
  );

-- lagging: projects whose log goes on behind their checkpoint
with counted as materialized (select project_id, position from projection_checkpoint)
select p.project_id, coalesce(c.position, 0), h.head
from project p
left join counted c using (project_id)
cross join lateral (
    select first_position + event_count - 1 as head
    from log_batch b
    where b.project_id = p.project_id
    order by first_position desc
    limit 1
) h
where h.head > coalesce(c.position, 0);

-- standings: how far some projects are counted, and where their logs end
with counted as materialized (
    select project_id, position from projection_checkpoint where project_id = any(%(project_ids)s)
)
select p.project_id, c.position, h.head
from project p
join counted c using (project_id)
cross join lateral (
    select first_position + event_count - 1 as head
    from log_batch b
    where b.project_id = p.project_id
    order by first_position desc
    limit 1
) h
where p.project_id = any(%(project_ids)s);

-- status: every project's checkpoint, the end of its log, and since when the next event waits
with counted as materialized (select project_id, position from projection_checkpoint)
select p.project_id, p.name, coalesce(c.position, 0), coalesce(h.head, 0), w.received_at
from project p
left join counted c using (project_id)
left join lateral (
    select first_position + event_count - 1 as head
    from log_batch b
    where b.project_id = p.project_id
    order by first_position desc
    limit 1
) h on true
left join lateral (
    select received_at
    from log_batch b
    where b.project_id = p.project_id and b.first_position + b.event_count - 1 > coalesce(c.position, 0)
      and b.first_position <= coalesce(c.position, 0) + 1
    order by first_position desc
    limit 1
) w on true
order by p.name, p.project_id;

-- logs: every log that there are traces of, with its project's name if that stands, how far it was counted and its end
select project_id, p.name, coalesce(c.position, 0), coalesce(h.head, 0)
from (
    select project_id, max(first_position + event_count - 1) as head
    from log_batch
    group by project_id
) h
full join project p using (project_id)
full join projection_checkpoint c using (project_id)
order by p.name, project_id;

-- live_generation: which generation answers now, and which tables it has
select generation, layout from projection_generation where state = 'live';

-- show_live: let unqualified names mean the live generation's tables until the transaction ends
select set_config('search_path', 'projection_' || generation || ', public', true)
from projection_generation where state = 'live';

-- show_own: the same, where they have the layout given; else names mean nothing, and no other table is taken for one of them
select set_config('search_path', 'projection_' || generation || ', public', true)
from projection_generation where state = 'live' and layout = %(layout)s;

-- next_generation: a number for a new generation
select coalesce(max(generation), 0) + 1 from projection_generation;

-- columns_compared: what two derivations of a table must share, and whether it is json, which has no equality;
-- since which snapshot a row stands may depend on where steps end, if it went and came back
select attname, atttypid = 'json'::regtype
from pg_attribute
where attrelid = format('%%I.%%I', %(schema)s::text, %(table)s::text)::regclass and attnum > 0 and not attisdropped
  and attname <> 'since'
order by attnum;

-- add_generation: a generation begins
insert into projection_generation (generation, state, layout, live_at)
values (%(generation)s, %(state)s, %(layout)s, case when %(state)s = 'live' then now() end);

-- retire_live: the live generation steps down
update projection_generation set state = 'retired' where state = 'live';

-- make_live: a generation answers from now on
update projection_generation set state = 'live', live_at = now() where generation = %(generation)s;

-- lock_checkpoints: hold the live generation still, projects that appear only now too; readers go on
lock table projection_checkpoint in share row exclusive mode;

-- abandoned_generations: what an interrupted or finished rebuild has left
select generation from projection_generation where state <> 'live';

-- forget_generation: a generation is gone
delete from projection_generation where generation = %(generation)s;
