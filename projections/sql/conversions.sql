-- tables: events that goals count, what each visitor achieved, and the tallies of that
create table goal_event (
    project_id    uuid        not null,
    unit_id       text collate "C" not null,
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
    project_id         uuid        not null,
    experiment_id      uuid        not null,
    unit_id            text collate "C" not null,
    goal               text        not null,
    variant_id         uuid        not null,
    epoch              integer     not null,
    day                date        not null,
    conversions        bigint      not null,
    first_converted_at timestamptz not null,
    -- That of the unit's first exposure, if it has one.
    segment            bigint,
    since              integer     not null,
    value              numeric     not null,
    primary key (project_id, experiment_id, unit_id, goal, variant_id)
);
create table visitor_outcome_past (
    like visitor_outcome,
    until integer not null,
    primary key (project_id, experiment_id, unit_id, goal, variant_id, until)
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
    since         integer not null,
    primary key (project_id, experiment_id, goal, variant_id, epoch, day)
);
create table goal_tally_past (
    like goal_tally,
    until integer not null,
    primary key (project_id, experiment_id, until, goal, variant_id, epoch, day)
);
create table visitor_unattributed (
    project_id    uuid    not null,
    experiment_id uuid    not null,
    unit_id       text collate "C" not null,
    reason        text    not null,
    events        bigint  not null,
    since         integer not null,
    primary key (project_id, experiment_id, unit_id, reason)
);
create table visitor_unattributed_past (
    like visitor_unattributed,
    until integer not null,
    primary key (project_id, experiment_id, unit_id, reason, until)
);
-- Events that name an experiment, but no variant or goal of it, by unit: found when somebody asks about one.
create table misnamed_event (
    project_id    uuid        not null,
    unit_id       text collate "C" not null,
    position      bigint      not null,
    experiment_id uuid        not null,
    occurred_at   timestamptz not null,
    event_type    text        not null,
    event_name    text,
    reason        text        not null,
    primary key (project_id, unit_id, position)
);
-- Events that name no known experiment stand under the nil experiment_id, for the whole project.
create table unattributed_tally (
    project_id    uuid    not null,
    experiment_id uuid    not null,
    reason        text    not null,
    events        bigint  not null,
    since         integer not null,
    primary key (project_id, experiment_id, reason)
);
create table unattributed_tally_past (
    like unattributed_tally,
    until integer not null,
    primary key (project_id, experiment_id, until, reason)
);

-- staging_goal_events: the step's events that some goal counts, or those of one unit that are explained
create temporary table if not exists staged_goal_event (
    unit_id       text collate "C" not null,
    position      bigint      not null,
    occurred_at   timestamptz not null,
    event_type    text not null,
    event_name    text,
    experiment_id uuid,
    variant_id    uuid,
    event_data    json
) on commit delete rows;

-- staging_pairs: pairs of experiment and unit whose outcome the step may change, with the exposure that stands
create temporary table if not exists staged_pair (
    experiment_id    uuid    not null,
    unit_id          text storage plain collate "C" not null,
    -- The unit has goal events from before the step.
    has_earlier      boolean not null,
    -- They are judged anew, as the step brought another exposure.
    rejudged         boolean not null,
    -- It is the first: so far they counted as not_exposed.
    exposed_late     boolean not null,
    variant_id       uuid,
    epoch            integer,
    first_exposed_at timestamptz,
    segment          bigint,
    multiple         boolean
) on commit delete rows;

-- staging_judgements: how each goal event of those pairs is judged, a row per goal; no reason = attributed
create temporary table if not exists staged_judgement (
    experiment_id      uuid        not null,
    unit_id            text storage plain collate "C" not null,
    position           bigint      not null,
    occurred_at        timestamptz not null,
    leaves_not_exposed boolean     not null,
    goal               text storage plain not null,
    kind               text storage plain not null,
    variant_id         uuid        not null,
    epoch              integer,
    first_exposed_at   timestamptz,
    segment            bigint,
    amount             numeric storage plain,
    reason             text storage plain
) on commit delete rows;

