-- tables: events that goals count, what each visitor achieved, and the tallies of that
create table goal_event (
    project_id    uuid        not null,
    unit_id       text        not null,
    position      bigint      not null,
    occurred_at   timestamptz not null,
    event_type    text        not null,
    event_name    text,
    experiment_id uuid,
    variant_id    uuid,
    event_data    json,
    primary key (project_id, unit_id, position)
);
create table visitor_outcome (
    project_id    uuid    not null,
    experiment_id uuid    not null,
    unit_id       text    not null,
    goal          text    not null,
    variant_id    uuid    not null,
    epoch         integer not null,
    day           date    not null,
    conversions   bigint  not null,
    value         numeric not null,
    primary key (project_id, experiment_id, unit_id, goal, variant_id)
);
-- value is what the goal's kind measures of one visitor: 1, the number of conversions, or their summed
-- value. Sums of exact decimals do not depend on the order of events; centred squares follow from them.
create table goal_tally (
    project_id    uuid    not null,
    experiment_id uuid    not null,
    goal          text    not null,
    variant_id    uuid    not null,
    epoch         integer not null,
    day           date    not null,
    converters    bigint  not null,
    conversions   bigint  not null,
    value_sum     numeric not null,
    value_squares numeric not null,
    primary key (project_id, experiment_id, goal, variant_id, epoch, day)
);
create table visitor_unattributed (
    project_id    uuid   not null,
    experiment_id uuid   not null,
    unit_id       text   not null,
    reason        text   not null,
    events        bigint not null,
    primary key (project_id, experiment_id, unit_id, reason)
);
-- Events that name no known experiment stand under the nil experiment_id, for the whole project.
create table unattributed_tally (
    project_id    uuid   not null,
    experiment_id uuid   not null,
    reason        text   not null,
    events        bigint not null,
    primary key (project_id, experiment_id, reason)
);

-- staging_goal_events: the step's events that some goal counts
create temporary table if not exists staged_goal_event (
    unit_id       text        not null,
    position      bigint      not null,
    occurred_at   timestamptz not null,
    event_type    text        not null,
    event_name    text,
    experiment_id uuid,
    variant_id    uuid,
    event_data    json
) on commit delete rows;

-- staging_pairs: pairs of experiment and unit whose outcome the step may change
create temporary table if not exists staged_pair (
    experiment_id uuid not null,
    unit_id       text not null
) on commit delete rows;

-- staging_judgements: how each goal event of those pairs is judged, a row per goal; no reason = attributed
create temporary table if not exists staged_judgement (
    experiment_id    uuid        not null,
    unit_id          text        not null,
    position         bigint      not null,
    occurred_at      timestamptz not null,
    inferred         boolean     not null,
    goal             text        not null,
    kind             text        not null,
    variant_id       uuid        not null,
    epoch            integer,
    first_exposed_at timestamptz,
    amount           numeric,
    reason           text
) on commit delete rows;

-- staging_outcomes: the outcomes that follow
create temporary table if not exists staged_outcome (
    experiment_id uuid    not null,
    unit_id       text    not null,
    goal          text    not null,
    variant_id    uuid    not null,
    epoch         integer not null,
    day           date    not null,
    conversions   bigint  not null,
    value         numeric not null
) on commit delete rows;

-- staging_reasons: the events of those pairs that are not attributed, by reason
create temporary table if not exists staged_reason (
    experiment_id uuid   not null,
    unit_id       text   not null,
    reason        text   not null,
    events        bigint not null
) on commit delete rows;

-- stage_goal_events: pick the step's events that some goal counts
insert into staged_goal_event
select coalesce(e.visitor_id, e.event_id::text), e.position, e.occurred_at,
       e.event_type, e.event_name, e.experiment_id, e.variant_id, e.event_data
from event_log e
where e.project_id = %(project_id)s and e.position > %(after)s and e.position <= %(until)s
  and e.source <> 'management' and e.event_type <> 'experiment_impression'
  and exists (
      select from plan_goal g
      where g.project_id = e.project_id and g.event_type = e.event_type
        and (g.event_name is null or g.event_name = e.event_name)
        and (e.experiment_id is null or g.experiment_id = e.experiment_id)
  )
  and (
      (e.experiment_id is null and e.variant_id is null)
      or exists (
          select from plan_variant v
          where v.project_id = e.project_id and v.experiment_id = e.experiment_id
            and v.variant_id = e.variant_id
      )
  );

-- put_goal_events: keep them, for the exposures that arrive later
insert into goal_event (
    project_id, unit_id, position, occurred_at, event_type, event_name, experiment_id, variant_id, event_data
)
select %(project_id)s, unit_id, position, occurred_at, event_type, event_name,
       experiment_id, variant_id, event_data
from staged_goal_event;

