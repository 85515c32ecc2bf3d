-- Who may use the dashboard: users with their role in each project, sessions, links that share one experiment.

-- A person logs in once for all their projects, so users have no project_id: they are few, a reference table
-- on Citus. name_key is what all spellings of one name share. A password that somebody else made holds
-- until one_time_until and then has to be replaced. version moves when their sessions end.
create table dashboard_user (
    user_id        uuid        primary key,
    name           text        not null,
    name_key       text        not null unique,
    password_hash  text        not null,
    one_time_until timestamptz,
    version        integer     not null,
    created_at     timestamptz not null
);

create table user_role (
    project_id uuid        not null,
    user_id    uuid        not null,
    role       text        not null check (role in ('viewer', 'editor', 'owner')),
    granted_at timestamptz not null,
    primary key (project_id, user_id)
);

create index user_role_by_user on user_role (user_id);

-- Found by a cookie before any project is known: no project_id in the key either. A session is the admin
-- token's (admin_key is derived from it), a user's, or a secret key's.
create table dashboard_session (
    session_hash bytea       primary key,
    expires_at   timestamptz not null,
    admin_key    bytea,
    user_id      uuid,
    user_version integer,
    project_id   uuid,
    key_hash     bytea,
    check (num_nonnulls(admin_key, user_id, key_hash) = 1)
);

create index dashboard_session_by_end on dashboard_session (expires_at);

-- The token in a link is kept as its hash only. A revoked link stays, so that people see what was shared.
create table share_link (
    project_id    uuid        not null,
    token_hash    bytea       not null,
    link_id       uuid        not null,
    experiment_id uuid        not null,
    made_by       text        not null,
    made_at       timestamptz not null,
    revoked_at    timestamptz,
    primary key (project_id, token_hash),
    unique (project_id, link_id)
);
