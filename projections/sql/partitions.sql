-- log_partitions: the log's partitions in order, and whether one is on its way out
select c.relname, bounds[1]::timestamptz, bounds[2]::timestamptz, i.inhdetachpending
from pg_inherits i
join pg_class c on c.oid = i.inhrelid
cross join lateral regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''(.+)''\) TO \(''(.+)''\)') bounds
where i.inhparent = 'public.event_log'::regclass and bounds is not null
order by bounds[1]::timestamptz;

-- ledger_partitions: the ledger's partitions in order, and whether one is on its way out
select c.relname,
       to_timestamp(('x' || left(replace(bounds[1], '-', ''), 12))::bit(48)::bigint / 1000.0),
       to_timestamp(('x' || left(replace(bounds[2], '-', ''), 12))::bit(48)::bigint / 1000.0),
       i.inhdetachpending
from pg_inherits i
join pg_class c on c.oid = i.inhrelid
cross join lateral regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''(.+)''\) TO \(''(.+)''\)') bounds
where i.inhparent = 'public.event_ledger'::regclass and bounds is not null
order by bounds[1];

-- is_on_citus: whether this database's tables may be distributed, which knows no `detach ... concurrently`
select exists (select from pg_extension where extname = 'citus');

-- tables_named: tables of a name or of that name with a number behind it
select relname from pg_class
where relnamespace = 'public'::regnamespace and relname like %(pattern)s;

-- detached: tables that were partitions and wait to be dropped
select c.relname
from pg_class c
where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
  and c.relname ~ ('^' || %(parent)s || '_[0-9]{4}_[0-9]{2}(_[0-9]+)?$')
  and not exists (select from pg_inherits i where i.inhrelid = c.oid)
order by c.relname;

-- span_of: when the rows of a table were received
select min(received_at), max(received_at) from public.{table};

-- forgotten_before: until when ids were dropped from the ledger
select max(before) from forgotten_ids;

-- forgot_today: whether ids were dropped within a day
select exists (select from forgotten_ids where forgotten_at > now() - interval '1 day');

-- forget_before: ids before a time are about to be dropped
insert into forgotten_ids (before) values (%(before)s) on conflict do nothing;
