-- begin: a transaction whose statements see what was committed while the one before waited
begin isolation level read committed;

-- insert_new_ledger: remember event ids of a project that are thought new; cheaper, and an error when one is not
insert into event_ledger (project_id, event_id)
select %s, unnest(%s::uuid[]);

-- insert_new_idempotency_keys: remember idempotency keys of a project that are thought new, likewise
insert into idempotency_key (project_id, key_hash, event_id, body_hash)
select %s, * from unnest(%s::uuid[], %s::uuid[], %s::uuid[]);

-- insert_ledger: remember event ids; the ones returned were not known before
insert into event_ledger (project_id, event_id)
select * from unnest(%s::uuid[], %s::uuid[])
on conflict do nothing
returning event_id;

-- insert_idempotency_keys: remember idempotency keys; the ones returned were not known before
insert into idempotency_key (project_id, key_hash, event_id, body_hash)
select * from unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::uuid[])
on conflict do nothing
returning event_id;

-- look_up: let the rest of the transaction read no table as a whole; a planner that knew it short would
set local enable_seqscan = off;

-- known_idempotency_keys: what is remembered under some keys of a project
select key_hash, event_id, body_hash
from idempotency_key
where project_id = %s and key_hash = any(%s::uuid[]);

-- head: the newest batch of a project
select first_position + event_count, received_at, digest
from log_batch
where project_id = %(project_id)s
order by first_position desc
limit 1;

-- claim: the next positions of a project are ours; the first of them, and when they are received, as by `postgres_us`
select claimed_position, (extract(epoch from claimed_at) * 1000000)::bigint - 946684800000000
from claim_positions(%s, %s, %s, %s::timestamptz + (clock_timestamp() - statement_timestamp()));

-- end_stalled: end sessions that hold positions or ids, or may, and have waited so long for their process; nothing of them is committed
select count(pg_terminate_backend(activity.pid))
from pg_stat_activity activity
where wait_event = 'ClientRead' and state_change < clock_timestamp() - make_interval(secs => %s)
and pg_has_role(usesysid, 'usage')
-- Whoever copies a whole table in, as a dump that is restored does, may wait in between for as long as it likes.
and (
    state = 'idle in transaction'
    or starts_with(query, 'begin isolation level read committed') or starts_with(query, 'select claimed_position')
)
and exists (
    select from pg_locks held
    where held.pid = activity.pid and held.database = (select oid from pg_database where datname = current_database())
    and held.relation in ('log_batch'::regclass, 'event_ledger'::regclass, 'idempotency_key'::regclass)
    and held.mode = 'RowExclusiveLock' and held.granted
);

-- insert_batch: claim positions that are given back; no row comes back when a writer claimed them first
insert into log_batch (project_id, first_position, event_count, received_at, digest)
values (%s, %s, %s, %s, %s)
on conflict do nothing;

-- copy_events: append rows in binary form
copy event_log (
    project_id, position, received_at, occurred_at, event_id, source, experiment_id, variant_id,
    event_type, event_name, visitor_id, session_id, pathname, full_url, referrer, utm, event_data, context
) from stdin (format binary);

-- position_at: the last position received at or before a time
select first_position + event_count - 1, received_at
from log_batch
where project_id = %(project_id)s and received_at <= %(time)s
order by received_at desc, first_position desc
limit 1;

-- positions_at: the last positions received until some times, in order; of settled times, and what is not archived
select distinct found.position
from unnest(%(times)s::timestamptz[]) asked (time)
cross join lateral (
    select first_position + event_count - 1 as position
    from log_batch
    where project_id = %(project_id)s and received_at <= asked.time
    order by received_at desc, first_position desc
    limit 1
) found
where asked.time < (
    select received_at from log_batch where project_id = %(project_id)s order by first_position desc limit 1
)
and found.position > coalesce((select max(last_position) from archived_range where project_id = %(project_id)s), 0)
order by found.position;

-- received_at: when the batch that holds a position was received
select received_at
from log_batch
where project_id = %(project_id)s and first_position <= %(position)s
order by first_position desc
limit 1;

-- events_page: a page of a project's events in order, for export
select position, received_at, occurred_at, event_id, source::text, experiment_id, variant_id,
       event_type, event_name, visitor_id, session_id, pathname, full_url, referrer,
       utm::text, event_data::text, context::text
from event_log
where project_id = %(project_id)s and position > %(after)s and position <= %(until)s
order by position
limit %(rows_max)s;

-- batches_after: a project's batches behind a position, in order
select first_position, event_count, received_at, digest
from log_batch
where project_id = %(project_id)s and first_position > %(after)s
order by first_position
limit %(batches_max)s;

-- digest_known: whether the chain of any project has a digest
select exists (select 1 from log_batch where encode(digest, 'hex') = %(digest)s);

-- first_outside: the first row before or behind all positions that batches have given; in one statement, as both grow
select min(position) from event_log
where project_id = %(project_id)s
  and (position < 1 or position > coalesce((
      select first_position + event_count - 1 from log_batch
      where project_id = %(project_id)s
      order by first_position desc
      limit 1
  ), 0));

-- copy_out: a range of rows in order and in binary form: their place, their time, then the hashed fields
copy (
    select position, received_at, occurred_at, event_id, source, experiment_id, variant_id, event_type, event_name, visitor_id,
           session_id, pathname, full_url, referrer, utm, event_data, context
    from event_log
    where project_id = %(project_id)s and position > %(after)s and position <= %(until)s
    order by position
) to stdout (format binary);
