"""One step of catching up: a range of a project's log under one plan."""

import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from itertools import groupby
from typing import Any, LiteralString, NamedTuple
from uuid import UUID
from weakref import WeakKeyDictionary

from psycopg import AsyncConnection
from psycopg.pq import PipelineStatus
from psycopg.sql import SQL, Composed, Identifier, Placeholder

from projections.queries import queries

# A snapshot is a state that can be read for ever: an older state follows from it and the events behind it. No step
# goes past the end of every so many events, so that each generation has a snapshot there, and two can be compared.
# The first so many of a log have more: a young log is quick at any position, and a long one does not notice.
COMMON_END_EVENTS = 50_000
YOUNG_COMMON_ENDS = 10
# Between them a step leaves one where it ends anyway, if so many events or such a share of the log stand behind
# the last one. A worker close behind its log takes small steps and leaves many, a rebuild large ones and few.
EVENTS_BETWEEN_SNAPSHOTS_MIN = 1_250
LOG_BETWEEN_SNAPSHOTS_MIN = 1 / 500
# While a log is young, each step of the live tables ends where a snapshot is due: a step of so few events costs as
# much by itself as for them, but a first look at any of its moments is quick, even had all come at once. Only a
# worker that has fallen this far behind takes more, so that results stay fresh.
YOUNG_EVENTS_MAX = 100_000
YOUNG_EVENTS_BETWEEN_SNAPSHOTS = 625
YOUNG_BEHIND_EVENTS_MAX = 25_000
# A larger step of the live tables takes so many events for each experiment that runs: what it costs by itself goes
# by the tallies, which each snapshot keeps.
LARGE_STEP_EVENTS_MIN = 12_500
LARGE_STEP_EVENTS_FOR_EACH = 1_000
# Later on a rebuild leaves only those of the live generation with so many events between: with all it took thrice
# as long.
EVENTS_BETWEEN_REBUILT_MIN = 20_000
# PostgreSQL 15 has no word for how a column of a new table is stored.
_STORAGE_SINCE = 160_000
# Stands for "no known experiment" in the tallies of unattributed events.
NIL = UUID(int=0)
# Of the statements that a session runs by one call.
_PARAMETER_TYPES: dict[str, LiteralString] = {
    "project_id": "uuid",
    "experiment_id": "uuid",
    "only": "uuid",
    "nil": "uuid",
    "after": "bigint",
    "until": "bigint",
    "position": "bigint",
    "snapshot": "integer",
    "received_from": "timestamptz",
    "received_until": "timestamptz",
}
_PARAMETER = re.compile(r"%\((\w+)\)s")
# By session, file and names.
_calls: WeakKeyDictionary[AsyncConnection[Any], dict[tuple[str, tuple[str, ...]], Composed]] = WeakKeyDictionary()


class Step(NamedTuple):
    """The positions after `after` up to and including `until`; no experiment changes inside.

    All were received between the two times, which keeps queries out of other months. With `only`, one experiment
    is counted in tables that are emptied afterwards: nothing is kept there for snapshots, nor what only explains.

    `snapshot` is the number of the first snapshot that shows what the step does: the next one of the project. Rows
    carry it as `since`; a row that a later one would show otherwise is first copied into a table of the same name
    with `_past`, where `until` is that later one.
    """

    project_id: UUID
    after: int
    until: int
    received_from: datetime
    received_until: datetime
    snapshot: int
    only: UUID | None = None


