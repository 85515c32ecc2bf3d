"""Facts of experiments: what a step makes of several at once, and what many of them cost."""

from typing import Any
from uuid import UUID

import psycopg

from app.database import connect
from domain.events import ExperimentDetailsChanged, ExperimentVariantsChanged
from domain.experiment import Goal
from projections import results
from projections.catch_up import catch_up, create_staging
from projections.experiments import read_plan
from projections.generations import catch_up_live, live_schema, verify
from projections.queries import queries
from projections.results import read_history
from tests.projections.log_of_events import START, Plan, Seen, new_project, plan, write

FIRST, SECOND = plan(1), plan(2)
LARGER = plan(2, variants=3)  # the second with one variant more


def _seen(tested: Plan, visitor: str, minute: int) -> Seen:
    return Seen(visitor, minute, experiment=tested.experiment_id, variant=tested.variants[0].id)


async def test_facts_in_one_step_do_what_they_do_one_by_one(database_url, connection) -> None:
    """Of two experiments in turn: drafts that become void, a start, weights, a stop."""
    project_id = await new_project(connection)
    signup = Goal(name="signup", event_type="signup", kind="conversion", role="primary")
    goals = ExperimentDetailsChanged(at=START, actor="test", experiment_id=FIRST.experiment_id, goals=(signup,))
    variants = ExperimentVariantsChanged(
        at=START, actor="test", experiment_id=SECOND.experiment_id, variants=LARGER.variants
    )
    await write(
        connection,
        project_id,
        FIRST.created(),
        SECOND.created(),
        _seen(FIRST, "ann", 1),
        _seen(SECOND, "ann", 1),
        Seen("ann", 2, "conversion", "purchase"),
        goals,
        variants,
        FIRST.started(10),
        SECOND.started(10),
        FIRST.reweighted(20, 9, 1),
        LARGER.reweighted(20, 1, 2, 3),
        FIRST.reweighted(20, 1, 9),
        FIRST.reweighted(30, 1, 1),
        *(_seen(tested, visitor, at) for tested in (FIRST, SECOND) for visitor, at in (("bob", 15), ("cid", 25))),
        Seen("bob", 16, "signup"),
        Seen("cid", 26, "conversion", "purchase"),
        FIRST.stopped(40),
        LARGER.reweighted(50, 3, 2, 1),
        SECOND.stopped(60),
    )
    await create_staging(connection)
    schema = await live_schema(connection)
    while (at := await catch_up(connection, project_id, schema, events_max=1)).position < at.head:
        pass

    async with await connect(database_url) as replayer:
        assert await verify(replayer, connection, project_id) == (at.head, [])
    rows = await _rows(connection, f"select * from {schema}.planned_epoch where project_id = %s", project_id)
    assert len(rows) == 3 + 3
    placed = (
        "select counted_after, started_position, stopped_position from {}.experiment_plan where project_id = %s"
    )
    assert sorted(await _rows(connection, placed.format(schema), project_id)) == [(6, 8, 20), (7, 9, 22)]


async def test_the_history_is_that_of_the_log_however_far_it_is_counted(connection, monkeypatch) -> None:
    """Facts up to a position, in order, whether counted or still only in the log; never twice, never another's.

    The log is not asked for what is counted: it would be in each of its months.
    """
    project_id, other = await new_project(connection), await new_project(connection)
    facts = [FIRST.created(), SECOND.created(), FIRST.started(10), SECOND.started(10), FIRST.reweighted(20, 9, 1)]
    await write(connection, project_id, *facts, _seen(FIRST, "ann", 1), FIRST.stopped(40))
    await write(connection, other, FIRST.created(), FIRST.started(5), *(FIRST.reweighted(9, 1, n) for n in (2, 3)))
    await catch_up_live(connection, other)
    await create_staging(connection)
    schema = await live_schema(connection)

    async def told(until: int) -> list[int]:
        return [fact.position for fact in await read_history(connection, project_id, FIRST.experiment_id, until)]

    counted = 0
    while counted < 7:
        for until in range(8):
            assert await told(until) == [at for at in (1, 3, 5, 7) if at <= until]
        counted = (await catch_up(connection, project_id, schema, events_max=1)).position
    # It then lies behind the others, where no index tells.
    await connection.execute("set enable_indexscan to off; set enable_bitmapscan to off; discard plans")
    await connection.execute(f"update {schema}.experiment_fact set fact = fact where position = 1")
    without = {name: sql for name, sql in queries("experiments").items() if name != "later"}
    monkeypatch.setattr(results, "queries", lambda _: without)
    assert await told(7) == [1, 3, 5, 7]


async def test_a_change_of_weights_adds_an_epoch_and_writes_none_anew(connection) -> None:
    """Written anew, 1,500 changes of one split took 300 s, and each later one all that were before."""
    project_id = await new_project(connection)
    changes = [FIRST.reweighted(1 + minute, 1, 1 + minute % 7) for minute in range(40)]
    await write(connection, project_id, FIRST.created(), FIRST.started(), *changes[:30])
    await catch_up_live(connection, project_id)
    for change in changes[30:]:
        await write(connection, project_id, change)
        await catch_up_live(connection, project_id)

    known = await _plan(connection, project_id)
    assert [epoch.number for epoch in known.state.epochs] == list(range(1, 42))
    await connection.execute("select pg_stat_force_next_flush()")
    written = "select n_tup_ins, n_tup_del from pg_stat_user_tables where relid = %s::regclass"
    schema = await live_schema(connection)
    assert await _rows(connection, written, f"{schema}.planned_epoch") == [(41, 0)]
    assert await _rows(connection, written, f"{schema}.planned_goal") == [(len(FIRST.goals), 0)]


async def _plan(connection: psycopg.AsyncConnection[Any], project_id: UUID) -> Any:
    schema = await live_schema(connection)
    async with connection.transaction():
        await connection.execute(f"set local search_path to {schema}, public")
        return await read_plan(connection, project_id, FIRST.experiment_id)


async def _rows(connection: psycopg.AsyncConnection[Any], query: str, value: object) -> list[Any]:
    return await (await connection.execute(query, (value,))).fetchall()
