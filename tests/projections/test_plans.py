"""How PostgreSQL reaches the rows of hot statements: through keys, whatever the size of the tables."""

import asyncio
import json
import re
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from app.database import connect
from projections.breakdown import read_segments
from projections.catch_up import create_staging, use_schema
from projections.conversions import apply as apply_conversions
from projections.event_log import append, read_head, received_at
from projections.exposures import apply as apply_exposures
from projections.generations import catch_up_live, live_position, live_schema
from projections.partitions import ensure_partitions
from projections.queries import queries
from projections.steps import NIL, Step, run_queries, step_parameters
from tests.conftest import database_like
from tests.projections.log_of_events import Plan, Seen, new_project, plan, write

LARGE = {
    "event_log",
    "event_ledger",
    "log_batch",
    "visitor_exposure",
    "goal_event",
    "visitor_outcome",
    "visitor_unattributed",
    "idempotency_key",
    "variant_tally",
    "impression_tally",
    "goal_tally",
    "unattributed_tally",
}
# A few rows that are answered, of one experiment or one a project, may be put in order.
MAY_SORT = {"tallies", "status"}


@pytest.fixture(scope="module")
def filled(postgres, template):
    """A database with a project whose tables are large enough that the planner has a choice, with statistics."""
    with database_like(postgres, template) as url:
        project = asyncio.run(_fill(url))
        yield psycopg.conninfo.conninfo_to_dict(url)["dbname"], project


@pytest.fixture
def database_url(postgres, filled):
    """A copy of it, so that a test may add to it."""
    with database_like(postgres, filled[0]) as url:
        yield url


@pytest.fixture
def project(filled):
    """The project, its experiment and the variant that was seen."""
    return filled[1]


async def _fill(url: str) -> tuple[uuid.UUID, Plan, uuid.UUID]:
    async with await connect(url) as connection:
        return await _fill_project(connection)


async def _fill_project(connection: Any) -> tuple[uuid.UUID, Plan, uuid.UUID]:
    project_id = await new_project(connection)
    experiment = plan()
    for months in range(0, 20, 4):  # as after two years
        await ensure_partitions(connection, datetime.now(UTC) - timedelta(days=months * 30))
    await _keep_from_autovacuum(connection)
    await write(connection, project_id, experiment.created(), experiment.started())
    variant = experiment.variants[0].id
    async with connection.transaction():
        await _append(connection, project_id, _visits(experiment, variant, 0, 6000))
    await catch_up_live(connection, project_id)
    await connection.execute(
        "insert into log_batch select %s, n, 1, now(), ''::bytea from generate_series(1, 10000) n", (uuid.uuid4(),)
    )
    await connection.execute(
        "insert into idempotency_key select %s, gen_random_uuid(), gen_random_uuid(), gen_random_uuid()"
        " from generate_series(1, 10000)",
        (project_id,),
    )
    for table in ("variant_tally", "impression_tally", "goal_tally", "visitor_unattributed", "unattributed_tally"):
        await _fill_with_other_experiments(connection, f"{await live_schema(connection)}.{table}")
    for schema in ("public", await live_schema(connection)):
        await _analyze(connection, schema)
    return project_id, experiment, variant


async def _fill_with_other_experiments(connection: Any, table: str) -> None:
    await connection.execute(
        f"insert into {table} select (jsonb_populate_record(old, new)).*"
        f" from (select t as old from {table} t limit 1) one,"
        " (select jsonb_build_object('experiment_id', gen_random_uuid()) as new"
        " from generate_series(1, 10000)) made"
    )


async def _keep_from_autovacuum(connection: Any) -> None:
    """Else, where it comes by, a few rows of a small project are sorted behind an index that tells all of them."""
    tables = await connection.execute(
        "select oid::regclass from pg_class where relkind = 'r' and relnamespace::regnamespace::text = any(%s)",
        (["public", await live_schema(connection)],),
    )
    for (table,) in await tables.fetchall():
        await connection.execute(f"alter table {table} set (autovacuum_enabled = off)")


async def _analyze(connection: Any, schema: str) -> None:
    tables = "select format('%%I.%%I', schemaname, tablename) from pg_tables where schemaname = %s"
    for (table,) in await (await connection.execute(tables, (schema,))).fetchall():
        await connection.execute(f"analyze {table}")


