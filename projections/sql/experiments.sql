-- tables: experiments as the projection knows them at its checkpoint
create table experiment_plan (
    project_id          uuid     not null,
    experiment_id       uuid     not null,
    state               json     not null,
    attribution_window  interval not null,
    -- Only events behind this position count: those since the plan means what it means.
    counted_after       bigint   not null,
    started_position    bigint,
    stopped_position    bigint,
    since               integer  not null,
    primary key (project_id, experiment_id)
);
create table experiment_plan_past (
    like experiment_plan,
    until integer not null,
    primary key (project_id, experiment_id, until)
);
-- Who changed what and when, for as long as the experiment is known: months of the log may be archived.
create table experiment_fact (
    project_id    uuid   not null,
    experiment_id uuid   not null,
    position      bigint not null,
    fact          json   not null,
    primary key (project_id, experiment_id, position)
);
create table planned_variant (
    project_id    uuid not null,
    experiment_id uuid not null,
    variant_id    uuid not null,
    primary key (project_id, experiment_id, variant_id)
);
create table planned_goal (
    project_id    uuid not null,
    experiment_id uuid not null,
    goal          text not null,
    kind          text not null,
    event_type    text not null,
    event_name    text,
    value_field   text,
    primary key (project_id, experiment_id, goal)
);
create index planned_goal_by_event on planned_goal (project_id, event_type, experiment_id);
create table planned_epoch (
    project_id    uuid        not null,
    experiment_id uuid        not null,
    epoch         integer     not null,
    started_at    timestamptz not null,
    primary key (project_id, experiment_id, epoch)
);

-- facts: the management facts of a range, in order
select position, event_data::text
from event_log
where project_id = %(project_id)s and source = 'management'
  and position > %(after)s and position <= %(until)s
  and received_at >= %(received_from)s and received_at <= %(received_until)s
order by position;

-- plans: experiments as last written
select experiment_id, state::text, counted_after, started_position, stopped_position from experiment_plan
where project_id = %(project_id)s and experiment_id = any(%(experiment_ids)s::uuid[]);

-- keep_plans: keep for snapshots the plans that change
insert into experiment_plan_past
select *, %(snapshot)s from experiment_plan
where project_id = %(project_id)s and experiment_id = any(%(experiment_ids)s::uuid[]) and since < %(snapshot)s;

-- put_plans: write the plans of experiments
insert into experiment_plan (
    project_id, experiment_id, state, attribution_window, counted_after, started_position, stopped_position, since
)
select %(project_id)s, experiment_id, state::json, make_interval(hours => window_hours),
       counted_after, started_position, stopped_position, %(snapshot)s
from unnest(
    %(experiment_ids)s::uuid[], %(states)s::text[], %(window_hours)s::integer[], %(counted_after)s::bigint[],
    %(started_positions)s::bigint[], %(stopped_positions)s::bigint[]
) plan (experiment_id, state, window_hours, counted_after, started_position, stopped_position)
on conflict (project_id, experiment_id) do update set
    state = excluded.state,
    attribution_window = excluded.attribution_window,
    counted_after = excluded.counted_after,
    started_position = excluded.started_position,
    stopped_position = excluded.stopped_position,
    since = excluded.since;

-- put_facts: remember the facts of experiments
insert into experiment_fact (project_id, experiment_id, position, fact)
select %(project_id)s, experiment_id, position, fact::json
from unnest(%(experiment_ids)s::uuid[], %(positions)s::bigint[], %(facts)s::text[])
    placed (experiment_id, position, fact);

-- history: how far a project is counted, and the facts of one experiment up to a position, in order
select counted.position, fact.position, fact.fact::text
from (
    select coalesce(max(position), 0) as position from projection_checkpoint where project_id = %(project_id)s
) counted
left join experiment_fact fact
    on fact.project_id = %(project_id)s and fact.experiment_id = %(experiment_id)s and fact.position <= %(until)s
order by fact.position;

-- later: the same from the log, of positions that are not counted yet
select position, event_data::text from event_log
where project_id = %(project_id)s and source = 'management' and position > %(after)s and position <= %(until)s
  and experiment_id = %(experiment_id)s
order by position;

-- clear_planned_variants: forget an experiment's variants before they are written anew
delete from planned_variant where project_id = %(project_id)s and experiment_id = %(experiment_id)s;

-- clear_planned_goals: forget an experiment's goals before they are written anew
delete from planned_goal where project_id = %(project_id)s and experiment_id = %(experiment_id)s;

-- clear_planned_epochs: forget an experiment's epochs before they are written anew
delete from planned_epoch where project_id = %(project_id)s and experiment_id = %(experiment_id)s;

-- put_planned_variants: write the variants of an experiment
insert into planned_variant (project_id, experiment_id, variant_id)
select %(project_id)s, %(experiment_id)s, unnest(%(variant_ids)s::uuid[]);

-- put_planned_goals: write its goals
insert into planned_goal (project_id, experiment_id, goal, kind, event_type, event_name, value_field)
select %(project_id)s, %(experiment_id)s, each.*
from unnest(
    %(goals)s::text[], %(kinds)s::text[], %(event_types)s::text[], %(event_names)s::text[], %(value_fields)s::text[]
) each;

-- put_planned_epochs: write its epochs
insert into planned_epoch (project_id, experiment_id, epoch, started_at)
select %(project_id)s, %(experiment_id)s, each.*
from unnest(%(epochs)s::integer[], %(started_at)s::timestamptz[]) each;
