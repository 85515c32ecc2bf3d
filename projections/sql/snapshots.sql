-- tables: units whose state was copied already, those whose goal events were too, and the step that needed it
create temporary table looked_up_unit (
    unit_id text storage plain collate "C" not null,
    until   bigint not null
) on commit delete rows;
create temporary table looked_up_history (
    unit_id text storage plain collate "C" not null,
    until   bigint not null
) on commit delete rows;

-- left_bytes: what tables of the session take, with the rows of replays that were rolled back, long values and indexes
select coalesce(sum(pg_total_relation_size(oid)), 0)::bigint
from pg_class
where relnamespace = pg_my_temp_schema() and relname = any(%(tables)s);

-- empty_staged: forget what the step before has staged
delete from staged_event;
delete from staged_exposure;
delete from staged_visitors;
delete from staged_impressions;
delete from staged_goal_event;
delete from staged_pair;
delete from staged_judgement;
delete from staged_old_outcome;
delete from staged_outcome;
delete from staged_outcome_change;
delete from staged_old_reason;
delete from staged_reason;
delete from staged_misnamed;
delete from staged_unattributed;

-- show_own: let unqualified names mean the live tables, if they have the layout given, and those with pg_temp before
-- them the temporary ones
select set_config('search_path', 'projection_' || generation || ', public, pg_temp', true)
from projection_generation where state = 'live' and layout = %(layout)s;

-- shown: in which schema the snapshots are that an unqualified name means
select relnamespace::regnamespace::text from pg_class where oid = 'projection_snapshot'::regclass;

-- around: the newest snapshot up to a position with its own position, and where the next one is
select coalesce(newest.snapshot, 0), coalesce(newest.position, 0),
       (select min(position) from projection_snapshot
        where project_id = %(project_id)s and position > %(wanted)s)
from (select) one
left join lateral (
    select snapshot, position from projection_snapshot
    where project_id = %(project_id)s and position <= %(wanted)s
    order by position desc
    limit 1
) newest on true;

-- copy_checkpoint: begin at the snapshot
insert into pg_temp.projection_checkpoint (project_id, position) values (%(project_id)s, %(position)s);

-- copy_plans: every experiment as of the snapshot, for events that name one in vain
insert into pg_temp.experiment_plan
select project_id, experiment_id, state, attribution_window, counted_after, started_position, stopped_position, since
from experiment_plan
where project_id = %(project_id)s and since <= %(snapshot)s
union all
select project_id, experiment_id, state, attribution_window, counted_after, started_position, stopped_position, since
from experiment_plan_past
where project_id = %(project_id)s and since <= %(snapshot)s and until > %(snapshot)s;

-- copy_visitors: the experiment's tallies of visitors as of the snapshot
insert into pg_temp.variant_tally
select project_id, experiment_id, variant_id, epoch, day, visitors, multiple_exposures, since
from variant_tally
where project_id = %(project_id)s and experiment_id = %(experiment_id)s and since <= %(snapshot)s
union all
select project_id, experiment_id, variant_id, epoch, day, visitors, multiple_exposures, since
from variant_tally_past
where project_id = %(project_id)s and experiment_id = %(experiment_id)s
  and since <= %(snapshot)s and until > %(snapshot)s;

-- copy_impressions: the experiment's tallies of impressions as of the snapshot
insert into pg_temp.impression_tally
select project_id, experiment_id, variant_id, day, impressions, since
from impression_tally
where project_id = %(project_id)s and experiment_id = %(experiment_id)s and since <= %(snapshot)s
union all
select project_id, experiment_id, variant_id, day, impressions, since
from impression_tally_past
where project_id = %(project_id)s and experiment_id = %(experiment_id)s
  and since <= %(snapshot)s and until > %(snapshot)s;

-- copy_outcome_tallies: the experiment's tallies of outcomes as of the snapshot
insert into pg_temp.goal_tally
select project_id, experiment_id, goal, variant_id, epoch, day,
       converters, conversions, value_sum, value_squares, since
from goal_tally
where project_id = %(project_id)s and experiment_id = %(experiment_id)s and since <= %(snapshot)s
union all
select project_id, experiment_id, goal, variant_id, epoch, day,
       converters, conversions, value_sum, value_squares, since
from goal_tally_past
where project_id = %(project_id)s and experiment_id = %(experiment_id)s
  and since <= %(snapshot)s and until > %(snapshot)s;

-- copy_unattributed: events that count for no variant as of the snapshot, those of the whole project too
insert into pg_temp.unattributed_tally
select project_id, experiment_id, reason, events, since
from unattributed_tally
where project_id = %(project_id)s and experiment_id in (%(experiment_id)s, %(nil)s) and since <= %(snapshot)s
union all
select project_id, experiment_id, reason, events, since
from unattributed_tally_past
where project_id = %(project_id)s and experiment_id in (%(experiment_id)s, %(nil)s)
  and since <= %(snapshot)s and until > %(snapshot)s;

