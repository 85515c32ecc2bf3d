-- The next positions of a project, claimed where the log is: whoever finds them taken waits for the key of
-- log_batch, then goes behind at once. A writer that had to hear of it first lost most claims to the one before it.

-- What chains a batch to the one before it; projections/chain.py computes the same from stored rows.
create function batch_digest(
    digest_before bytea, project_id uuid, first_position bigint, event_count integer, received_at timestamptz,
    content_sha256 bytea
)
returns bytea
language sql
immutable
return sha256(
    digest_before || uuid_send(project_id) || int8send(first_position) || int8send(event_count)
    || timestamptz_send(received_at) || content_sha256
);

-- At read committed each statement sees what was committed while the one before it waited.
create function claim_positions(
    claimed_project uuid, claimed_count integer, content_sha256 bytea, now_there timestamptz,
    out claimed_position bigint, out claimed_at timestamptz
)
language plpgsql
-- A plan that was made while the table was short, and is kept, would read all of it for ever.
set enable_seqscan = off
as $$
declare
    began         constant timestamptz := clock_timestamp();
    waited        interval := '0';
    newest_at     timestamptz;
    newest_digest bytea;
begin
    for try in 1 .. 1000 loop
        select first_position + event_count, received_at, digest
        into claimed_position, newest_at, newest_digest
        from log_batch
        where project_id = claimed_project
        order by first_position desc
        limit 1;
        if not found then
            claimed_position := 1;
            newest_digest := decode(repeat('00', 32), 'hex');
        end if;
        -- Never backwards within a project, and never from before a wait.
        claimed_at := greatest(newest_at, now_there + waited);
        insert into log_batch (project_id, first_position, event_count, received_at, digest)
        values (
            claimed_project, claimed_position, claimed_count, claimed_at,
            batch_digest(newest_digest, claimed_project, claimed_position, claimed_count, claimed_at, content_sha256)
        )
        on conflict do nothing;
        if not found then
            waited := clock_timestamp() - began;
            continue;
        end if;
        if clock_timestamp() - began - waited > interval '100 milliseconds' then
            -- Whoever had claimed these positions gave them back. Nobody has seen the row yet.
            claimed_at := greatest(newest_at, now_there + (clock_timestamp() - began));
            update log_batch
            set received_at = claimed_at,
                digest = batch_digest(
                    newest_digest, claimed_project, claimed_position, claimed_count, claimed_at, content_sha256
                )
            where project_id = claimed_project and first_position = claimed_position;
        end if;
        return;
    end loop;
    raise 'could not claim positions of project %', claimed_project;
end;
$$;
