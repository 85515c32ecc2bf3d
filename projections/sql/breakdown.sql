-- limit: hold up nobody for long, within this transaction
set local statement_timeout = '5s';

-- no_loops: without statistics, each segment would be held against all others, within this transaction
set local enable_nestloop = off;

-- no_limit: as the session has it
set local statement_timeout to default;

-- loops: joins as the session has them
set local enable_nestloop to default;

-- exposed_now: those who count as visitors of an experiment, with the segment of their first exposure
select visitor_id, variant_id, epoch, segment
from visitor_exposure
where project_id = %(project_id)s and experiment_id = %(experiment_id)s and not multiple

-- achieved_now: what units achieved for a goal
select unit_id, variant_id, conversions, value
from visitor_outcome
where project_id = %(project_id)s and experiment_id = %(experiment_id)s and goal = %(goal)s

-- described_now: what the segments of a project stand for
select * from segment where project_id = %(project_id)s

-- exposed_then: the same as of a replay's position: what it knows, and of all other visitors what its snapshot does
select visitor_id, variant_id, epoch, segment
from pg_temp.visitor_exposure
where project_id = %(project_id)s and experiment_id = %(experiment_id)s and not multiple
union all
select visitor_id, variant_id, epoch, segment
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
select unit_id, variant_id, conversions, value
from pg_temp.visitor_outcome
where project_id = %(project_id)s and experiment_id = %(experiment_id)s and goal = %(goal)s
union all
select unit_id, variant_id, conversions, value
from (
    select unit_id, variant_id, conversions, value
    from visitor_outcome
    where project_id = %(project_id)s and experiment_id = %(experiment_id)s and goal = %(goal)s
      and since <= %(snapshot)s
    union all
    select unit_id, variant_id, conversions, value
    from visitor_outcome_past
    where project_id = %(project_id)s and experiment_id = %(experiment_id)s and goal = %(goal)s
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
    select x.segment, x.variant_id, x.epoch, count(*) as visitors, count(o.unit_id) as converters,
           sum(o.conversions) as conversions, sum(o.value) as value_sum, sum(o.value * o.value) as value_squares
    from exposed x
    left join achieved o on o.unit_id = x.visitor_id and o.variant_id = x.variant_id
    group by x.segment, x.variant_id, x.epoch
) counted
join valued using (segment)
group by value, variant_id, epoch;