-- stage_pairs: whose outcome may change: new exposures with goal events, new goal events of exposed visitors
insert into staged_pair
select s.experiment_id, s.visitor_id
from staged_exposure s
where exists (
    select from goal_event g where g.project_id = %(project_id)s and g.unit_id = s.visitor_id
)
union
select g.experiment_id, g.unit_id
from staged_goal_event g
where g.experiment_id is not null
union
select x.experiment_id, g.unit_id
from staged_goal_event g
join visitor_exposure x on x.project_id = %(project_id)s and x.visitor_id = g.unit_id
where g.experiment_id is null;

-- stage_judgements: judge every goal event of those pairs, old and new
insert into staged_judgement
select pair.experiment_id, pair.unit_id, g.position, g.occurred_at, g.experiment_id is null,
       goal.goal, goal.kind, coalesce(x.variant_id, g.variant_id), x.epoch, x.first_exposed_at,
       case when abs(number.amount) < 1e15 then number.amount end,
       case
           when x.multiple then 'multiple_exposures'
           when g.experiment_id is not null and x.variant_id <> g.variant_id then 'contradicts_exposure'
           when g.experiment_id is null and g.occurred_at < x.first_exposed_at then 'before_exposure'
           when g.experiment_id is null and g.occurred_at >= x.first_exposed_at + plan.attribution_window
               then 'outside_window'
           when goal.kind = 'value' and (number.amount is null or abs(number.amount) >= 1e15)
               then 'value_not_usable'
       end
from staged_pair pair
join experiment_plan plan
    on plan.project_id = %(project_id)s and plan.experiment_id = pair.experiment_id
left join visitor_exposure x
    on x.project_id = %(project_id)s and x.visitor_id = pair.unit_id and x.experiment_id = pair.experiment_id
join goal_event g
    on g.project_id = %(project_id)s and g.unit_id = pair.unit_id and g.position > plan.counted_after
   and (g.experiment_id = pair.experiment_id or (g.experiment_id is null and x.visitor_id is not null))
join plan_goal goal
    on goal.project_id = %(project_id)s and goal.experiment_id = pair.experiment_id
   and goal.event_type = g.event_type and (goal.event_name is null or goal.event_name = g.event_name)
cross join lateral (
    select case
        when goal.kind = 'value' and g.event_data ->> goal.value_field
             ~ '^[+-]?[0-9]{1,15}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?$'
        then round((g.event_data ->> goal.value_field)::numeric, 9)
    end as amount
) number;

-- stage_outcomes: what each unit achieved, by goal; a unit never exposed goes by its first conversion
insert into staged_outcome
select j.experiment_id, j.unit_id, j.goal, j.variant_id,
       coalesce(
           max(j.epoch),
           (select max(p.epoch) from plan_epoch p
            where p.project_id = %(project_id)s and p.experiment_id = j.experiment_id
              and p.started_at <= min(j.occurred_at)),
           (select min(p.epoch) from plan_epoch p
            where p.project_id = %(project_id)s and p.experiment_id = j.experiment_id),
           0),
       (coalesce(max(j.first_exposed_at), min(j.occurred_at)) at time zone 'UTC')::date,
       count(*),
       case j.kind when 'conversion' then 1 when 'count' then count(*) else sum(j.amount) end
from staged_judgement j
where j.reason is null
group by j.experiment_id, j.unit_id, j.goal, j.kind, j.variant_id;

-- stage_reasons: events that are not attributed; an exposed visitor's events leave not_exposed again
insert into staged_reason
select experiment_id, unit_id, reason, count(distinct position)
from staged_judgement
where reason is not null
group by experiment_id, unit_id, reason
union all
select j.experiment_id, j.unit_id, 'not_exposed', -count(distinct j.position)
from staged_judgement j
join experiment_plan p on p.project_id = %(project_id)s and p.experiment_id = j.experiment_id
where j.inferred and j.position > p.started_position
  and (p.stopped_position is null or j.position <= p.stopped_position)
group by j.experiment_id, j.unit_id;

-- tally_outcomes: add what the new outcomes change against the old ones
insert into goal_tally (
    project_id, experiment_id, goal, variant_id, epoch, day,
    converters, conversions, value_sum, value_squares
)
select %(project_id)s, experiment_id, goal, variant_id, epoch, day,
       sum(sign), sum(sign * conversions), sum(sign * value), sum(sign * value * value)
from (
    select experiment_id, goal, variant_id, epoch, day, conversions, value, 1 as sign
    from staged_outcome
    union all
    select o.experiment_id, o.goal, o.variant_id, o.epoch, o.day, o.conversions, o.value, -1
    from visitor_outcome o
    join staged_pair pair using (experiment_id, unit_id)
    where o.project_id = %(project_id)s
) change
group by experiment_id, goal, variant_id, epoch, day
on conflict (project_id, experiment_id, goal, variant_id, epoch, day) do update set
    converters = goal_tally.converters + excluded.converters,
    conversions = goal_tally.conversions + excluded.conversions,
    value_sum = goal_tally.value_sum + excluded.value_sum,
    value_squares = goal_tally.value_squares + excluded.value_squares;