-- staging_old_outcomes: the outcomes that change, and where they stand
create temporary table if not exists staged_old_outcome (
    place              tid         not null,
    rejudged           boolean     not null,
    experiment_id      uuid        not null,
    unit_id            text storage plain collate "C" not null,
    goal               text storage plain not null,
    variant_id         uuid        not null,
    epoch              integer     not null,
    day                date        not null,
    conversions        bigint      not null,
    value              numeric storage plain not null,
    first_converted_at timestamptz not null
) on commit delete rows;

-- staging_outcomes: the outcomes that take their place, and those that had none
create temporary table if not exists staged_outcome (
    is_new             boolean     not null,
    experiment_id      uuid        not null,
    unit_id            text storage plain collate "C" not null,
    goal               text storage plain not null,
    variant_id         uuid        not null,
    epoch              integer     not null,
    day                date        not null,
    conversions        bigint      not null,
    value              numeric storage plain not null,
    first_converted_at timestamptz not null,
    segment            bigint
) on commit delete rows;

-- staging_outcome_changes: how the tallies of outcomes change
create temporary table if not exists staged_outcome_change (
    experiment_id uuid    not null,
    goal          text storage plain not null,
    variant_id    uuid    not null,
    epoch         integer not null,
    day           date    not null,
    converters    bigint  not null,
    conversions   bigint  not null,
    value_sum     numeric storage plain not null,
    value_squares numeric storage plain not null
) on commit delete rows;

-- staging_old_reasons: why events of those pairs were not attributed so far, and where that stands
create temporary table if not exists staged_old_reason (
    place         tid     not null,
    rejudged      boolean not null,
    experiment_id uuid    not null,
    unit_id       text storage plain collate "C" not null,
    reason        text storage plain not null,
    events        bigint  not null
) on commit delete rows;

-- staging_reasons: how the numbers of events that are not attributed change, by reason
create temporary table if not exists staged_reason (
    place         tid,
    experiment_id uuid   not null,
    unit_id       text storage plain collate "C" not null,
    reason        text storage plain not null,
    events        bigint not null
) on commit delete rows;

-- staging_misnamed: the step's events that name an experiment or a variant in vain
create temporary table if not exists staged_misnamed (
    unit_id       text storage plain collate "C" not null,
    position      bigint      not null,
    experiment_id uuid,
    occurred_at   timestamptz not null,
    event_type    text storage plain not null,
    event_name    text storage plain,
    reason        text storage plain not null
) on commit delete rows;

-- staging_unattributed: how the tallies of events that are not attributed change
create temporary table if not exists staged_unattributed (
    experiment_id uuid   not null,
    reason        text storage plain not null,
    events        bigint not null
) on commit delete rows;

-- stage_goal_events: pick the step's events that some goal counts
insert into staged_goal_event
select e.unit_id, e.position, e.occurred_at,
       e.event_type, e.event_name, e.experiment_id, e.variant_id, e.event_data
from staged_event e
where not e.is_impression
  and (e.is_known or (e.experiment_id is null and e.variant_id is null))
  -- Hashed by all that tells goals apart: joined by type alone, each event was held against every goal.
  and case
      when e.experiment_id is null then
          (e.event_type, e.event_name) in (
              select event_type, event_name from planned_goal
              where project_id = %(project_id)s and event_name is not null
          )
          or e.event_type in (
              select event_type from planned_goal where project_id = %(project_id)s and event_name is null
          )
      else
          (e.experiment_id, e.event_type, e.event_name) in (
              select experiment_id, event_type, event_name from planned_goal
              where project_id = %(project_id)s and event_name is not null
          )
          or (e.experiment_id, e.event_type) in (
              select experiment_id, event_type from planned_goal
              where project_id = %(project_id)s and event_name is null
          )
  end;

-- stage_pairs: whose outcome may change: changed exposures with earlier goal events, new goal events of exposed visitors
insert into staged_pair
select experiment_id, unit_id, has_earlier, bool_or(rejudged), bool_or(exposed_late),
       variant_id, epoch, first_exposed_at, segment, multiple
