-- The next positions of a project, claimed where the log is: whoever finds them taken waits for the key of
-- log_batch, then goes behind at once. A writer that had to hear of it first lost most claims to the one before it.
-- The digest is as projections/chain.py computes it. At read committed each statement sees what was
-- committed while the one before it waited.
create function claim_positions(
    claimed_project uuid, claimed_count integer, content_sha256 bytea, now_there timestamptz,
    out claimed_position bigint, out claimed_at timestamptz
)
language plpgsql
as $$
declare
    began         constant timestamptz := clock_timestamp();
    newest_at     timestamptz;
    newest_digest bytea;
    waited        interval := '0';
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
            sha256(
                newest_digest || uuid_send(claimed_project) || int8send(claimed_position)
                || int8send(claimed_count) || timestamptz_send(claimed_at) || content_sha256
            )
        )
        on conflict do nothing;
        if found then
            return;
        end if;
        waited := clock_timestamp() - began;
    end loop;
    raise 'could not claim positions of project %', claimed_project;
end;
$$;
