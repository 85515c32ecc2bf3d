-- archived_at: the archived file that holds a position, if any, and whether this session shows a file in place of the log
select to_regclass('pg_temp.event_log') is not null,
       a.first_position, a.last_position, a.file, a.file_sha256
from (select 1) one
left join lateral (
    select first_position, last_position, file, file_sha256
    from public.archived_range
    where project_id = %(project_id)s and first_position <= %(position)s
    order by first_position desc
    limit 1
) a on a.last_position >= %(position)s;

-- shown: which file this session shows in place of the log
select project_id, position from pg_temp.event_log order by project_id, position limit 1;

-- show_nothing: a place for an archived file, which hides the log from this session
create temporary table event_log (like public.event_log);

-- show_rows: rows of an archived file, in place of the log
copy pg_temp.event_log (
    project_id, position, received_at, occurred_at, event_id, source, experiment_id, variant_id,
    event_type, event_name, visitor_id, session_id, pathname, full_url, referrer, utm, event_data, context
) from stdin (format binary);

-- index_shown: what the log's own keys give; plans made before would go on reading the log itself
alter table pg_temp.event_log add primary key (project_id, position);
create index on pg_temp.event_log (project_id, position) where source = 'management';
analyze pg_temp.event_log;
discard plans;

-- hide: let event_log mean the log again
drop table if exists pg_temp.event_log;
discard plans;

-- projects_in: whose rows a table holds, and at which positions
select project_id, min(position), max(position) from public.{table} group by project_id order by project_id;

-- archived_until: the last position of a project that is archived
select max(last_position) from archived_range where project_id = %(project_id)s;

-- batches_of: a project's batches from a position to another
select first_position, event_count, received_at, digest
from log_batch
where project_id = %(project_id)s and first_position >= %(first)s and first_position <= %(last)s
order by first_position
limit %(batches_max)s;

-- digest_before: the chain's digest before a position
select digest
from log_batch
where project_id = %(project_id)s and first_position < %(position)s
order by first_position desc
limit 1;

-- let_readers_finish: wait for steps that read the log without knowing of what is archived next
lock table archived_range in access exclusive mode;

-- add_archived: from now on readers use a file for these positions
insert into archived_range (
    project_id, first_position, last_position, received_from, received_until, file, file_bytes, file_sha256
)
values (
    %(project_id)s, %(first_position)s, %(last_position)s, %(received_from)s, %(received_until)s,
    %(file)s, %(file_bytes)s, %(file_sha256)s
);

-- files_of: the archived files that hold some of a range of positions
select file, file_sha256
from archived_range
where project_id = %(project_id)s and last_position >= %(first)s and first_position <= %(last)s
order by first_position;

-- attached_size: how many events were received in a partition's time, how many of them are archived, its bytes
select
    (select coalesce(sum(event_count), 0)::bigint from log_batch
     where received_at >= %(begin)s and received_at < %(end)s),
    (select coalesce(sum(last_position - first_position + 1), 0)::bigint from archived_range
     where received_from >= %(begin)s and received_until < %(end)s),
    pg_total_relation_size(format('public.%%I', %(table)s::text)::regclass);

-- archived_months: what is archived, by the month of receipt
select date_trunc('month', received_from at time zone 'UTC') at time zone 'UTC' as month,
       (date_trunc('month', max(received_until) at time zone 'UTC') + interval '1 month') at time zone 'UTC',
       sum(last_position - first_position + 1)::bigint, sum(file_bytes)::bigint
from archived_range
group by month
order by month;
