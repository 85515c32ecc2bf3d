-- The log by the month in which events were received, the ledger by the month of the events' own
-- time (the first 48 bits of event_id), so that whole months can be archived and dropped.
-- What a database holds already is not copied: its old tables become one partition each, of all
-- the months that they hold. Does not touch what 0003 does, and may run after it.

alter table event_log rename to event_log_before;
alter table event_log_before drop constraint event_log_pkey;
alter index event_log_management rename to event_log_before_management;
create table event_log (like event_log_before including defaults) partition by range (received_at);
-- A partitioned table's key must hold what it is partitioned by; log_batch keeps positions unique.
alter table event_log add primary key (project_id, position, received_at);
create index event_log_management on event_log (project_id, position) where source = 'management';

alter table event_ledger rename to event_ledger_before;
alter table event_ledger_before rename constraint event_ledger_pkey to event_ledger_before_pkey;
create table event_ledger (like event_ledger_before including defaults) partition by range (event_id);
alter table event_ledger add primary key (project_id, event_id);
-- Management facts had random ids, which nobody can send a second time.
delete from event_ledger_before where substr(event_id::text, 15, 1) not in ('7', '8');

do $$
declare
    first_month timestamp;
    end_month   timestamp;
    name        text;
begin
    select date_trunc('month', min(received_at) at time zone 'UTC'),
           date_trunc('month', max(received_at) at time zone 'UTC') + interval '1 month'
    into first_month, end_month
    from event_log_before;
    if first_month is null then
        drop table event_log_before;
    else
        name := 'event_log_' || to_char(first_month, 'YYYY_MM');
        execute format('alter table event_log_before rename to %I', name);
        execute format('alter index event_log_before_management rename to %I', name || '_management');
        execute format('alter table %I add primary key (project_id, position, received_at)', name);
        execute format(
            'alter table event_log attach partition %I for values from (%L) to (%L)',
            name, first_month at time zone 'UTC', end_month at time zone 'UTC'
        );
    end if;

    select date_trunc('month', to_timestamp(min(millis) / 1000.0) at time zone 'UTC'),
           date_trunc('month', to_timestamp(max(millis) / 1000.0) at time zone 'UTC') + interval '1 month'
    into first_month, end_month
    from (
        select ('x' || left(replace(event_id::text, '-', ''), 12))::bit(48)::bigint as millis
        from event_ledger_before
    ) ids;
    if first_month is null then
        drop table event_ledger_before;
    else
        name := 'event_ledger_' || to_char(first_month, 'YYYY_MM');
        execute format('alter table event_ledger_before rename to %I', name);
        execute format('alter index event_ledger_before_pkey rename to %I', name || '_pkey');
        execute format(
            'alter table event_ledger attach partition %I for values from (%L) to (%L)',
            name,
            rpad(lpad(to_hex((extract(epoch from first_month) * 1000)::bigint), 12, '0'), 32, '0'),
            rpad(lpad(to_hex((extract(epoch from end_month) * 1000)::bigint), 12, '0'), 32, '0')
        );
    end if;
end
$$;

-- Until when ids were dropped from the ledger: events of that time are refused, for whether they are
-- known cannot be told any more. The latest row counts.
create table forgotten_ids (
    before       timestamptz primary key,
    forgotten_at timestamptz not null default now()
);

-- Positions that an archive file holds; from the moment a row stands here, readers use the file.
create table archived_range (
    project_id     uuid        not null,
    first_position bigint      not null,
    last_position  bigint      not null check (last_position >= first_position),
    received_from  timestamptz not null,
    received_until timestamptz not null,
    file           text        not null,
    file_bytes     bigint      not null,
    file_sha256    bytea       not null,
    archived_at    timestamptz not null default now(),
    primary key (project_id, first_position)
);