from (
    select s.experiment_id, s.visitor_id as unit_id, true as has_earlier, true as rejudged,
           s.old_variant_id is null as exposed_late,
           s.variant_id, s.epoch, s.first_exposed_at, s.segment, s.multiple
    from staged_exposure s
    -- Of many visitors few convert: asked for all at once, the index is walked along, not entered for each of them.
    -- A hash as far as memory goes, where joins are loops without statistics: `is true` keeps it from being one.
    where (
        s.visitor_id in (
            select g.unit_id from goal_event g
            where g.project_id = %(project_id)s and g.unit_id = any (array(select visitor_id from staged_exposure))
        )
    ) is true
    union all
    select e.experiment_id, e.unit_id, e.has_earlier, false, false,
           e.variant_id, e.epoch, e.first_exposed_at, e.segment, e.multiple
    from (
        select coalesce(g.experiment_id, x.experiment_id) as experiment_id, g.unit_id,
               -- One is enough, of a unit that may have any number of them.
               coalesce((
                   select true from goal_event earlier
                   where earlier.project_id = %(project_id)s and earlier.unit_id = g.unit_id
                   limit 1
               ), false) as has_earlier,
               x.variant_id, x.epoch, x.first_exposed_at, x.segment, x.multiple
        from staged_goal_event g
        left join lateral (
            select x.experiment_id, x.variant_id, x.epoch, x.first_exposed_at, x.segment, x.multiple
            from visitor_exposure x
            where x.project_id = %(project_id)s and x.visitor_id = g.unit_id
              and (g.experiment_id is null or x.experiment_id = g.experiment_id)
            offset 0
        ) x on true
    ) e
    where e.experiment_id is not null
) touched
group by unit_id, experiment_id, has_earlier, variant_id, epoch, first_exposed_at, segment, multiple;

-- put_goal_events: keep them, for the exposures that arrive later
insert into goal_event (
    project_id, unit_id, position, occurred_at, event_type, event_name, experiment_id, variant_id, event_data
)
select %(project_id)s, unit_id, position, occurred_at, event_type, event_name,
       experiment_id, variant_id, event_data
from staged_goal_event;

-- stage_judgements: judge the step's goal events of those pairs, and all earlier ones where the exposure changed
insert into staged_judgement
select e.experiment_id, e.unit_id, e.position, e.occurred_at, e.leaves_not_exposed,
       goal.goal, goal.kind, e.variant_id, e.epoch, e.first_exposed_at, e.segment,
       case when abs(number.amount) < 1e15 then number.amount end,
       case
           when e.reason is not null then e.reason
           when goal.kind = 'value' and (number.amount is null or abs(number.amount) >= 1e15)
               then 'value_not_usable'
       end
