-- add_counts: add what a server has told since it did so last; projects that are gone meanwhile do not matter
insert into told_count (project_id, day, outcome, reason, events)
select * from unnest(%(projects)s::uuid[], %(days)s::date[], %(outcomes)s::text[], %(reasons)s::text[], %(events)s::bigint[])
on conflict (project_id, day, outcome, reason) do update set events = told_count.events + excluded.events;

-- counts: what clients of a project were told in a span of days, the most frequent first
select outcome, reason, sum(events)::bigint
from told_count
where project_id = %(project_id)s and day >= %(first)s and day <= %(last)s
group by outcome, reason
order by outcome, 3 desc, reason;
