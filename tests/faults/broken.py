"""`prooflog` with one promise broken, to see that the suite notices."""

import asyncio
import secrets
import sys
from typing import Any


def acknowledges_early() -> None:
    """Answers before the commit."""
    from app.log_writer import LogWriter, Outcome  # noqa: PLC0415

    write = LogWriter.write
    writing = set()
    seen: dict[bytes, bytes] = {}

    async def answer_first(self: LogWriter, project_id: Any, events: Any) -> list[Outcome]:
        task = asyncio.ensure_future(write(self, project_id, events))
        writing.add(task)
        task.add_done_callback(writing.discard)
        return [_outcome(event) for event in events]

    def _outcome(event: Any) -> Outcome:
        identity = event.idempotency.key_hash if event.idempotency else event.event_id
        first = seen.setdefault(identity, event.event_id)
        return Outcome(first, duplicate=first is not event.event_id)

    LogWriter.write = answer_first  # type: ignore[method-assign]


def forgets_ids() -> None:
    """Takes what is sent again for something new."""
    from app import event_rows  # noqa: PLC0415
    from projections.event_ids import VERSION_8, time_ordered  # noqa: PLC0415

    def another(_project: Any, event: Any) -> bytes:
        return time_ordered(int(event.timestamp), secrets.token_bytes(10), VERSION_8)

    event_rows.browser_event_id = another


def counts_twice() -> None:
    """Counts one impression of each project twice."""
    from app import worker  # noqa: PLC0415

    catch_up = worker.catch_up
    done = set()

    async def count_one_again(connection: Any, project_id: Any, schema: str, **options: Any) -> Any:
        progress = await catch_up(connection, project_id, schema, **options)
        if project_id not in done:
            cursor = await connection.execute(
                f"update {schema}.impression_tally set impressions = impressions + 1 where ctid in"
                f" (select ctid from {schema}.impression_tally where project_id = %s limit 1)",
                (project_id,),
            )
            if cursor.rowcount:
                done.add(project_id)
        return progress

    worker.catch_up = count_one_again  # type: ignore[attr-defined]


def main() -> None:
    """Break the promise that the first argument names, then run the command line."""
    from app.commands import main as prooflog  # noqa: PLC0415

    breaks = {"acknowledges_early": acknowledges_early, "forgets_ids": forgets_ids, "counts_twice": counts_twice}
    breaks[sys.argv.pop(1)]()
    prooflog()


if __name__ == "__main__":
    main()
