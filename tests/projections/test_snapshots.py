"""Results of past positions: the snapshot before and the events behind it give what a whole replay gives."""

import asyncio
import random
import string
import uuid
from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from psycopg import AsyncConnection

from app.database import connect
from app.results import Asked, digest_of
from domain.events import ExperimentDetailsChanged, Fact
from domain.experiment import Goal
from projections import catch_up as catching_up
from projections import conversions as conversion_steps
from projections import exposures, results, snapshots, steps
from projections.breakdown import Dimension, Segments, read_segments
from projections.catch_up import TEMPORARY, catch_up, create_staging, create_tables, replay, use_schema
from projections.comparison import compare
from projections.generations import catch_up_live, live_schema, rebuild, verify
from projections.queries import queries
from projections.results import Counted, Detail, read_live, read_past, read_pasts
from projections.snapshots import replaying
from tests.projections.any_log import for_any_log
from tests.projections.log_of_events import START, Seen, new_project, plan, write
from tests.projections.test_tallies import PLANS, conversions, impressions, logs

COMMON_END_EVENTS = 6
EXPERIMENT = plan()
BY_REFERRER = Detail(lambda plan: plan.goals[0], "referrer")


@st.composite
def logs_with_drafts(draw: st.DrawFn) -> list[Seen | Fact]:
    """A log in which an experiment may begin anew with other goals, or again with the same; snapshots long."""
    visits = st.lists(st.one_of(impressions(), conversions()), min_size=12, max_size=30)
    log = [*draw(logs()), *draw(visits)]
    for _ in range(draw(st.integers(0, 2))):
        kind = draw(st.sampled_from(["conversion", "pageview"]))
        changed = ExperimentDetailsChanged(
            at=START,
            actor="test",
            experiment_id=PLANS[0].experiment_id,
            goals=(Goal(name="purchase", event_type=kind, kind="count", role="primary"),),
        )
        created = next(place for place, entry in enumerate(log) if not isinstance(entry, Seen))
        log.insert(draw(st.integers(created + 1, len(log))), changed)
    return log


@for_any_log(examples=5)
@given(
    log=logs_with_drafts(),
    cuts=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    between=st.sampled_from([1, 2, 4, 100]),
    beginning=st.sampled_from([0, 3, 5_000]),
    planned_once=st.sampled_from([0, 4, 5_000]),
    asked=st.data(),
)
def test_a_past_position_shows_what_a_replay_shows(
    database_url, log, cuts, between, beginning, planned_once, asked
) -> None:
    """At any position, for every experiment, however the steps were cut and whatever the session showed before."""
    positions = asked.draw(st.lists(st.integers(1, len(log)), min_size=1, max_size=3))
    caught_up = asked.draw(st.one_of(st.just(len(log)), st.integers(0, len(log))))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(steps, "COMMON_END_EVENTS", COMMON_END_EVENTS)
        patched.setattr(steps, "YOUNG_COMMON_ENDS", 2)
        patched.setattr(steps, "YOUNG_EVENTS_BETWEEN_SNAPSHOTS", between)
        patched.setattr(snapshots, "BEGINNING_EVENTS", beginning)
        patched.setattr(catching_up, "PLANNED_ONCE_EVENTS_MAX", planned_once)
        asyncio.run(_check(database_url, log, cuts, positions, caught_up))


async def _check(url: str, log: list[Seen | Fact], cuts: list[int], positions: list[int], caught_up: int) -> None:
    async with await connect(url) as live:
        project_id = await new_project(live)
        await create_staging(live)
        await write(live, project_id, *log)
        schema, at, number = await live_schema(live), 0, 0
        while at < caught_up:
            number += 1
            events_max = cuts[number % len(cuts)]
            at = (await catch_up(live, project_id, schema, limit=caught_up, events_max=events_max)).position
    async with await connect(url) as replaying:
        await replay(replaying, project_id, at)
        assert await compare(replaying, project_id, schema, TEMPORARY) == []
    expected: dict[uuid.UUID, dict[int, Any]] = {tested.experiment_id: {} for tested in PLANS}
    for position in positions:
        async with await connect(url) as replaying:
            await replay(replaying, project_id, position)
            for experiment_id, shown in expected.items():
                shown[position] = _shown(await _read_temporary(replaying, project_id, experiment_id))
    async with await connect(url) as past:
        for position in positions:
            for experiment_id, shown in expected.items():
                found = await read_past(past, project_id, experiment_id, position, detail=BY_REFERRER)
                assert _shown(found) == shown[position], (found, position)
        for experiment_id, shown in expected.items():
            on_the_way = read_pasts(past, project_id, experiment_id, sorted(positions), detail=BY_REFERRER)
            found = [read.counted.get(experiment_id) async for read in on_the_way]
            assert [_shown(counted) for counted in found] == [shown[at] for at in sorted(positions)]