-- stage_units: the units of the step's events that no step before has needed, unless the experiment began anew
insert into pg_temp.looked_up_unit (unit_id, until)
select distinct unit_id, %(until)s::bigint
from staged_event
where (
        experiment_id = %(experiment_id)s
        or (experiment_id is null and event_type in (select event_type from pg_temp.planned_goal))
    )
  and exists (
      select from pg_temp.experiment_plan
      where project_id = %(project_id)s and experiment_id = %(experiment_id)s and counted_after <= %(position)s
  )
  and not exists (select from pg_temp.looked_up_unit known where known.unit_id = staged_event.unit_id);

-- stage_histories: those whose exposure the step may change, so that all their goal events are judged anew
insert into pg_temp.looked_up_history (unit_id, until)
select distinct unit_id, %(until)s::bigint
from staged_event
where is_impression and experiment_id = %(experiment_id)s
  and exists (
      select from pg_temp.experiment_plan
      where project_id = %(project_id)s and experiment_id = %(experiment_id)s and counted_after <= %(position)s
  )
  and not exists (select from pg_temp.looked_up_history known where known.unit_id = staged_event.unit_id);

-- copy_exposures: what those units were exposed to as of the snapshot
insert into pg_temp.visitor_exposure
select x.*
from looked_up_unit u
cross join lateral (
    select project_id, visitor_id, experiment_id, variant_id, first_exposed_at, position, segment, epoch, since,
           multiple
    from visitor_exposure
    where project_id = %(project_id)s and visitor_id = u.unit_id and experiment_id = %(experiment_id)s
      and since <= %(snapshot)s
    union all
    select project_id, visitor_id, experiment_id, variant_id, first_exposed_at, position, segment, epoch, since,
           multiple
    from visitor_exposure_past
    where project_id = %(project_id)s and visitor_id = u.unit_id and experiment_id = %(experiment_id)s
      and since <= %(snapshot)s and until > %(snapshot)s
    offset 0
) x
where u.until = %(until)s;

-- copy_goal_event: one event of each of the others that has any, as a step asks whether there are some
insert into pg_temp.goal_event
select g.*
from looked_up_unit u
cross join lateral (
    select project_id, unit_id, position, occurred_at, event_type, event_name, experiment_id, variant_id, event_data
    from goal_event
    where project_id = %(project_id)s and unit_id = u.unit_id and position <= %(position)s
    limit 1
) g
where u.until = %(until)s
  and not exists (select from looked_up_history history where history.unit_id = u.unit_id);

-- copy_goal_events: the events that the experiment's goals may count of those whose history is needed
insert into pg_temp.goal_event
select g.*
from looked_up_history u
cross join lateral (
    select project_id, unit_id, position, occurred_at, event_type, event_name, experiment_id, variant_id, event_data
    from goal_event
    where project_id = %(project_id)s and unit_id = u.unit_id and position <= %(position)s
    offset 0
) g
where u.until = %(until)s and (g.experiment_id is null or g.experiment_id = %(experiment_id)s)
on conflict do nothing;

-- copy_outcomes: what those units had achieved as of the snapshot
insert into pg_temp.visitor_outcome
select o.*
from looked_up_unit u
cross join lateral (
    select project_id, experiment_id, unit_id, goal, variant_id, epoch, day, conversions, first_converted_at,
           segment, since, value
    from visitor_outcome
    where project_id = %(project_id)s and experiment_id = %(experiment_id)s and unit_id = u.unit_id
      and since <= %(snapshot)s
    union all
    select project_id, experiment_id, unit_id, goal, variant_id, epoch, day, conversions, first_converted_at,
           segment, since, value
    from visitor_outcome_past
    where project_id = %(project_id)s and experiment_id = %(experiment_id)s and unit_id = u.unit_id
      and since <= %(snapshot)s and until > %(snapshot)s
    offset 0
) o
where u.until = %(until)s;

-- copy_reasons: why events of those units did not count as of the snapshot
insert into pg_temp.visitor_unattributed
select r.*
from looked_up_unit u
cross join lateral (
    select project_id, experiment_id, unit_id, reason, events, since
    from visitor_unattributed
    where project_id = %(project_id)s and experiment_id = %(experiment_id)s and unit_id = u.unit_id
      and since <= %(snapshot)s
    union all
    select project_id, experiment_id, unit_id, reason, events, since
    from visitor_unattributed_past
    where project_id = %(project_id)s and experiment_id = %(experiment_id)s and unit_id = u.unit_id
      and since <= %(snapshot)s and until > %(snapshot)s
    offset 0
) r
where u.until = %(until)s;
