-- limit: hold up nobody for long, within this transaction
set local statement_timeout = '5s';

-- visitors: distinct visitors of an experiment by what a dimension says of their first exposure
select value, variant_id, epoch, sum(visitors)::bigint
from (
    select project_id, segment, variant_id, epoch, count(*) as visitors
    from visitor_exposure
    where project_id = %(project_id)s and experiment_id = %(experiment_id)s and not multiple
    group by project_id, segment, variant_id, epoch
) exposed
join segment using (project_id, segment)
cross join lateral (
    select case %(dimension)s
        when 'device' then device when 'browser' then browser when 'os' then os when 'country' then country
        when 'referrer' then referrer_host when 'utm_source' then utm_source
        when 'utm_medium' then utm_medium when 'utm_campaign' then utm_campaign
    end as value
) dimension
group by value, variant_id, epoch;

-- outcomes: what those visitors achieved for a goal
select value, variant_id, epoch, sum(converters)::bigint, sum(conversions)::bigint, sum(value_sum), sum(value_squares)
from (
    select x.project_id, x.segment, x.variant_id, x.epoch, count(*) as converters, sum(o.conversions) as conversions,
           sum(o.value) as value_sum, sum(o.value * o.value) as value_squares
    from visitor_outcome o
    join visitor_exposure x
        on x.project_id = o.project_id and x.visitor_id = o.unit_id and x.experiment_id = o.experiment_id
       and x.variant_id = o.variant_id
    where o.project_id = %(project_id)s and o.experiment_id = %(experiment_id)s and o.goal = %(goal)s
      and not x.multiple
    group by x.project_id, x.segment, x.variant_id, x.epoch
) achieved
join segment using (project_id, segment)
cross join lateral (
    select case %(dimension)s
        when 'device' then device when 'browser' then browser when 'os' then os when 'country' then country
        when 'referrer' then referrer_host when 'utm_source' then utm_source
        when 'utm_medium' then utm_medium when 'utm_campaign' then utm_campaign
    end as value
) dimension
group by value, variant_id, epoch;