from (
    select event.experiment_id, event.unit_id, event.position, event.occurred_at,
           event.event_type, event.event_name, event.event_data,
           -- Inferred ones counted there while the experiment ran, until an exposure was known.
           coalesce(
               event.named_id is null and (event.position > %(after)s or event.exposed_late)
               and event.position > plan.started_position
               and (plan.stopped_position is null or event.position <= plan.stopped_position),
               false
           ) as leaves_not_exposed,
           coalesce(event.exposed_id, event.variant_id) as variant_id, event.epoch, event.first_exposed_at,
           event.segment,
           case
               when event.multiple then 'multiple_exposures'
               when event.named_id is not null and event.exposed_id <> event.variant_id then 'contradicts_exposure'
               when event.named_id is null and event.occurred_at < event.first_exposed_at then 'before_exposure'
               when event.named_id is null
                   and event.occurred_at >= event.first_exposed_at + plan.attribution_window then 'outside_window'
           end as reason
    from (
        select pair.experiment_id, pair.unit_id, pair.exposed_late, pair.variant_id as exposed_id, pair.epoch,
               pair.first_exposed_at, pair.segment, pair.multiple, g.position, g.occurred_at, g.event_type, g.event_name,
               g.experiment_id as named_id, g.variant_id, g.event_data
        from staged_pair pair
        join staged_goal_event g on g.unit_id = pair.unit_id
        union all
        select pair.experiment_id, pair.unit_id, pair.exposed_late, pair.variant_id, pair.epoch,
               pair.first_exposed_at, pair.segment, pair.multiple, g.position, g.occurred_at, g.event_type, g.event_name,
               g.experiment_id, g.variant_id, g.event_data
        from staged_pair pair
        join experiment_plan plan
            on plan.project_id = %(project_id)s and plan.experiment_id = pair.experiment_id
        cross join lateral (
            select position, occurred_at, event_type, event_name, experiment_id, variant_id, event_data
            from goal_event g
            where g.project_id = %(project_id)s and g.unit_id = pair.unit_id
              and g.position > plan.counted_after and g.position <= %(after)s
            offset 0
        ) g
        where pair.rejudged
    ) event
    join experiment_plan plan
        on plan.project_id = %(project_id)s and plan.experiment_id = event.experiment_id
    -- As a case, for the planner not to expect a handful: it joined what follows in loops.
    where case
        when event.named_id is null then event.exposed_id is not null else event.named_id = event.experiment_id
    end
    offset 0  -- one event is looked at once, however many goals count it
) e
-- By key: joined without statistics, each event was held against every goal.
cross join lateral (
    select goal, kind, value_field from planned_goal goal
    where goal.project_id = %(project_id)s and goal.experiment_id = e.experiment_id
      and goal.event_type = e.event_type and (goal.event_name is null or goal.event_name = e.event_name)
    offset 0
) goal
-- `offset 0`: each number is parsed once, although it is named four times above.
cross join lateral (
    select case when goal.kind = 'value' then e.event_data ->> goal.value_field end as written
    offset 0
) field
cross join lateral (
    select case
        when field.written ~ '^[+-]?[0-9]{1,15}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?$'
        then round(field.written::numeric, 9)
    end as amount
    offset 0
) number;

-- stage_pair: one pair, to judge some of its goal events
insert into staged_pair
select %(experiment_id)s, asked.unit_id, false, false, false, x.variant_id, x.epoch, x.first_exposed_at, x.segment, x.multiple
from (select %(unit_id)s::text as unit_id) asked
left join visitor_exposure x
    on x.project_id = %(project_id)s and x.visitor_id = asked.unit_id and x.experiment_id = %(experiment_id)s;

-- stage_unit_events: those goal events
insert into staged_goal_event
select unit_id, position, occurred_at, event_type, event_name, experiment_id, variant_id, event_data
from goal_event
where project_id = %(project_id)s and unit_id = %(unit_id)s and position > %(after)s and position <= %(until)s;

-- judgements: what was judged, a row per goal
select position, goal, variant_id, epoch, amount, reason from staged_judgement order by position, goal;

-- stage_old_outcomes: find what was known of what changes
insert into staged_old_outcome
select o.*
from staged_pair pair
cross join lateral (
    select o.ctid, pair.rejudged, experiment_id, unit_id, goal, variant_id, epoch, day, conversions, value,
           first_converted_at
    from visitor_outcome o
    where o.project_id = %(project_id)s
      and o.experiment_id = pair.experiment_id and o.unit_id = pair.unit_id
    offset 0
) o
where pair.has_earlier and (pair.rejudged or exists (
    select from staged_judgement j
    where j.reason is null and j.experiment_id = o.experiment_id and j.unit_id = o.unit_id
      and j.goal = o.goal and j.variant_id = o.variant_id
));

-- stage_outcomes: what each unit has achieved now; a unit never exposed goes by its first conversion
insert into staged_outcome
select is_new, experiment_id, unit_id, goal, variant_id,
       coalesce(
           exposed_epoch,
           (select max(p.epoch) from planned_epoch p
            where p.project_id = %(project_id)s and p.experiment_id = achieved.experiment_id
              and p.started_at <= first_converted_at),
           (select min(p.epoch) from planned_epoch p
            where p.project_id = %(project_id)s and p.experiment_id = achieved.experiment_id),
           0),
       (coalesce(first_exposed_at, first_converted_at) at time zone 'UTC')::date,
       conversions, value, first_converted_at, segment
