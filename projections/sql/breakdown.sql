-- limit: hold up nobody for long, within this transaction
set local statement_timeout = '5s';

-- read_many: without statistics, each segment would be held against all others, within this transaction; a plan that is
-- kept would read a small project as one of a large one, and what is compiled takes longer than it saves
select set_config('enable_nestloop', 'off', true), set_config('plan_cache_mode', 'force_custom_plan', true),
       set_config('jit', 'off', true);

-- no_limit: as the session has it
set local statement_timeout to default;

-- loops: joins as the session has them
set local enable_nestloop to default;

-- exposed_now: those who count as visitors of an experiment, with the segment of their first exposure
select variant_id, epoch, segment
from visitor_exposure
where project_id = %(project_id)s and experiment_id = %(experiment_id)s and not multiple

-- achieved_now: what such visitors achieved for a goal
select variant_id, epoch, segment, conversions, value
from visitor_outcome
where project_id = %(project_id)s and experiment_id = %(experiment_id)s and goal = %(goal)s and segment is not null

-- described_now: what the segments of a project stand for
select * from segment where project_id = %(project_id)s

-- exposed_then: the same as of a replay's position: what it knows, and of all other visitors what its snapshot does
select variant_id, epoch, segment
from pg_temp.visitor_exposure
where project_id = %(project_id)s and experiment_id = %(experiment_id)s and not multiple
union all
select variant_id, epoch, segment
from (
    select visitor_id, variant_id, epoch, segment
    from visitor_exposure
    where project_id = %(project_id)s and experiment_id = %(experiment_id)s and not multiple and since <= %(snapshot)s
    union all
    select visitor_id, variant_id, epoch, segment
    from visitor_exposure_past
    where project_id = %(project_id)s and experiment_id = %(experiment_id)s and not multiple
      and since <= %(snapshot)s and until > %(snapshot)s
) snapshot
where not exists (select from pg_temp.looked_up_unit u where u.unit_id = snapshot.visitor_id)
  -- Of an experiment that began anew since the snapshot, that one knows nothing.
  and exists (
      select from pg_temp.experiment_plan
      where project_id = %(project_id)s and experiment_id = %(experiment_id)s and counted_after <= %(position)s
  )

-- achieved_then: likewise
select variant_id, epoch, segment, conversions, value
from pg_temp.visitor_outcome
where project_id = %(project_id)s and experiment_id = %(experiment_id)s and goal = %(goal)s and segment is not null
union all
select variant_id, epoch, segment, conversions, value
from (
    select unit_id, variant_id, epoch, segment, conversions, value
    from visitor_outcome
    where project_id = %(project_id)s and experiment_id = %(experiment_id)s and goal = %(goal)s and segment is not null
      and since <= %(snapshot)s
    union all
    select unit_id, variant_id, epoch, segment, conversions, value
    from visitor_outcome_past
    where project_id = %(project_id)s and experiment_id = %(experiment_id)s and goal = %(goal)s and segment is not null
      and since <= %(snapshot)s and until > %(snapshot)s
) snapshot
where not exists (select from pg_temp.looked_up_unit u where u.unit_id = snapshot.unit_id)
  and exists (
      select from pg_temp.experiment_plan
      where project_id = %(project_id)s and experiment_id = %(experiment_id)s and counted_after <= %(position)s
  )

-- described_then: likewise; the live tables know all segments, but those that they have not come to yet
select * from segment where project_id = %(project_id)s
union all
select * from pg_temp.segment late
where not exists (
    select from segment s where s.project_id = %(project_id)s and s.segment = late.segment
)

-- values: what a dimension says of each segment
select segment, case %(dimension)s
    when 'device' then device when 'browser' then browser when 'os' then os when 'country' then country
    when 'referrer' then referrer_host when 'utm_source' then utm_source
    when 'utm_medium' then utm_medium when 'utm_campaign' then utm_campaign
end as value
from described

-- counted: distinct visitors of an experiment by what a dimension says of their first exposure, and what they
-- achieved for a goal
select value, variant_id, epoch, sum(visitors)::bigint, sum(converters)::bigint, sum(conversions)::bigint,
       sum(value_sum), sum(value_squares)
from (
    select segment, variant_id, epoch, count(*) as visitors, 0 as converters, 0 as conversions, 0 as value_sum,
           0 as value_squares
    from exposed
    group by segment, variant_id, epoch
    union all
    select segment, variant_id, epoch, 0, count(*), sum(conversions), sum(value), sum(value * value)
    from achieved
    group by segment, variant_id, epoch
) counted
join valued using (segment)
group by value, variant_id, epoch;
