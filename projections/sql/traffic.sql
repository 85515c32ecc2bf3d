-- traffic: visitors of some pages in the newest events of a project, and how many went on to a goal
with newest as materialized (
    select occurred_at, visitor_id,
           event_type = 'pageview' and case %(url_match_type)s
               when 'all' then true
               when 'contains' then strpos(full_url, %(target_url)s) > 0
               when 'exact' then %(target_url)s = case when %(is_path)s then pathname else full_url end
               else starts_with(
                   case when %(is_path)s then regexp_replace(split_part(full_url, '#', 1), '^[^:/]+://[^/?]*', '')
                        else full_url end,
                   %(target_url)s)
           end as is_page,
           event_type = %(event_type)s and (%(event_name)s::text is null or event_name = %(event_name)s) as is_goal,
           event_data
    from event_log
    where project_id = %(project_id)s and position > %(after)s and source <> 'management' and visitor_id is not null
),
-- One sort instead of joins, whose plans would rest on guesses of how many visitors there are.
since_seen as (
    select visitor_id, occurred_at, is_goal, event_data,
           min(occurred_at) filter (where is_page) over (partition by visitor_id) as first_seen_at
    from newest
    where is_page or is_goal
),
visitor as (
    select count(*) filter (where counts) as conversions,
           sum(case when counts and event_data ->> %(value_field)s
                         ~ '^[+-]?[0-9]{1,15}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?$'
                    then (event_data ->> %(value_field)s)::numeric end) as value
    from since_seen
    cross join lateral (
        select is_goal and occurred_at between first_seen_at
                       and first_seen_at + make_interval(hours => %(window_hours)s) as counts
    ) each
    where first_seen_at is not null
    group by visitor_id
),
outcome as (
    select case %(kind)s
               when 'conversion' then least(conversions, 1)
               when 'count' then conversions
               else value
           end as value
    from visitor
),
-- Without the hundredth that came late or from clocks that were wrong.
span as (
    select percentile_disc(0.01) within group (order by occurred_at) as since,
           percentile_disc(0.99) within group (order by occurred_at) as until,
           count(*) as events
    from newest
)
select events, since, until, visitors, converters, mean, sd
from span
cross join (
    select count(*) as visitors, count(*) filter (where value <> 0) as converters,
           avg(coalesce(value, 0))::float8 as mean, stddev_samp(coalesce(value, 0))::float8 as sd
    from outcome
) outcomes;

-- page_address: the address of a page of the project that was seen lately
select full_url
from event_log
where project_id = %(project_id)s and position > %(after)s and source = 'browser' and full_url ~ '^https?://'
order by position desc
limit 1;
