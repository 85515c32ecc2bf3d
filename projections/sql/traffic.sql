-- traffic: visitors of some pages in the newest events of a project, and how many went on to a goal
with newest as materialized (
    select occurred_at, visitor_id, event_type, event_name, pathname, full_url, event_data
    from event_log
    where project_id = %(project_id)s and position > %(after)s and source <> 'management' and visitor_id is not null
),
-- Without the hundredth that came late or from clocks that were wrong.
span as (
    select percentile_disc(0.01) within group (order by occurred_at) as since,
           percentile_disc(0.99) within group (order by occurred_at) as until,
           count(*) as events
    from newest
),
seen as (
    select visitor_id, min(occurred_at) as first_seen_at
    from newest
    where event_type = 'pageview' and case %(url_match_type)s
        when 'all' then true
        when 'contains' then strpos(full_url, %(target_url)s) > 0
        when 'exact' then %(target_url)s = case when %(is_path)s then pathname else full_url end
        else starts_with(
            case when %(is_path)s then regexp_replace(split_part(full_url, '#', 1), '^[^:/]+://[^/?]*', '')
                 else full_url end,
            %(target_url)s)
    end
    group by visitor_id
),
outcome as (
    select visitor_id,
           case %(kind)s when 'conversion' then 1 when 'count' then count(*)
           else sum(case when event_data ->> %(value_field)s
                              ~ '^[+-]?[0-9]{1,15}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?$'
                         then (event_data ->> %(value_field)s)::numeric end)
           end as value
    from newest
    join seen using (visitor_id)
    where event_type = %(event_type)s
      and (%(event_name)s::text is null or event_name = %(event_name)s)
      and occurred_at between first_seen_at and first_seen_at + make_interval(hours => %(window_hours)s)
    group by visitor_id
)
select events, since, until, count(seen.visitor_id), count(outcome.value),
       avg(coalesce(outcome.value, 0))::float8, stddev_samp(coalesce(outcome.value, 0))::float8
from span
left join seen on true
left join outcome using (visitor_id)
group by events, since, until;

-- page_address: the address of a page of the project that was seen lately
select full_url
from event_log
where project_id = %(project_id)s and position > %(after)s and source = 'browser' and full_url ~ '^https?://'
order by position desc
limit 1;