from (
    select o.place is null as is_new,
           j.experiment_id, j.unit_id, j.goal, j.variant_id, j.exposed_epoch, j.first_exposed_at, j.segment,
           j.conversions + coalesce(before.conversions, 0) as conversions,
           case j.kind when 'conversion' then 1 else j.value + coalesce(before.value, 0) end as value,
           least(j.first_converted_at, before.first_converted_at) as first_converted_at
    from (
        select experiment_id, unit_id, goal, kind, variant_id,
               max(epoch) as exposed_epoch, max(first_exposed_at) as first_exposed_at, max(segment) as segment,
               count(*) as conversions,
               case kind when 'value' then sum(amount) else count(*) end as value,
               min(occurred_at) as first_converted_at
        from staged_judgement
        where reason is null
        group by unit_id, experiment_id, goal, kind, variant_id
    ) j
    left join staged_old_outcome o
        on o.experiment_id = j.experiment_id and o.unit_id = j.unit_id
       and o.goal = j.goal and o.variant_id = j.variant_id
    -- Of a rejudged one nothing stays.
    left join lateral (
        select o.conversions, o.value, o.first_converted_at where not o.rejudged
    ) before on true
) achieved;

-- stage_old_reasons: find what was known of why events do not count
insert into staged_old_reason
select u.*
from staged_pair pair
cross join lateral (
    select u.ctid, pair.rejudged, experiment_id, unit_id, reason, events
    from visitor_unattributed u
    where u.project_id = %(project_id)s
      and u.experiment_id = pair.experiment_id and u.unit_id = pair.unit_id
    offset 0
) u
where pair.has_earlier;

-- stage_reasons: events that are not attributed
insert into staged_reason
select o.place, change.experiment_id, change.unit_id, change.reason, change.events
from (
    select experiment_id, unit_id, reason, sum(events) as events
    from (
        select experiment_id, unit_id, reason, count(distinct position) as events
        from staged_judgement
        where reason is not null
        group by experiment_id, unit_id, reason
        union all
        select experiment_id, unit_id, reason, -events
        from staged_old_reason
        where rejudged
    ) change
    group by experiment_id, unit_id, reason
    having sum(events) <> 0
) change
left join staged_old_reason o
    on o.experiment_id = change.experiment_id and o.unit_id = change.unit_id and o.reason = change.reason;

-- stage_outcome_changes: what the new outcomes change against the old ones
insert into staged_outcome_change
select experiment_id, goal, variant_id, epoch, day,
       sum(sign), sum(sign * conversions), sum(sign * value), sum(sign * value * value)
from (
    select experiment_id, goal, variant_id, epoch, day, conversions, value, 1 as sign
    from staged_outcome
    union all
    select experiment_id, goal, variant_id, epoch, day, conversions, value, -1
    from staged_old_outcome
) change
group by experiment_id, goal, variant_id, epoch, day;

-- keep_outcome_tallies: keep for snapshots the tallies that change
insert into goal_tally_past
select t.*, %(snapshot)s
from staged_outcome_change changed
cross join lateral (
    select * from goal_tally t
    where t.project_id = %(project_id)s and t.experiment_id = changed.experiment_id and t.goal = changed.goal
      and t.variant_id = changed.variant_id and t.epoch = changed.epoch and t.day = changed.day
      and t.since < %(snapshot)s
    offset 0
) t;

-- tally_outcomes: add what changes
insert into goal_tally (
    project_id, experiment_id, goal, variant_id, epoch, day,
    converters, conversions, value_sum, value_squares, since
)
select %(project_id)s, experiment_id, goal, variant_id, epoch, day,
       converters, conversions, value_sum, value_squares, %(snapshot)s
from staged_outcome_change
on conflict (project_id, experiment_id, goal, variant_id, epoch, day) do update set
    converters = goal_tally.converters + excluded.converters,
    conversions = goal_tally.conversions + excluded.conversions,
    value_sum = goal_tally.value_sum + excluded.value_sum,
    value_squares = goal_tally.value_squares + excluded.value_squares,
    since = excluded.since;

