-- How many events clients were told are duplicates or refused, by day and reason. Such events are not in
-- the log: these are counts of what servers answered, added every few seconds, and nothing follows from them.

create table told_count (
    project_id uuid   not null,
    day        date   not null,
    outcome    text   not null check (outcome in ('duplicate', 'rejected')),
    reason     text   not null,
    events     bigint not null,
    primary key (project_id, day, outcome, reason)
);