async def _read_temporary(connection: Any, project_id: uuid.UUID, experiment_id: uuid.UUID) -> Counted | None:
    """What the connection's own tables say, which hide the live ones."""

    async def segments(_: uuid.UUID, goal: Goal, by: Dimension) -> Segments:
        named = {"project_id": project_id, "experiment_id": experiment_id, "goal": goal.name, "dimension": by}
        return await read_segments(connection, "now", named)

    found = await results._read(connection, project_id, [experiment_id], BY_REFERRER, segments)  # noqa: SLF001
    return found.counted.get(experiment_id)


def _shown(found: Counted | None) -> tuple[str, list[Any], list[Any]] | None:
    """The digest of what is counted, its segments and its tallies by day, both in an order of their own."""
    if found is None or found.segments is None or found.by_day is None:
        return None
    rows = [*found.segments.visitors, *found.segments.outcomes]
    segments = sorted(rows, key=lambda row: (len(row), row.value or "", *row[1:3]))
    return digest_of(found, Asked()), segments, [sorted(found.by_day.visitors), sorted(found.by_day.outcomes)]


def _digest(found: Counted | None) -> str | None:
    return None if found is None else digest_of(found, Asked())


@pytest.mark.parametrize(("events", "young"), [(100_000, 50), (100, 7), (6, 4), (5, 50), (1, 1)])
def test_steps_of_all_generations_end_together(monkeypatch, events, young) -> None:
    """At the same positions from wherever they come, each with a snapshot, ever so many in a young log."""
    monkeypatch.setattr(steps, "COMMON_END_EVENTS", events)
    monkeypatch.setattr(steps, "YOUNG_COMMON_ENDS", young)
    near = [at * events // young + by for at in range(3 * young) for by in (-1, 0, 1)]
    for after in sorted({at for at in (*near, 10 * events, 10 * events + 1) if at >= 0}):
        end = steps.common_end(after)
        assert after < end
        assert steps.common_end(end - 1) == end
        assert steps.leaves_snapshot(end, end - 1)
    ends = [end for end in range(1, 3 * events + 1) if steps.common_end(end - 1) == end]
    assert {events, 2 * events, 3 * events} <= set(ends)
    assert len(ends) == min(young, events) + 2


def test_a_step_leaves_a_snapshot_where_many_events_stand_behind_the_last_one() -> None:
    """At least 625 in a young log, then 1,250, in a long one a 500th of it: there are few at any length."""
    assert not steps.leaves_snapshot(13_624, 13_000)
    assert steps.leaves_snapshot(13_625, 13_000)
    assert not steps.leaves_snapshot(114_249, 113_000)
    assert steps.leaves_snapshot(114_250, 113_000)
    assert not steps.leaves_snapshot(5_000_500, 4_995_000)
    assert steps.leaves_snapshot(5_000_500, 4_990_000)
    left, position = [0], 0
    while position < 1_000_000:
        position = min(position + 97, steps.common_end(position))
        if steps.leaves_snapshot(position, left[-1]):
            left.append(position)
    assert 400 < len(left) < 1_000


def test_live_steps_of_a_young_log_end_where_a_snapshot_is_due() -> None:
    """However events come, so that a first look at any of them replays few; not where many wait already."""
    chance, position, newest = random.Random(1), 0, 0
    while position < steps.YOUNG_EVENTS_MAX:
        head = position + chance.choice((1, 400, 900, steps.YOUNG_BEHIND_EVENTS_MAX))
        position = min(head, steps.live_end(position, head, newest, 1))
        assert position - newest <= steps.YOUNG_EVENTS_BETWEEN_SNAPSHOTS
        if steps.leaves_snapshot(position, newest):
            newest = position
    assert newest == position == steps.YOUNG_EVENTS_MAX
    assert steps.live_end(0, steps.YOUNG_BEHIND_EVENTS_MAX + 1, 0, 1) == 5_000
    assert steps.live_end(7_000, 9_000, 2_000, 1) == 7_625, "an earlier version may have left fewer"


@pytest.mark.parametrize(
    ("running", "events"), [(0, 12_500), (1, 12_500), (20, 20_000), (50, 50_000), (500, 50_000)]
)
def test_a_worker_that_is_behind_leaves_more_snapshots_where_few_experiments_run(running, events) -> None:
    """Each costs as much as there are tallies to keep; a first look at a moment costs the events behind one."""
    assert steps.live_end(200_000, 900_000, 200_000, running) == 200_000 + events
    assert steps.live_end(240_000, 900_000, 200_000, running) <= 250_000


async def test_every_moment_of_a_young_log_is_near_a_snapshot(connection, database_url, monkeypatch) -> None:
    """However unevenly its events were counted, with facts between them, and after a rebuild too."""
    for constant in ("EVENTS_BETWEEN_SNAPSHOTS_MIN", "YOUNG_EVENTS_BETWEEN_SNAPSHOTS"):
        monkeypatch.setattr(steps, constant, 20)
    monkeypatch.setattr(steps, "YOUNG_EVENTS_MAX", 200)
    monkeypatch.setattr(steps, "EVENTS_BETWEEN_REBUILT_MIN", 70)
    project_id = await new_project(connection)
    await write(connection, project_id, EXPERIMENT.created(), EXPERIMENT.started())
    variant = EXPERIMENT.variants[0].id
    for events in (15, 15, 31, 44, 3, 90, 60, 30, 45):
        seen = [Seen(f"v{n}", n, experiment=EXPERIMENT.experiment_id, variant=variant) for n in range(events)]
        await write(connection, project_id, *seen, EXPERIMENT.reweighted(events, 1, events))
        await catch_up_live(connection, project_id)

    live = await _left_at(connection, project_id)
    young = [position for position in live if position <= 200]
    assert max(after - before for before, after in pairwise([0, *young, 200])) == 20
    async with await connect(database_url) as builder, await connect(database_url) as keeper:
        assert await rebuild(builder, keeper) == []
    rebuilt = await _left_at(connection, project_id)
    assert rebuilt[: len(young)] == young
    assert 0 < len(rebuilt) - len(young) < len(live) - len(young)


async def test_a_log_that_another_version_counts_anew_has_snapshots_too(
    connection, database_url, monkeypatch
) -> None:
    """Where it cannot read those of the tables before, it leaves them where they are due."""
    monkeypatch.setattr(steps, "YOUNG_EVENTS_BETWEEN_SNAPSHOTS", 20)
    monkeypatch.setattr(steps, "YOUNG_EVENTS_MAX", 200)
    monkeypatch.setattr(steps, "YOUNG_BEHIND_EVENTS_MAX", 50)
    monkeypatch.setattr(steps, "EVENTS_BETWEEN_REBUILT_MIN", 70)
    project_id = await new_project(connection)
    variant = EXPERIMENT.variants[0].id
    seen = [Seen(f"v{n}", n, experiment=EXPERIMENT.experiment_id, variant=variant) for n in range(388)]
    await write(connection, project_id, EXPERIMENT.created(), EXPERIMENT.started(), *seen)
    await catch_up_live(connection, project_id)
    before = await read_live(connection, project_id, EXPERIMENT.experiment_id)
    await connection.execute(f"drop table {await live_schema(connection)}.projection_snapshot")
    await connection.execute("update projection_generation set layout = 1")

    async with await connect(database_url) as builder, await connect(database_url) as keeper:
        await rebuild(builder, keeper)

    assert await _left_at(connection, project_id) == [*range(20, 201, 20), 280, 360]
    assert await read_live(connection, project_id, EXPERIMENT.experiment_id) == before


async def _left_at(connection: AsyncConnection[Any], project_id: uuid.UUID) -> list[int]:
    """Where a project has snapshots in the live tables."""
    schema = await live_schema(connection)
    rows = await connection.execute(
        f"select position from {schema}.projection_snapshot where project_id = %s order by 1", (project_id,)
    )
    return [position for (position,) in await rows.fetchall()]


def test_a_rebuild_leaves_all_snapshots_of_a_young_log_and_few_of_a_long_one() -> None:
    """With all of them it took thrice as long; the first 100,000 events take little time anyway."""
    young = list(range(625, steps.YOUNG_EVENTS_MAX + 1, 625))
    assert steps.rebuilt_ends(young) == young
    long = list(range(102_000, 200_001, 2_000))
    assert steps.rebuilt_ends(young + long) == [*young, 120_000, 140_000, 160_000, 180_000, 200_000]
    assert steps.rebuilt_ends([]) == []


async def test_a_past_position_costs_the_events_behind_its_snapshot(connection, database_url, monkeypatch) -> None:
    """Only the events and the visitors behind the snapshot are looked at."""
    monkeypatch.setattr(steps, "COMMON_END_EVENTS", 100)
    project_id = await new_project(connection)
    variant = EXPERIMENT.variants[0].id
    seen = [Seen(f"v{n}", n, experiment=EXPERIMENT.experiment_id, variant=variant) for n in range(350)]
    await write(connection, project_id, EXPERIMENT.created(), EXPERIMENT.started(), *seen)
    await catch_up_live(connection, project_id)

    async with (
        await connect(database_url) as past,
        replaying(past, project_id, EXPERIMENT.experiment_id, 310) as replay_of_one,
    ):
        await replay_of_one.go_to(310)
        tallied = await (await past.execute("select sum(visitors) from variant_tally")).fetchone()
        held = await (await past.execute("select count(*) from visitor_exposure")).fetchone()

    assert (tallied, held) == ((308,), (10,))


async def test_a_past_position_costs_the_events_behind_a_step(connection, database_url, monkeypatch) -> None:
    """A worker close behind its log leaves snapshots where its steps end, and a rebuild leaves some of them."""
    monkeypatch.setattr(steps, "EVENTS_BETWEEN_SNAPSHOTS_MIN", 30)
    monkeypatch.setattr(steps, "YOUNG_EVENTS_MAX", 0)
    monkeypatch.setattr(steps, "EVENTS_BETWEEN_REBUILT_MIN", 70)
    project_id = await new_project(connection)
    variant = EXPERIMENT.variants[0].id
    seen = [Seen(f"v{n}", n, experiment=EXPERIMENT.experiment_id, variant=variant) for n in range(350)]
    await write(connection, project_id, EXPERIMENT.created(), EXPERIMENT.started(), *seen)
    await create_staging(connection)
    schema = await live_schema(connection)
    for position in range(19, 353, 37):
        await catch_up_to(connection, project_id, schema, position)
    await catch_up_live(connection, project_id)

    async def looked_at(position: int) -> tuple[str | None, int]:
        """The digest of a past position, and how many visitors had to be known for it."""
        async with await connect(database_url) as past:
            async with replaying(past, project_id, EXPERIMENT.experiment_id, position) as replay_of_one:
                await replay_of_one.go_to(position)
                [held] = await (await past.execute("select count(*) from visitor_exposure")).fetchone() or (0,)
            return _digest(await read_past(past, project_id, EXPERIMENT.experiment_id, position)), held

    before = [await looked_at(position) for position in (10, 60, 93, 130, 310, 352)]
    assert [held for _, held in before] == [8, 4, 0, 0, 32, 0]

    async with await connect(database_url) as builder, await connect(database_url) as keeper:
        assert await rebuild(builder, keeper) == []
    after = [await looked_at(position) for position in (10, 60, 93, 130, 310, 352)]
    assert [digest for digest, _ in after] == [digest for digest, _ in before]
    assert [held for _, held in after] == [8, 58, 0, 37, 69, 37]


@pytest.mark.parametrize(("beginning", "begun_at"), [(0, [12, 31, 55, 118]), (24, [12, 118])])
async def test_moments_on_the_way_begin_anew_only_where_that_is_shorter(
    database_url, project_id, monkeypatch, beginning, begun_at
) -> None:
    """To begin at the next snapshot costs as much as to count many events, so a short way is gone on."""
    monkeypatch.setattr(snapshots, "BEGINNING_EVENTS", beginning)
    begun: list[int] = []

    def noted(*given: Any) -> Any:
        begun.append(given[3])
        return replaying(*given)

    monkeypatch.setattr(results, "replaying", noted)
    async with await connect(database_url) as past:
        positions = [12, 14, 31, 55, 118]
        found = [each async for each in read_pasts(past, project_id, EXPERIMENT.experiment_id, positions)]
    assert [each.position for each in found] == positions
    assert begun == begun_at


async def test_whoever_is_exposed_on_the_way_has_all_that_was_done_before_judged(
    connection, database_url, monkeypatch
) -> None:
    """A first step needs to know only that there are goal events from before, a later one all of them."""
    monkeypatch.setattr(steps, "COMMON_END_EVENTS", 6)
    monkeypatch.setattr(steps, "YOUNG_COMMON_ENDS", 1)
    project_id = await new_project(connection)
    exposed = Seen("ann", 0, experiment=EXPERIMENT.experiment_id, variant=EXPERIMENT.variants[0].id)
    bought = [Seen("ann", at, "conversion", "purchase") for at in range(1, 7)]
    await write(connection, project_id, EXPERIMENT.created(), EXPERIMENT.started(), *bought[:4])
    await catch_up_live(connection, project_id)
    await write(connection, project_id, *bought[4:], exposed)
    await catch_up_live(connection, project_id)
    live = await read_live(connection, project_id, EXPERIMENT.experiment_id)

    async with await connect(database_url) as session:
        pasts = read_pasts(session, project_id, EXPERIMENT.experiment_id, [7, 8, 9])
        found = [past.counted[EXPERIMENT.experiment_id] async for past in pasts]

    assert await _left_at(connection, project_id) == [6]
    assert {each.conversions for each in found[-1].outcomes} == {6}
    assert _digest(found[-1]) == _digest(live)
    assert [dict(each.unattributed).get("not_exposed", 0) for each in found] == [5, 6, 0]


async def test_a_session_forgets_what_a_step_staged(database_url, project_id):
    """Each step of a replay finds every staging table empty, though no commit lies between them."""
    async with await connect(database_url) as past:
        async with replaying(past, project_id, EXPERIMENT.experiment_id, 1):
            staged = await (
                await past.execute(
                    "select string_agg(format('delete from %I', relname), E';\n' order by relname) || ';'"
                    " from pg_class where relnamespace = pg_my_temp_schema() and relname like 'staged%'"
                    " and relkind = 'r'"
                )
            ).fetchone()
        emptied = queries("snapshots")["empty_staged"] + ";"
        assert "\n".join(sorted(emptied.splitlines())) == staged[0]


async def test_what_a_session_shows_is_right_after_an_error(database_url, project_id, monkeypatch):
    """A replay that was broken off anywhere leaves nothing that the next one would count."""
    positions = (120, 7, 60, 119)
    async with await connect(database_url) as past:
        expected = [await read_past(past, project_id, EXPERIMENT.experiment_id, each) for each in positions]
    assert expected[0] != expected[1]
    async with await connect(database_url) as past:
        for module, name in ((exposures, "apply"), (conversion_steps, "apply"), (results, "_read")):
            with monkeypatch.context() as patched:
                patched.setattr(module, name, _broken)
                with pytest.raises(InterruptedError):
                    await read_past(past, project_id, EXPERIMENT.experiment_id, 105)
            found = [await read_past(past, project_id, EXPERIMENT.experiment_id, each) for each in positions]
            assert found == expected


async def test_a_session_keeps_its_plans_from_replay_to_replay(database_url, project_id):
    """To plan the statements of a small replay takes as long as they do; its end must not make them forgotten."""
    async with await connect(database_url) as past:
        prepared: list[set[str]] = []
        for position in (120, 7, 60):
            await read_past(past, project_id, EXPERIMENT.experiment_id, position)
            rows = await (await past.execute("select name from pg_prepared_statements")).fetchall()
            prepared.append({name for (name,) in rows})
    assert len(prepared[0]) > 10
    assert prepared[0] <= prepared[1] <= prepared[2]


@pytest.mark.parametrize("left_max", [500_000, 10**9])
async def test_what_replays_leave_in_a_session_is_unseen_and_bounded(
    connection, database_url, project_id, monkeypatch, left_max
):
    """Their rows, long ones too, are rolled back, and cut off the files once these are large; nobody sees them."""
    monkeypatch.setattr(snapshots, "LEFT_BYTES_MAX", left_max)
    # Not to be compressed, so that each replay copies much.
    long = "".join(random.Random(1).choices(string.ascii_letters, k=20_000))
    await connection.execute(
        "update projection_1.experiment_plan"
        " set state = (state::jsonb || jsonb_build_object('name', %s::text))::json",
        (long,),
    )
    found, taken = [], []
    async with await connect(database_url) as past:
        for position in (120, 7, 120) * 20:
            found.append(await read_past(past, project_id, EXPERIMENT.experiment_id, position))
            async with past.transaction(force_rollback=True):
                rows = await (await past.execute("select count(*) from pg_temp.experiment_plan")).fetchone()
                sizes = await past.execute(
                    "select sum(pg_total_relation_size(oid))::bigint from pg_class"
                    " where relnamespace = pg_my_temp_schema() and relkind = 'r'"
                )
                taken.append((await sizes.fetchone())[0])
            assert rows == (0,)
    assert all(each == found[number % 3] for number, each in enumerate(found))
    assert found[0] != found[1]
    assert (max(taken) < 1_200_000) == (left_max < 10**9), taken


async def test_a_replay_begins_anew_when_a_rebuild_flips_under_it(
    connection, database_url, project_id, monkeypatch
):
    """The tables that it was about to read are gone, schema and all: it shows what it showed before."""
    begin, begun, old = snapshots._begin, [], await live_schema(connection)  # noqa: SLF001
    gone = {"show_own": f"select set_config('search_path', '{old}, public, pg_temp', true)"}

    async def flipped(*asked: Any) -> Any:
        begun.append(asked)
        with monkeypatch.context() as patched:
            if len(begun) == 1:
                patched.setattr(snapshots, "queries", lambda file: queries(file) | gone)
            return await begin(*asked)

    async with await connect(database_url) as past:
        expected = await read_past(past, project_id, EXPERIMENT.experiment_id, 115)
        async with await connect(database_url) as builder, await connect(database_url) as keeper:
            assert await rebuild(builder, keeper) == []
        monkeypatch.setattr(snapshots, "_begin", flipped)
        assert await read_past(past, project_id, EXPERIMENT.experiment_id, 115) == expected
        assert len(begun) == 2
        assert await read_past(past, project_id, EXPERIMENT.experiment_id, 115) == expected
        assert len(begun) == 3


async def test_a_replay_without_live_tables_says_what_to_do(connection, database_url, project_id) -> None:
    """Rather than that a rebuild were to blame."""
    async with await connect(database_url) as past:
        await read_past(past, project_id, EXPERIMENT.experiment_id, 115)
        await connection.execute("delete from projection_generation")
        await connection.execute("drop schema projection_1 cascade")
        with pytest.raises(RuntimeError, match="prooflog migrate"):
            await read_past(past, project_id, EXPERIMENT.experiment_id, 115)


async def test_a_day_that_nobody_is_left_of_is_none(connection) -> None:
    """An exposure that arrives late and is earlier moves its visitor to another day, now as in a replay."""
    project_id, variant = await new_project(connection), EXPERIMENT.variants[0].id
    await write(connection, project_id, EXPERIMENT.created(), EXPERIMENT.started())
    for minute in (1_500, 10):
        await write(
            connection,
            project_id,
            Seen("ann", minute, experiment=EXPERIMENT.experiment_id, variant=variant),
        )
        await catch_up_live(connection, project_id)
    found = await read_live(connection, project_id, EXPERIMENT.experiment_id, BY_REFERRER)
    assert found is not None
    assert found.by_day is not None
    assert [(row.day, row.visitors) for row in found.by_day.visitors] == [(START.date(), 1)]


async def test_a_session_without_tables_begins_anew_when_a_rebuild_flips(database_url, project_id, monkeypatch):
    """Whose tables it was to have like its own is gone, schema and all, before it has any."""
    live_schema_of, seen = snapshots.own_schema, []

    async def flipped(session: Any) -> str:
        seen.append(await live_schema_of(session))
        if len(seen) == 1:
            async with await connect(database_url) as builder, await connect(database_url) as keeper:
                assert await rebuild(builder, keeper) == []
        return seen[-1]

    async with await connect(database_url) as past:
        expected = await read_past(past, project_id, EXPERIMENT.experiment_id, 115)
    monkeypatch.setattr(snapshots, "own_schema", flipped)
    async with await connect(database_url) as past:
        assert await read_past(past, project_id, EXPERIMENT.experiment_id, 115) == expected
    assert len(set(seen)) == 2


async def test_the_limit_of_a_breakdown_ends_with_it(database_url, project_id):
    """What a replay does next in its transaction may take as long as it needs; names mean what they did before."""
    async with await connect(database_url) as past:
        shown = await (await past.execute("show search_path")).fetchone()
        async with replaying(past, project_id, EXPERIMENT.experiment_id, 60) as on:
            await on.go_to(60)
            await on.read_segments(EXPERIMENT.experiment_id, EXPERIMENT.goals[0], "referrer")
            limit = await (await past.execute("show statement_timeout")).fetchone()
        assert limit == ("0",)
        assert await (await past.execute("show search_path")).fetchone() == shown


async def test_segments_of_a_past_position_are_those_of_then(database_url, project_id):
    """Of visitors who came back since the snapshot, of those who did not, and of late ones from elsewhere."""
    async with await connect(database_url) as builder:
        await builder.execute("create schema back_then")
        await create_tables(builder, "back_then")
        await create_staging(builder)
        shown = {}
        for position in range(5, 122, 9):
            await catch_up_to(builder, project_id, "back_then", position)
            async with builder.transaction():
                await use_schema(builder, "back_then")
                shown[position] = _shown(await _read_temporary(builder, project_id, EXPERIMENT.experiment_id))
    visitors = {sum(row.visitors for row in rows if hasattr(row, "visitors")) for _, rows, _ in shown.values()}
    assert len(visitors) > 5
    async with await connect(database_url) as past:
        for position in (*shown, *reversed(shown)):
            found = await read_past(past, project_id, EXPERIMENT.experiment_id, position, detail=BY_REFERRER)
            assert _shown(found) == shown[position]


@pytest.fixture
async def project_id(connection, monkeypatch) -> uuid.UUID:
    """A project of 122 events, with a snapshot after every tenth."""
    monkeypatch.setattr(steps, "COMMON_END_EVENTS", 10)
    project_id = await new_project(connection)
    a, b = EXPERIMENT.variants
    log = [
        entry
        for n in range(60)
        for entry in (
            Seen(
                f"v{n % 23}",
                n,
                experiment=EXPERIMENT.experiment_id,
                variant=(a if n % 23 % 3 or n == 44 else b).id,
                referrer=f"https://{n % 7}.example/",
            ),
            Seen(f"v{n % 17}", n, "conversion", "purchase", data=f'{{"amount": {n}}}'),
        )
    ]
    await write(connection, project_id, EXPERIMENT.created(), EXPERIMENT.started(), *log)
    await catch_up_live(connection, project_id)
    return project_id


async def _broken(*_: Any) -> None:
    raise InterruptedError


async def test_what_was_counted_before_a_draft_began_anew_is_still_shown(connection, database_url, monkeypatch):
    """Each position up to the change shows what it showed then, though the live tables have forgotten it."""
    monkeypatch.setattr(steps, "COMMON_END_EVENTS", 5)
    project_id = await new_project(connection)
    named = {"experiment": EXPERIMENT.experiment_id, "variant": EXPERIMENT.variants[0].id}
    visits = [
        entry
        for n in range(6)
        for entry in (
            Seen(f"v{n % 2}", n, **named),
            Seen(f"v{n % 2}", n + 5, "conversion", "purchase"),
            Seen(f"v{n % 2}", n - 9, "conversion", "purchase"),
        )
    ]
    changed = ExperimentDetailsChanged(
        at=START, actor="test", experiment_id=EXPERIMENT.experiment_id, goals=EXPERIMENT.goals[:1]
    )
    await write(connection, project_id, EXPERIMENT.created(), EXPERIMENT.started(), *visits)
    await create_staging(connection)
    schema, before = await live_schema(connection), {}
    for position in range(1, len(visits) + 3):
        await catch_up_to(connection, project_id, schema, position)
        before[position] = _digest(await read_live(connection, project_id, EXPERIMENT.experiment_id))
    await write(connection, project_id, changed, *visits)

    await catch_up_live(connection, project_id)

    for position in (5, 9, 13, 20):
        async with await connect(database_url) as past:
            assert (
                _digest(await read_past(past, project_id, EXPERIMENT.experiment_id, position)) == before[position]
            )


SPOILED = (
    ("goal_tally_past", "update {} set value_sum = value_sum + 1 where until = 3"),
    ("visitor_outcome_past", "delete from {} where until = 4"),
    ("variant_tally_past", "update {} set since = since - 1 where since > 1"),
    (
        "visitor_exposure_past",
        "insert into {0} select (jsonb_populate_record(x, '{{\"until\": 9}}')).* from {0} x limit 1",
    ),
)


@pytest.mark.parametrize(("common", "between"), [(10, 1_000), (40, 8)])
async def test_a_rebuild_keeps_the_snapshots(connection, database_url, monkeypatch, common, between) -> None:
    """What a past position shows is the same from tables that were derived anew; one that was spoiled is named.

    Whether snapshots stand where all generations end, or where steps of the live one happened to.
    """
    monkeypatch.setattr(steps, "COMMON_END_EVENTS", common)
    monkeypatch.setattr(steps, "YOUNG_COMMON_ENDS", 1)
    monkeypatch.setattr(steps, "EVENTS_BETWEEN_SNAPSHOTS_MIN", between)
    monkeypatch.setattr(steps, "YOUNG_EVENTS_MAX", 0)
    monkeypatch.setattr(steps, "EVENTS_BETWEEN_REBUILT_MIN", 0)
    project_id = await new_project(connection)
    a, b = EXPERIMENT.variants
    both = [
        Seen(f"v{n % 7}", n, experiment=EXPERIMENT.experiment_id, variant=(a if n % 3 else b).id)
        for n in range(40)
    ]
    bought = [Seen(f"v{n % 7}", n, "conversion", "purchase", data=f'{{"amount": {n}}}') for n in range(40)]
    log = [entry for pair in zip(both, bought, strict=True) for entry in pair]
    await write(connection, project_id, EXPERIMENT.created(), EXPERIMENT.started(), *log)
    digests = {}
    await create_staging(connection)
    schema = await live_schema(connection)
    for position in (9, 15, 19, 28, 33, 52, 62, 71):
        await catch_up_to(connection, project_id, schema, position)
        digests[position] = _digest(await read_live(connection, project_id, EXPERIMENT.experiment_id))
    await catch_up_live(connection, project_id)
    session = await connect(database_url)
    assert _digest(await read_past(session, project_id, EXPERIMENT.experiment_id, 33)) == digests[33]

    async with await connect(database_url) as builder, await connect(database_url) as keeper:
        assert await rebuild(builder, keeper) == []
        for table, change in SPOILED:
            done = await connection.execute(change.format(f"{await live_schema(connection)}.{table}"))
            assert done.rowcount > 0
            async with await connect(database_url) as replayer:
                with monkeypatch.context() as patched:  # not thinned, as a rebuild's are
                    patched.setattr(steps, "EVENTS_BETWEEN_REBUILT_MIN", 10_000)
                    _, found = await verify(replayer, keeper, project_id)
            assert [difference.table for difference in found] == [table], change
            assert await rebuild(builder, keeper) == found
        assert await rebuild(builder, keeper) == []

    async with session, await connect(database_url) as fresh:
        for position, digest in digests.items():
            for past in (session, fresh):
                assert _digest(await read_past(past, project_id, EXPERIMENT.experiment_id, position)) == digest


async def catch_up_to(connection: Any, project_id: uuid.UUID, schema: str, position: int) -> None:
    """Take steps until a position."""
    while (await catch_up(connection, project_id, schema, limit=position)).position < position:
        pass