-- keep_outcomes: keep for snapshots the outcomes that change
insert into visitor_outcome_past
select *, %(snapshot)s
from visitor_outcome
where project_id = %(project_id)s and since < %(snapshot)s
  and ctid = any (array(select place from staged_old_outcome));

-- clear_outcomes: drop outcomes that nothing replaces
delete from visitor_outcome
where project_id = %(project_id)s and ctid = any (array(
    select old.place from staged_old_outcome old
    where old.rejudged and not exists (
        select from staged_outcome new
        where new.experiment_id = old.experiment_id and new.unit_id = old.unit_id
          and new.goal = old.goal and new.variant_id = old.variant_id
    )
));

-- put_outcomes: remember the outcomes that are new
insert into visitor_outcome (
    project_id, experiment_id, unit_id, goal, variant_id, epoch, day, conversions, first_converted_at, segment,
    since, value
)
select %(project_id)s, experiment_id, unit_id, goal, variant_id, epoch, day, conversions, first_converted_at, segment,
       %(snapshot)s, value
from staged_outcome
where is_new
order by experiment_id, unit_id, goal;

-- change_outcomes: correct those that are not
insert into visitor_outcome (
    project_id, experiment_id, unit_id, goal, variant_id, epoch, day, conversions, first_converted_at, segment,
    since, value
)
select %(project_id)s, experiment_id, unit_id, goal, variant_id, epoch, day, conversions, first_converted_at, segment,
       %(snapshot)s, value
from staged_outcome
where not is_new
order by experiment_id, unit_id, goal
on conflict (project_id, experiment_id, unit_id, goal, variant_id) do update set
    epoch = excluded.epoch,
    day = excluded.day,
    conversions = excluded.conversions,
    first_converted_at = excluded.first_converted_at,
    segment = excluded.segment,
    since = excluded.since,
    value = excluded.value;

-- keep_reasons: keep for snapshots the reasons that change
insert into visitor_unattributed_past
select *, %(snapshot)s
from visitor_unattributed
where project_id = %(project_id)s and since < %(snapshot)s
  and ctid = any (array(select place from staged_reason where place is not null));

-- put_reasons: remember the reasons that are new
insert into visitor_unattributed (project_id, experiment_id, unit_id, reason, events, since)
select %(project_id)s, experiment_id, unit_id, reason, events, %(snapshot)s
from staged_reason
where place is null
order by experiment_id, unit_id;

-- change_reasons: add to those that are not
insert into visitor_unattributed (project_id, experiment_id, unit_id, reason, events, since)
select %(project_id)s, experiment_id, unit_id, reason, events, %(snapshot)s
from staged_reason
where place is not null
order by experiment_id, unit_id
on conflict (project_id, experiment_id, unit_id, reason) do update set
    events = visitor_unattributed.events + excluded.events,
    since = excluded.since;

-- stage_unattributed: what the reasons change in the tallies
insert into staged_unattributed
select experiment_id, reason, sum(events)
from staged_reason
group by experiment_id, reason;

-- stage_exposed: events of exposed visitors are not_exposed no longer
insert into staged_unattributed
select experiment_id, 'not_exposed', -count(distinct position)
from staged_judgement
where leaves_not_exposed
group by experiment_id;

-- stage_misnamed: the step's events that name an experiment or a variant in vain
insert into staged_misnamed
select unit_id, position, experiment_id, occurred_at, event_type, event_name, reason
from (
    select e.*,
           case
               when p.experiment_id is null then 'unknown_experiment'
               when not e.is_known then 'unknown_variant'
               when not exists (
                   select from planned_goal g
                   where g.project_id = %(project_id)s and g.experiment_id = e.experiment_id
                     and g.event_type = e.event_type
                     and (g.event_name is null or g.event_name = e.event_name)
               ) then 'no_matching_goal'
           end as reason
    from staged_event e
    left join experiment_plan p
        on p.project_id = %(project_id)s and p.experiment_id = e.experiment_id
    where not (e.is_known and e.is_impression)
      and (
          e.experiment_id is not null or e.variant_id is not null
          or e.is_impression
      )
) named
where reason is not null;