-- clear_outcomes: make room for the new outcomes
delete from visitor_outcome o
using staged_pair pair
where o.project_id = %(project_id)s
  and o.experiment_id = pair.experiment_id and o.unit_id = pair.unit_id;

-- put_outcomes: remember the new outcomes
insert into visitor_outcome (
    project_id, experiment_id, unit_id, goal, variant_id, epoch, day, conversions, value
)
select %(project_id)s, experiment_id, unit_id, goal, variant_id, epoch, day, conversions, value
from staged_outcome;

-- tally_reasons: add what the new reasons change against the old ones
insert into unattributed_tally (project_id, experiment_id, reason, events)
select %(project_id)s, experiment_id, reason, sum(events)
from (
    select experiment_id, reason, events from staged_reason
    union all
    select u.experiment_id, u.reason, -u.events
    from visitor_unattributed u
    join staged_pair pair using (experiment_id, unit_id)
    where u.project_id = %(project_id)s
) change
group by experiment_id, reason
on conflict (project_id, experiment_id, reason) do update set
    events = unattributed_tally.events + excluded.events;

-- clear_reasons: make room for the new reasons
delete from visitor_unattributed u
using staged_pair pair
where u.project_id = %(project_id)s
  and u.experiment_id = pair.experiment_id and u.unit_id = pair.unit_id;

-- put_reasons: remember the new reasons
insert into visitor_unattributed (project_id, experiment_id, unit_id, reason, events)
select %(project_id)s, experiment_id, unit_id, reason, events
from staged_reason;

-- tally_misnamed: count the step's events that name an experiment or a variant in vain
insert into unattributed_tally (project_id, experiment_id, reason, events)
select project_id, case when reason = 'unknown_experiment' then %(nil)s else experiment_id end, reason, count(*)
from (
    select e.project_id, e.experiment_id,
           case
               when p.experiment_id is null then 'unknown_experiment'
               when v.variant_id is null then 'unknown_variant'
               when e.event_type <> 'experiment_impression' and not exists (
                   select from plan_goal g
                   where g.project_id = e.project_id and g.experiment_id = e.experiment_id
                     and g.event_type = e.event_type
                     and (g.event_name is null or g.event_name = e.event_name)
               ) then 'no_matching_goal'
           end as reason
    from event_log e
    left join experiment_plan p
        on p.project_id = e.project_id and p.experiment_id = e.experiment_id
    left join plan_variant v
        on v.project_id = e.project_id and v.experiment_id = e.experiment_id and v.variant_id = e.variant_id
    where e.project_id = %(project_id)s and e.position > %(after)s and e.position <= %(until)s
      and e.source <> 'management'
      and (
          e.experiment_id is not null or e.variant_id is not null
          or e.event_type = 'experiment_impression'
      )
) named
where reason is not null
group by 1, 2, 3
on conflict (project_id, experiment_id, reason) do update set
    events = unattributed_tally.events + excluded.events;

-- tally_candidates: count the step's events without an experiment as not_exposed, until judged otherwise
insert into unattributed_tally (project_id, experiment_id, reason, events)
select %(project_id)s, experiment_id, 'not_exposed', sum(events)
from (
    select distinct p.experiment_id, c.event_type, c.event_name, c.events
    from (
        select event_type, event_name, count(*) as events
        from staged_goal_event
        where experiment_id is null
        group by event_type, event_name
    ) c
    join plan_goal g
        on g.project_id = %(project_id)s and g.event_type = c.event_type
       and (g.event_name is null or g.event_name = c.event_name)
    join experiment_plan p
        on p.project_id = g.project_id and p.experiment_id = g.experiment_id
    where p.started_position is not null and p.stopped_position is null
) candidate
group by experiment_id
on conflict (project_id, experiment_id, reason) do update set
    events = unattributed_tally.events + excluded.events;

-- forget_outcomes: drop what was derived for a draft whose plan changed
delete from visitor_outcome where project_id = %(project_id)s and experiment_id = %(experiment_id)s;

-- forget_goal_tallies: likewise
delete from goal_tally where project_id = %(project_id)s and experiment_id = %(experiment_id)s;

-- forget_reasons: likewise
delete from visitor_unattributed where project_id = %(project_id)s and experiment_id = %(experiment_id)s;

-- forget_unattributed: likewise
delete from unattributed_tally where project_id = %(project_id)s and experiment_id = %(experiment_id)s;

-- goals: tallies of an experiment by goal, variant and epoch
select goal, variant_id, epoch, sum(converters)::bigint, sum(conversions)::bigint,
       sum(value_sum), sum(value_squares)
from goal_tally
where project_id = %(project_id)s and experiment_id = %(experiment_id)s
group by goal, variant_id, epoch;

-- unattributed: events that count for no variant, by reason, with those of the whole project
select reason, sum(events)::bigint
from unattributed_tally
where project_id = %(project_id)s and experiment_id in (%(experiment_id)s, %(nil)s)
group by reason
having sum(events) <> 0
order by reason;