def _visits(experiment: Any, variant: Any, first: int, last: int) -> list[Seen]:
    seen = [
        Seen(f"visitor {n}", 1, experiment=experiment.experiment_id, variant=variant) for n in range(first, last)
    ]
    bought = [
        Seen(f"visitor {n}", 2, "conversion", "purchase", data='{"amount": 5}') for n in range(first, last, 2)
    ]
    too_early = [
        Seen(f"visitor {n}", 0, "conversion", "purchase", data='{"amount": 5}') for n in range(first, last, 8)
    ]
    return [*seen, *bought, *too_early]


async def _append(connection: Any, project_id: Any, events: list[Seen]) -> None:
    await append(connection, {project_id: [event.row() for event in events]}, lambda: datetime.now(UTC))


def _nodes(tree: dict[str, Any]) -> list[dict[str, Any]]:
    return [tree, *(node for child in tree.get("Plans", []) for node in _nodes(child))]


async def _plan(connection: Any, query: str, parameters: Any, *, analyze: bool = False) -> list[dict[str, Any]]:
    asked = f"explain (analyze {analyze}, format json) {query}"
    row = await (await connection.execute(asked, parameters)).fetchone()
    return _nodes((row[0] if isinstance(row[0], list) else json.loads(row[0]))[0]["Plan"])


def _scanned(nodes: list[dict[str, Any]]) -> set[str]:
    tables = {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}
    return {_MONTH.sub("", table) for table in tables} & LARGE


_MONTH = re.compile(r"_\d{4}_\d{2}$")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("event_log", "head"),
        ("event_log", "position_at"),
        ("event_log", "received_at"),
        ("catch_up", "checkpoint"),
        ("catch_up", "ahead"),
        ("catch_up", "count"),
        ("catch_up", "lagging"),
        ("catch_up", "status"),
        ("catch_up", "standings"),
        ("event_log", "batches_after"),
        ("projects", "arrived"),
        ("results", "tallies"),
    ],
)
async def test_what_is_read_all_the_time_needs_no_scan_and_no_sort(connection, project, file, name):
    """The statements that run all the time touch as many rows as they answer."""
    project_id, experiment, _ = project
    parameters = {
        "project_id": project_id,
        "project_ids": [project_id],
        "experiment_ids": [experiment.experiment_id, NIL],
        "by_day": True,
        "time": datetime.now(UTC),
        "position": 10,
        "after": 4,
        "until": 20,
        "received_from": datetime.now(UTC) - timedelta(minutes=1),
        "received_until": datetime.now(UTC),
        "batches_max": 100,
    }
    async with connection.transaction():
        await use_schema(connection, await live_schema(connection))
        nodes = await _plan(connection, queries(file)[name], parameters)
    assert _scanned(nodes) == set()
    if name not in MAY_SORT:
        assert not [node for node in nodes if "Sort" in node["Node Type"]]


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("insert_new_ledger", 2),
        ("insert_ledger", 2),
        ("insert_idempotency_keys", 4),
        ("insert_new_idempotency_keys", 4),
        ("known_idempotency_keys", 2),
        ("insert_batch", 0),
    ],
)
async def test_what_a_commit_asks_of_the_ledgers_needs_no_scan_and_no_sort(connection, project, name, columns):
    """A commit of a hundred events touches a hundred keys, however many there are."""
    project_id = project[0]
    ids: list[Any] = [[project_id] * 100, *([uuid.uuid4() for _ in range(100)] for _ in range(1, columns))]
    asked = {
        "insert_new_ledger": [project_id, *ids[1:]],
        "insert_new_idempotency_keys": [project_id, *ids[1:]],
        "known_idempotency_keys": [project_id, *ids[1:]],
        "insert_batch": [project_id, 1, 1, datetime.now(UTC), b""],
    }
    async with connection.transaction():
        if name == "known_idempotency_keys":
            await connection.execute(queries("event_log")["look_up"])
        nodes = await _plan(connection, queries("event_log")[name], asked.get(name, ids))
    assert _scanned(nodes) == set()
    assert not [node for node in nodes if "Sort" in node["Node Type"]]


async def test_positions_are_claimed_through_the_key_of_the_batches(connection, project):
    """However many batches there are, one entry is read, by a session's first plans and by the one it keeps."""
    assert await _read_by_claims(connection, project[0], 12) == (0, 12)