-- count_misnamed: what they change in the tallies
insert into staged_unattributed
select case when reason = 'unknown_experiment' then %(nil)s else experiment_id end, reason, count(*)
from staged_misnamed
group by 1, 2;

-- put_misnamed: remember those of known experiments
insert into misnamed_event (
    project_id, unit_id, position, experiment_id, occurred_at, event_type, event_name, reason
)
select %(project_id)s, unit_id, position, experiment_id, occurred_at, event_type, event_name, reason
from staged_misnamed
where reason <> 'unknown_experiment';

-- stage_candidates: the step's events without an experiment are not_exposed, until judged otherwise
insert into staged_unattributed
select experiment_id, 'not_exposed', sum(events)
from (
    select distinct p.experiment_id, c.event_type, c.event_name, c.events
    from (
        select event_type, event_name, count(*) as events
        from staged_goal_event
        where experiment_id is null
        group by event_type, event_name
    ) c
    join planned_goal g
        on g.project_id = %(project_id)s and g.event_type = c.event_type
       and (g.event_name is null or g.event_name = c.event_name)
    join experiment_plan p
        on p.project_id = g.project_id and p.experiment_id = g.experiment_id
    where p.started_position is not null and p.stopped_position is null
) candidate
group by experiment_id;

-- keep_unattributed: keep for snapshots the tallies that change
insert into unattributed_tally_past
select t.*, %(snapshot)s
from (select distinct experiment_id, reason from staged_unattributed) changed
cross join lateral (
    select * from unattributed_tally t
    where t.project_id = %(project_id)s and t.experiment_id = changed.experiment_id
      and t.reason = changed.reason and t.since < %(snapshot)s
    offset 0
) t;

-- tally_unattributed: add what changes
insert into unattributed_tally (project_id, experiment_id, reason, events, since)
select %(project_id)s, experiment_id, reason, sum(events), %(snapshot)s
from staged_unattributed
group by experiment_id, reason
on conflict (project_id, experiment_id, reason) do update set
    events = unattributed_tally.events + excluded.events,
    since = excluded.since;

-- keep_forgotten_outcomes: keep for snapshots what is dropped next
insert into visitor_outcome_past
select *, %(snapshot)s from visitor_outcome
where project_id = %(project_id)s and experiment_id = %(experiment_id)s and since < %(snapshot)s;

-- forget_outcomes: drop what was derived for a draft whose plan changed
delete from visitor_outcome where project_id = %(project_id)s and experiment_id = %(experiment_id)s;

-- keep_forgotten_goal_tallies: keep for snapshots what is dropped next
insert into goal_tally_past
select *, %(snapshot)s from goal_tally
where project_id = %(project_id)s and experiment_id = %(experiment_id)s and since < %(snapshot)s;

-- forget_goal_tallies: likewise
delete from goal_tally where project_id = %(project_id)s and experiment_id = %(experiment_id)s;

-- keep_forgotten_reasons: keep for snapshots what is dropped next
insert into visitor_unattributed_past
select *, %(snapshot)s from visitor_unattributed
where project_id = %(project_id)s and experiment_id = %(experiment_id)s and since < %(snapshot)s;

-- forget_reasons: likewise
delete from visitor_unattributed where project_id = %(project_id)s and experiment_id = %(experiment_id)s;

-- forget_misnamed: likewise
delete from misnamed_event where project_id = %(project_id)s and experiment_id = %(experiment_id)s;

-- keep_forgotten_unattributed: keep for snapshots what is dropped next
insert into unattributed_tally_past
select *, %(snapshot)s from unattributed_tally
where project_id = %(project_id)s and experiment_id = %(experiment_id)s and since < %(snapshot)s;

-- forget_unattributed: likewise
delete from unattributed_tally where project_id = %(project_id)s and experiment_id = %(experiment_id)s;

-- goal_by_day: one goal's tallies by the day of the visitors' first exposure, in order
select goal, variant_id, epoch, converters, conversions, value_sum, value_squares, day
from goal_tally
where project_id = %(project_id)s and experiment_id = %(experiment_id)s and goal = %(goal)s and converters <> 0
order by day;
