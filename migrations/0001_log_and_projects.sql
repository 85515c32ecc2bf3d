-- The event log, its dedupe ledgers, projects with their keys, and experiments.
-- Every primary key starts with project_id and no constraint crosses projects,
-- so that each table distributes by project_id (docs/architecture.md).

create table project (
    project_id      uuid        primary key,
    name            text        not null,
    allowed_origins text[]      not null,
    privacy_key     bytea       not null,
    created_at      timestamptz not null
);

create table secret_key (
    project_id  uuid        not null,
    key_hash    bytea       not null,
    hint        text        not null,
    issued_at   timestamptz not null,
    valid_until timestamptz,
    primary key (project_id, key_hash)
);

-- Exact dedupe of events: event_id is time-ordered and made from the client's
-- own (visitorId, timestamp, eventType, pathname), or drawn for a server event.
create table event_ledger (
    project_id uuid not null,
    event_id   uuid not null,
    primary key (project_id, event_id)
);

-- Exact dedupe of server events on their idempotencyKey, for ever.
create table idempotency_key (
    project_id uuid not null,
    key_hash   uuid not null,
    event_id   uuid not null,
    body_hash  uuid not null,
    primary key (project_id, key_hash)
);

-- The fence: positions first_position .. first_position + event_count - 1 belong
-- to one commit. Two writers that pick the same position collide on this key.
-- digest chains each batch to the one before it.
create table log_batch (
    project_id     uuid        not null,
    first_position bigint      not null,
    event_count    integer     not null check (event_count > 0),
    received_at    timestamptz not null,
    digest         bytea       not null,
    primary key (project_id, first_position)
);

create index log_batch_by_time on log_batch (project_id, received_at);

create type event_source as enum ('browser', 'server', 'management');

-- Append-only. Positions are dense per project: 1, 2, 3 ... in commit order.
create table event_log (
    project_id    uuid         not null,
    position      bigint       not null,
    received_at   timestamptz  not null,
    occurred_at   timestamptz  not null,
    event_id      uuid         not null,
    source        event_source not null,
    experiment_id uuid,
    variant_id    uuid,
    event_type    text         not null,
    event_name    text,
    visitor_id    text,
    session_id    text,
    pathname      text,
    full_url      text,
    referrer      text,
    utm           json,
    event_data    json,
    context       json,
    primary key (project_id, position)
);

create index event_log_management on event_log (project_id, position) where source = 'management';

-- The present state of each experiment, written in the transaction that appends
-- its facts; version is the compare-and-swap that keeps two commands apart.
create table experiment (
    project_id    uuid        not null,
    experiment_id uuid        not null,
    version       integer     not null,
    status        text        not null,
    changed_at    timestamptz not null,
    state         json        not null,
    primary key (project_id, experiment_id)
);

-- Which schema (projection_1, projection_2 ...) holds the live projection tables.
create table projection_generation (
    generation integer     primary key,
    state      text        not null check (state in ('building', 'live', 'retired')),
    created_at timestamptz not null default now(),
    live_at    timestamptz
);