async def _read_by_claims(connection, project_id, claims):
    """How often all batches were read meanwhile, and how many by their key."""
    async with connection.transaction():
        before = await _batches_read(connection)
        for _ in range(claims):
            await append(connection, {project_id: [Seen("ann", 1).row()]}, lambda: datetime.now(UTC))
        return tuple(now - then for now, then in zip(await _batches_read(connection), before, strict=True))


async def _batches_read(connection):
    read = await connection.execute(
        "select seq_scan, idx_tup_fetch from pg_stat_xact_user_tables where relname = 'log_batch'"
    )
    return await read.fetchone()


async def test_a_step_reaches_large_tables_through_their_keys(connection, project, monkeypatch):
    """Each statement of a step is planned beside full tables and a step of a few events."""
    project_id, experiment, variant = project
    async with connection.transaction():
        await _append(connection, project_id, _visits(experiment, variant, 5990, 6010))
    now = datetime.now(UTC)
    after = await live_position(connection, project_id)
    head = (await read_head(connection, project_id)).next_position - 1
    step = Step(project_id, after, head, now - timedelta(minutes=1), now, 2)
    scanned: dict[str, set[str]] = {}

    async def explained(connection: Any, file: str, names: tuple[str, ...], parameters: dict[str, Any]) -> None:
        for name in names:
            nodes = await _plan(connection, queries(file)[name], parameters)
            if found := _scanned(nodes):
                scanned[f"{file}.{name}"] = found
        await run_queries(connection, file, names, parameters)

    monkeypatch.setattr("projections.steps.run_queries", explained)
    await create_staging(connection)
    async with connection.transaction():
        await use_schema(connection, await live_schema(connection))
        await explained(connection, "catch_up", ("stage_events",), step_parameters(step))
        await apply_exposures(connection, step)
        await apply_conversions(connection, step)
        row = await (await connection.execute("select count(*) from staged_outcome")).fetchone()
    assert row[0] > 0
    assert scanned == {}


async def test_scans_are_ruled_out_only_where_that_makes_no_plan_dear(connection):
    """Before 18, a plan that cannot do without one cost so much for it that it was compiled: 4 s for one event."""
    async with connection.transaction():
        await connection.execute(queries("catch_up")["plan_once"])
        row = await (
            await connection.execute("select current_setting('enable_seqscan'), current_setting('jit')")
        ).fetchone()
    assert row == ("off" if connection.info.server_version >= 180_000 else "on", "off")


@pytest.mark.parametrize(("file", "name"), [("catch_up", "counted"), ("snapshots", "around")])
async def test_a_snapshot_is_found_through_its_key(connection, project, file, name):
    """Each step asks for the newest one, each past moment for those around it, of thousands; of many projects."""
    project_id = project[0]
    async with connection.transaction():
        await use_schema(connection, await live_schema(connection))
        await connection.execute(
            "insert into projection_snapshot select project_id, n * 2000, n + 1"
            " from unnest(%s) project_id, generate_series(1, 5000) n",
            ([project_id, *(uuid.uuid4() for _ in range(3))],),
        )
        await connection.execute(
            "insert into projection_checkpoint select gen_random_uuid(), 1 from generate_series(1, 5000)"
        )
        await connection.execute("analyze projection_snapshot, projection_checkpoint")
        nodes = await _plan(connection, queries(file)[name], {"project_id": project_id, "wanted": 5_000_000})
    assert "projection_snapshot" in {node.get("Relation Name") for node in nodes}
    assert not [node for node in nodes if node["Node Type"] in {"Seq Scan", "Sort", "Bitmap Heap Scan"}]


async def test_many_new_segments_cost_each_the_same(connection):
    """A campaign of its own for each visitor: joined without statistics, each was compared with all there are."""
    project_id, _ = await _come_from(connection, visitors=3000, referrers=3000)
    await connection.execute("analyze event_log")
    began = time.monotonic()
    await catch_up_live(connection, project_id)
    assert time.monotonic() - began < 4
    query = "select count(*) from projection_1.segment where project_id = %s"
    assert await (await connection.execute(query, (project_id,))).fetchone() == (3000,)
    await connection.execute("select pg_stat_force_next_flush()")
    entries = "select idx_tup_read from pg_stat_user_indexes where relid = 'projection_1.segment'::regclass"
    ((read,),) = await (await connection.execute(entries)).fetchall()
    assert read <= 2 * 3000


