"""One step of catching up: a range of a project's log under one plan."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection

from projections.queries import queries

# A snapshot is the state after every so many events: an older state follows from it and the events behind it.
# The first so many of a log have more: a young log is quick at any position, and a long one does not notice.
SNAPSHOT_EVENTS = 100_000
YOUNG_SNAPSHOTS = 10
# PostgreSQL 15 has no word for how a column of a new table is stored.
_STORAGE_SINCE = 160_000
# Stands for "no known experiment" in the tallies of unattributed events.
NIL = UUID(int=0)


class Step(NamedTuple):
    """The positions after `after` up to and including `until`; no experiment changes inside.

    All were received between the two times, which keeps queries out of other months. With `only`, one experiment
    is counted in tables that are emptied afterwards: nothing is kept there for snapshots, nor what only explains.

    Rows carry `since`, the first snapshot that shows them as they are; a row that a later one would show
    otherwise is first copied into a table of the same name with `_past`, where `until` is that later one.
    """

    project_id: UUID
    after: int
    until: int
    received_from: datetime
    received_until: datetime
    only: UUID | None = None

    @property
    def snapshot(self) -> int:
        """The first snapshot that shows what the step does."""
        return snapshot_before(self.until - 1) + 1


def snapshot_before(position: int) -> int:
    """The newest snapshot that shows nothing behind a position; 0 is the empty log."""
    if position < SNAPSHOT_EVENTS:
        return position * YOUNG_SNAPSHOTS // SNAPSHOT_EVENTS
    return YOUNG_SNAPSHOTS - 1 + position // SNAPSHOT_EVENTS


def position_of(snapshot: int) -> int:
    """The last position that a snapshot shows."""
    if snapshot < YOUNG_SNAPSHOTS:
        return -(-snapshot * SNAPSHOT_EVENTS // YOUNG_SNAPSHOTS)
    return (snapshot - YOUNG_SNAPSHOTS + 1) * SNAPSHOT_EVENTS


async def run_queries(
    connection: AsyncConnection[Any], file: str, names: tuple[str, ...], parameters: dict[str, Any]
) -> None:
    """Run named statements one after another, in one round trip."""
    async with connection.pipeline():
        for name in names:
            await connection.execute(queries(file)[name], parameters)


async def stage_in(connection: AsyncConnection[Any], file: str, table: str) -> None:
    """Make a staging table, by the statement of that name.

    Its texts are stored plainly, as none is long. Otherwise each step would end by emptying a table of long values
    too, and its index: with all of them that was a third of a step of few events.
    """
    made = queries(file)[table]
    if connection.info.server_version < _STORAGE_SINCE:
        made = made.replace(" storage plain", "")
    await connection.execute(made)


async def run_step(
    connection: AsyncConnection[Any],
    file: str,
    names: tuple[str, ...],
    step: Step,
    *,
    explaining: tuple[str, ...] = (),
    **more: object,
) -> None:
    """Run a step's statements; those named keep_… and the `explaining` ones only where all is counted."""
    if step.only is not None:
        names = tuple(name for name in names if not name.startswith("keep_") and name not in explaining)
    await run_queries(connection, file, names, {**step_parameters(step), **more})


def step_parameters(step: Step) -> dict[str, Any]:
    """A step as SQL parameters."""
    return {**step._asdict(), "snapshot": step.snapshot, "nil": NIL}
