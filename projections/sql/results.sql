-- tallies: all that results of some experiments are made of, how far tallies have come in the project's log,
-- when that was received, and where the log ends; one JSON value, since rows cost a reader more than what they hold
with at as (
    select coalesce(max(position), 0) as position from projection_checkpoint where project_id = %(project_id)s
)
select json_build_object(
    'position', at.position,
    'received_at', (
        select received_at from log_batch
        where project_id = %(project_id)s and first_position <= at.position
        order by first_position desc
        limit 1
    ),
    'head', coalesce(
        (select first_position + event_count - 1 from log_batch
         where project_id = %(project_id)s
         order by first_position desc
         limit 1),
        0
    ),
    'plans', (
        select coalesce(json_object_agg(experiment_id, state), '{}')
        from experiment_plan
        where project_id = %(project_id)s and experiment_id = any(%(experiment_ids)s)
    ),
    -- Distinct visitors by variant and epoch.
    'visitors', (
        select coalesce(json_object_agg(experiment_id, rows), '{}')
        from (
            select experiment_id, json_agg(json_build_array(variant_id, epoch, visitors, multiple_exposures)) as rows
            from (
                select experiment_id, variant_id, epoch, sum(visitors) as visitors,
                       sum(multiple_exposures) as multiple_exposures
                from variant_tally
                where project_id = %(project_id)s and experiment_id = any(%(experiment_ids)s)
                group by experiment_id, variant_id, epoch
            ) tally
            group by experiment_id
        ) told
    ),
    -- The same by the day of the first exposure, where that is wanted, the first day first.
    'visitors_by_day', case when %(by_day)s::boolean then (
        select coalesce(json_object_agg(experiment_id, rows), '{}')
        from (
            select experiment_id, json_agg(
                json_build_array(variant_id, epoch, day, visitors, multiple_exposures) order by day
            ) as rows
            from variant_tally
            where project_id = %(project_id)s and experiment_id = any(%(experiment_ids)s)
              and (visitors <> 0 or multiple_exposures <> 0)
            group by experiment_id
        ) told
    ) end,
    -- Of the days of first exposures the first one, the last one, and how many; a clock that is wrong makes none.
    'days', (
        select coalesce(json_object_agg(experiment_id, days), '{}')
        from (
            select experiment_id, json_build_array(min(day), max(day), count(*)) as days
            from (
                select experiment_id, day, sum(visitors) as visitors,
                       max(sum(visitors)) over (partition by experiment_id) as most
                from variant_tally
                where project_id = %(project_id)s and experiment_id = any(%(experiment_ids)s) and visitors <> 0
                group by experiment_id, day
            ) seen
            where visitors * 50 >= most
            group by experiment_id
        ) told
    ),
    'impressions', (
        select coalesce(json_object_agg(experiment_id, rows), '{}')
        from (
            select experiment_id, json_object_agg(variant_id, impressions) as rows
            from (
                select experiment_id, variant_id, sum(impressions) as impressions
                from impression_tally
                where project_id = %(project_id)s and experiment_id = any(%(experiment_ids)s)
                group by experiment_id, variant_id
            ) tally
            group by experiment_id
        ) told
    ),
    -- By goal, variant and epoch; decimals as texts, which are exact wherever they are read.
    'outcomes', (
        select coalesce(json_object_agg(experiment_id, rows), '{}')
        from (
            select experiment_id, json_agg(json_build_array(
                goal, variant_id, epoch, converters, conversions, value_sum::text, value_squares::text
            )) as rows
            from (
                select experiment_id, goal, variant_id, epoch, sum(converters) as converters,
                       sum(conversions) as conversions, sum(value_sum) as value_sum,
                       sum(value_squares) as value_squares
                from goal_tally
                where project_id = %(project_id)s and experiment_id = any(%(experiment_ids)s)
                group by experiment_id, goal, variant_id, epoch
            ) tally
            group by experiment_id
        ) told
    ),
    -- Events that count for no variant, by reason.
    'unattributed', (
        select coalesce(json_object_agg(experiment_id, rows), '{}')
        from (
            select experiment_id, json_object_agg(reason, events) as rows
            from (
                select experiment_id, reason, sum(events) as events
                from unattributed_tally
                where project_id = %(project_id)s and experiment_id = any(%(experiment_ids)s)
                group by experiment_id, reason
            ) tally
            group by experiment_id
        ) told
    )
)::text
from at;