async def test_exposures_are_not_held_against_every_experiment_of_a_project(connection):
    """Joined without statistics, a step of 1,250 exposures took 230 ms where a project had 1,000 experiments."""
    project_id = await new_project(connection)
    tested = [plan(number) for number in range(1, 101)]
    await write(connection, project_id, *(fact for each in tested for fact in (each.created(), each.started())))
    await catch_up_live(connection, project_id)
    seen = [
        Seen(f"v{n}", 1, experiment=each.experiment_id, variant=each.variants[0].id)
        for n, each in enumerate(tested * 5)
    ]
    async with connection.transaction():
        await _append(connection, project_id, seen)
    await create_staging(connection)
    head = (await read_head(connection, project_id)).next_position - 1
    received = [await received_at(connection, project_id, position) for position in (head - len(seen) + 1, head)]
    step = Step(project_id, head - len(seen), head, received[0], received[1], 1)
    async with connection.transaction():
        await use_schema(connection, await live_schema(connection))
        await connection.execute(queries("catch_up")["plan_once"])
        await run_queries(connection, "catch_up", ("stage_events",), step_parameters(step))
        nodes = await _plan(connection, queries("exposures")["stage"], step_parameters(step), analyze=True)
    compared = [node for node in nodes if node.get("Rows Removed by Join Filter")]
    assert compared == []
    assert max(node["Actual Rows"] * node["Actual Loops"] for node in nodes) <= 2 * len(seen)


async def test_segments_are_not_held_against_each_other(database_url, connection):
    """Joined without statistics, 1,500 referrers of 20,000 visitors took 190 ms, now 45."""
    project_id, tested = await _come_from(connection, visitors=4000, referrers=1000)
    await catch_up_live(connection, project_id)
    named = {"project_id": project_id, "experiment_id": tested.experiment_id, "goal": "purchase"}
    async with await connect(database_url) as reader:
        async with reader.transaction():
            await use_schema(reader, await live_schema(reader))
            found = await read_segments(reader, "now", {**named, "dimension": "referrer"})
        await reader.execute("select pg_stat_force_next_flush()")
    assert len(found.visitors) == 1000
    read = "select idx_tup_read from pg_stat_user_indexes where relid = 'projection_1.segment'::regclass"
    ((entries,),) = await (await connection.execute(read)).fetchall()
    assert entries <= 5 * 4000


async def _come_from(connection: Any, *, visitors: int, referrers: int) -> tuple[uuid.UUID, Plan]:
    """A new project whose visitors came to its experiment from so many places; nothing is counted yet."""
    project_id, tested = await new_project(connection), plan()
    shown = {"experiment": tested.experiment_id, "variant": tested.variants[0].id}
    seen = [Seen(f"v{n}", 1, **shown, referrer=f"https://{n % referrers}.example/") for n in range(visitors)]
    await write(connection, project_id, tested.created(), tested.started())
    async with connection.transaction():
        await _append(connection, project_id, seen)
    return project_id, tested


async def test_a_goal_event_of_a_busy_visitor_costs_the_same_as_any_other(connection):
    """Of those it had before one is read: that there are some. A client may report one id for everybody."""
    experiment = plan()
    project_id = await new_project(connection)
    await write(connection, project_id, experiment.created(), experiment.started())
    exposed = Seen("everybody", 0, experiment=experiment.experiment_id, variant=experiment.variants[0].id)
    bought = [Seen("everybody", at, "conversion", "purchase") for at in range(1, 501)]
    await write(connection, project_id, exposed, *bought)
    await catch_up_live(connection, project_id)
    await write(connection, project_id, Seen("everybody", 501, "conversion", "purchase"))
    schema = await live_schema(connection)

    async with connection.transaction():
        await catch_up_live(connection, project_id)
        row = await (
            await connection.execute(
                "select sum(pg_stat_get_xact_tuples_returned(indexrelid))::int from pg_index"
                " where indrelid = to_regclass(%s)",
                (f"{schema}.goal_event",),
            )
        ).fetchone()

    assert row == (1,)