def common_end(after: int) -> int:
    """The first position behind another at which the steps of every generation end, with a snapshot."""
    if after < COMMON_END_EVENTS:
        nth = after * YOUNG_COMMON_ENDS // COMMON_END_EVENTS + 1
        return -(-nth * COMMON_END_EVENTS // YOUNG_COMMON_ENDS)
    return (after // COMMON_END_EVENTS + 1) * COMMON_END_EVENTS


def live_end(after: int, head: int, newest: int, running: int) -> int:
    """Where a step of the live tables behind a position ends at the latest, in a log that ends at `head`.

    `newest` is where the newest snapshot was left, `running` how many experiments run.
    """
    end = common_end(after)
    if after >= YOUNG_EVENTS_MAX or head - after > YOUNG_BEHIND_EVENTS_MAX:
        return min(end, after + max(LARGE_STEP_EVENTS_MIN, running * LARGE_STEP_EVENTS_FOR_EACH))
    due = newest + YOUNG_EVENTS_BETWEEN_SNAPSHOTS
    # An earlier version may have left fewer.
    return min(end, due if due > after else after + YOUNG_EVENTS_BETWEEN_SNAPSHOTS)


def leaves_snapshot(until: int, newest: int) -> bool:
    """Whether a step that ends at `until` leaves a snapshot, where the newest one was left at `newest`."""
    if until <= YOUNG_EVENTS_MAX:
        between_min: float = YOUNG_EVENTS_BETWEEN_SNAPSHOTS
    else:
        between_min = max(EVENTS_BETWEEN_SNAPSHOTS_MIN, until * LOG_BETWEEN_SNAPSHOTS_MIN)
    return until == common_end(until - 1) or until - newest >= between_min


def due_ends(position: int) -> Sequence[int]:
    """Where snapshots up to a position may stand that `rebuilt_ends` chooses from, if none are known."""
    return range(YOUNG_EVENTS_BETWEEN_SNAPSHOTS, position + 1, YOUNG_EVENTS_BETWEEN_SNAPSHOTS)


def rebuilt_ends(snapshots: Sequence[int]) -> list[int]:
    """At which snapshots of the live tables a rebuild leaves some too; `snapshots` are in order."""
    ends: list[int] = []
    for position in snapshots:
        newest = ends[-1] if ends else 0
        if position <= YOUNG_EVENTS_MAX or position - newest >= EVENTS_BETWEEN_REBUILT_MIN:
            ends.append(position)
    return ends


async def run_queries(
    connection: AsyncConnection[Any], file: str, names: tuple[str, ...], parameters: dict[str, Any]
) -> None:
    """Run named statements one after another, in one round trip, or that of a pipeline which is open already."""
    call = _calls.get(connection, {}).get((file, names))
    if call is not None:
        await connection.execute(call, parameters)
        return
    is_open = connection.info.pipeline_status != PipelineStatus.OFF
    # One inside another would wait for what was sent so far, where it begins and where it ends.
    async with nullcontext() if is_open else connection.pipeline():
        for name in names:
            await connection.execute(queries(file)[name], parameters)


async def make_call(
    connection: AsyncConnection[Any], file: str, names: tuple[str, ...], needs: Mapping[str, str]
) -> None:
    """Let `run_queries` run these statements by one call, of a function that the session has for itself.

    To send a statement and to hear of its end takes as long as most of a step's take where events are few.
    `needs` says without which staged rows a statement has nothing to do: the call leaves it out then.
    """
    known = _calls.setdefault(connection, {})
    if (file, names) in known:
        return
    body = ""
    for needed, some in groupby(names, needs.get):
        statements = "".join(f"{queries(file)[name]};\n" for name in some)
        body += f"if exists (select from {needed}) then {statements} end if;\n" if needed else statements
    given = list(dict.fromkeys(_PARAMETER.findall(body)))
    body = _PARAMETER.sub(lambda found: f"${given.index(found[1]) + 1}", body)
    types = [SQL(_PARAMETER_TYPES[each]) for each in given]
    function = Identifier("pg_temp", f"{file}_{names[0]}_{len(known)}")
    made = SQL(
        "create or replace function {}({}) returns void language plpgsql as $function$ begin {} end $function$"
    )
    # Files of this package are as trusted as its code.
    await connection.execute(made.format(function, SQL(", ").join(types), SQL(body)))
    values = [SQL("{}::{}").format(Placeholder(each), type_) for each, type_ in zip(given, types, strict=True)]
    known[file, names] = SQL("select {}({})").format(function, SQL(", ").join(values))


def forget_calls(connection: AsyncConnection[Any]) -> None:
    """Say that the functions of a session may be gone, with the transaction that made them."""
    _calls.pop(connection, None)


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
        names = names_for_one(names, explaining)
    await run_queries(connection, file, names, {**step_parameters(step), **more})


def names_for_one(names: tuple[str, ...], explaining: tuple[str, ...]) -> tuple[str, ...]:
    """What of a step's statements is run where one experiment is counted."""
    return tuple(name for name in names if not name.startswith("keep_") and name not in explaining)


def step_parameters(step: Step) -> dict[str, Any]:
    """A step as SQL parameters."""
    return {**step._asdict(), "nil": NIL}
