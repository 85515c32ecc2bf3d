"""The sessions in which past moments are derived: kept, shared in turns, made anew after whatever goes wrong."""

import asyncio
import gc

import psycopg
import pytest

from app import replay_sessions, replays
from app.database import connect
from app.log_writer import Overloaded
from app.replay_sessions import ReplaySessions
from app.replays import Ahead, Moment, Replays
from projections import conversions, steps
from projections.event_log import received_at
from projections.generations import catch_up_live
from projections.results import read_past
from projections.snapshots import make_ready
from tests.projections.log_of_events import Seen, new_project, plan, write

EXPERIMENT = plan()
LAST = 42


@pytest.fixture
async def project_id(connection, monkeypatch):
    """A project of twenty visitors who buy, with a snapshot after every ninth event."""
    monkeypatch.setattr(steps, "COMMON_END_EVENTS", 9)
    monkeypatch.setattr(steps, "YOUNG_COMMON_ENDS", 1)
    project_id = await new_project(connection)
    log = [
        entry
        for n in range(20)
        for entry in (
            Seen(f"v{n}", n, experiment=EXPERIMENT.experiment_id, variant=EXPERIMENT.variants[n % 2].id),
            Seen(f"v{n}", n + 1, "conversion", "purchase"),
        )
    ]
    for entry in (EXPERIMENT.created(), EXPERIMENT.started(), *log):
        await write(connection, project_id, entry)
    await catch_up_live(connection, project_id)
    return project_id


@pytest.fixture
async def opened() -> list[psycopg.AsyncConnection]:
    """The sessions that were opened, in order."""
    return []


@pytest.fixture
async def tested(database_url, opened, monkeypatch):
    """Replays on the test's database, which open no session before somebody needs it: so these can be counted."""

    async def not_yet(_: ReplaySessions) -> None:
        pass

    async def one_generation(*_: object) -> tuple[int, int]:
        return 1, LAST

    monkeypatch.setattr(ReplaySessions, "_open_another", not_yet)
    monkeypatch.setattr(replays, "live_mark", one_generation)

    async def open_session() -> psycopg.AsyncConnection:
        opened.append(await connect(database_url))
        return opened[-1]

    tested = Replays(open_session)
    yield tested
    await tested.close()
    assert all(session.closed for session in opened)


def moment(project_id, position: int) -> Moment:
    """A moment of the experiment."""
    return Moment(project_id, EXPERIMENT.experiment_id, position, None, 1)


async def expected(database_url: str, project_id, position: int):
    """What a session of its own shows."""
    async with await connect(database_url) as session:
        return await read_past(session, project_id, EXPERIMENT.experiment_id, position)


async def test_few_sessions_serve_one_moment_after_the_other(database_url, project_id, tested, opened) -> None:
    """Whatever the order, each shows what a session of its own shows; before the creation there is nothing."""
    for position in (LAST, 12, 30, 1, 13, 12):
        found = await tested.derive(moment(project_id, position))
        wanted = await expected(database_url, project_id, position)
        assert (found and found.counted) == wanted
    assert await tested.derive(Moment(project_id, project_id, 20, None, 1)) is None
    assert len(opened) <= replay_sessions.SESSIONS_MAX


async def test_who_asks_does_not_wait_until_the_tables_of_another_are_empty(
    project_id, tested, opened, monkeypatch
) -> None:
    """A replay ends behind its answer, in tens of milliseconds; meanwhile another session answers."""
    go_on, read_pasts = asyncio.Event(), replays.read_pasts

    async def slow_to_end(*given):
        async for counted in read_pasts(*given):
            yield counted
        await go_on.wait()

    monkeypatch.setattr(replays, "read_pasts", slow_to_end)
    async with asyncio.timeout(10):
        assert await tested.derive(moment(project_id, 20)) is not None
        assert await tested.derive(moment(project_id, 21)) is not None
    third = asyncio.create_task(tested.derive(moment(project_id, 22)))
    await asyncio.wait([third], timeout=0.2)
    assert not third.done()
    go_on.set()
    assert await third is not None
    assert len(opened) == replay_sessions.SESSIONS_MAX


async def test_a_moment_that_two_ask_for_is_derived_once(project_id, tested, opened, monkeypatch) -> None:
    """The second waits for the first, not for a session."""
    reached, go_on = held_up(monkeypatch)
    both = [asyncio.create_task(tested.derive(moment(project_id, 20))) for _ in range(2)]
    await reached.wait()
    await asyncio.sleep(0.1)
    assert len(opened) == 1
    go_on.set()
    first, second = await asyncio.gather(*both)
    assert first is second is not None
    assert len(opened) == 1


async def test_a_moment_that_two_ask_for_is_derived_once_also_when_the_first_goes_away(
    project_id, tested, opened, monkeypatch
) -> None:
    """A page that is loaded again does not begin anew what its first request has begun."""
    reached, go_on = held_up(monkeypatch)
    both = [asyncio.create_task(tested.derive(moment(project_id, 20))) for _ in range(2)]
    await reached.wait()
    both[0].cancel()
    await asyncio.sleep(0.1)
    go_on.set()
    assert await both[1] is tested.known.get(moment(project_id, 20)) is not None
    assert len(opened) == 1


async def test_what_was_derived_ahead_meanwhile_is_not_derived_again(
    project_id, tested, ahead, monkeypatch
) -> None:
    """Who waits for a session in which what they ask for is on its way has just that."""
    tested._sessions._turns = asyncio.Semaphore(1)  # noqa: SLF001  (so that one waits)
    reached, go_on = held_up(monkeypatch)
    read_pasts, begun = replays.read_pasts, []

    def noted(*given):
        begun.append(given[3])
        return read_pasts(*given)

    monkeypatch.setattr(replays, "read_pasts", noted)
    tested.look_ahead(ahead._replace(times=ahead.times[8:10]))
    await reached.wait()  # on the way to the second: the first is a snapshot
    asked = asyncio.create_task(tested.derive(moment(project_id, 10)))
    await asyncio.sleep(0.1)
    go_on.set()
    assert await asked is tested.known.get(moment(project_id, 10)) is not None
    assert begun == [[9, 10]]


async def test_an_error_ends_the_session_and_the_next_moment_has_another(
    database_url, project_id, tested, opened, monkeypatch
) -> None:
    """Who asked is told; nobody after them."""

    async def broken(*_: object) -> None:
        raise InterruptedError

    with monkeypatch.context() as patched:
        patched.setattr(conversions, "apply", broken)
        with pytest.raises(InterruptedError):
            await tested.derive(moment(project_id, 20))
    found = await tested.derive(moment(project_id, 20))
    assert found is not None
    assert found.counted == await expected(database_url, project_id, 20)
    assert [session.closed for session in opened] == [True, False]


def held_up(monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Each replay stops in its middle: an event says that one has come there, another lets them go on."""
    reached, go_on, apply = asyncio.Event(), asyncio.Event(), conversions.apply

    async def slow(*given) -> None:
        reached.set()
        await go_on.wait()
        await apply(*given)

    monkeypatch.setattr(conversions, "apply", slow)
    return reached, go_on


async def test_a_request_that_goes_away_leaves_the_session_in_order(
    database_url, project_id, tested, opened, monkeypatch
) -> None:
    """In the middle of a replay, or while it waits for its turn: the next moment is right."""
    tested._sessions._turns = asyncio.Semaphore(1)  # noqa: SLF001  (so that one waits)
    reached, go_on = held_up(monkeypatch)
    begun = asyncio.create_task(tested.derive(moment(project_id, 20)))
    await reached.wait()
    waiting = asyncio.create_task(tested.derive(moment(project_id, 25)))
    await asyncio.sleep(0)
    for request in (begun, waiting):
        request.cancel()
    await asyncio.gather(begun, waiting, return_exceptions=True)
    go_on.set()

    found = await tested.derive(moment(project_id, 21))

    assert found is not None
    assert found.counted == await expected(database_url, project_id, 21)
    assert tested.known.get(moment(project_id, 20)) is not None  # it was under way
    assert tested.known.get(moment(project_id, 25)) is None  # nobody wanted it any more
    assert len(opened) == 1


async def test_a_session_that_broke_while_nobody_looked_is_replaced(
    connection, database_url, project_id, tested, opened
) -> None:
    """A database that was started again costs nobody their answer."""
    await tested.derive(moment(project_id, 20))
    await connection.execute("select pg_terminate_backend(%s::int)", (opened[0].info.backend_pid,))

    found = await tested.derive(moment(project_id, 21))

    assert found is not None
    assert found.counted == await expected(database_url, project_id, 21)
    assert len(opened) == 2


async def test_who_looks_first_makes_a_session_ready_for_the_next(database_url, monkeypatch) -> None:
    """Its tables are there before somebody needs it, there are never more, and it goes when nobody needs any."""
    monkeypatch.setattr(replay_sessions, "SESSION_IDLE_SECONDS", 1.0)
    opened: list[psycopg.AsyncConnection] = []

    async def open_session() -> psycopg.AsyncConnection:
        opened.append(await connect(database_url))
        return opened[-1]

    sessions = ReplaySessions(open_session, make_ready)
    async with sessions.one() as first:
        assert opened == [first]
    async with asyncio.timeout(10), sessions.one() as first:
        while len(opened) < replay_sessions.SESSIONS_MAX:
            await asyncio.sleep(0.01)
        async with sessions.one() as second:
            assert opened == [first, second]
            tables = await second.execute("select to_regclass('pg_temp.looked_up_unit') is not null")
            assert await tables.fetchone() == (True,)
    for _ in range(3):
        async with sessions.one():
            pass
    assert len(opened) == replay_sessions.SESSIONS_MAX
    async with asyncio.timeout(10):
        while not all(session.closed for session in opened):
            await asyncio.sleep(0.01)
    await sessions.close()


@pytest.mark.parametrize("wrong", [psycopg.errors.LockNotAvailable, RuntimeError, None])
async def test_a_session_that_cannot_be_made_ready_harms_nobody(database_url, monkeypatch, wrong) -> None:
    """Nor one that does not come to be ready: whoever comes has one, and it holds the turn of nobody for long."""
    monkeypatch.setattr(replay_sessions, "MAKING_READY_SECONDS_MAX", 0.05)
    opened: list[psycopg.AsyncConnection] = []

    async def open_session() -> psycopg.AsyncConnection:
        opened.append(await connect(database_url))
        return opened[-1]

    async def never(_: psycopg.AsyncConnection) -> None:
        if wrong is not None:
            raise wrong
        await asyncio.Event().wait()

    sessions = ReplaySessions(open_session, never)
    for _ in range(3):
        async with asyncio.timeout(10), sessions.one() as session:
            assert session is opened[0]
        await asyncio.sleep(0.1)
    assert len(opened) > 1
    assert all(session.closed for session in opened[1:])
    await sessions.close()


async def test_a_session_is_closed_when_nobody_looks_for_a_while(project_id, tested, opened, monkeypatch) -> None:
    """Its tables go with it."""
    monkeypatch.setattr(replay_sessions, "SESSION_IDLE_SECONDS", 0.05)
    await tested.derive(moment(project_id, 20))
    async with asyncio.timeout(10):
        while not opened[0].closed:
            await asyncio.sleep(0.01)
    assert await tested.derive(moment(project_id, 21)) is not None
    assert len(opened) == 2


@pytest.fixture
async def ahead(connection, project_id) -> Ahead:
    """The times of every event."""
    times = tuple([await received_at(connection, project_id, position) for position in range(1, LAST + 1)])
    return Ahead(project_id, EXPERIMENT.experiment_id, times, None, each_bytes=1)


async def until_known(tested: Replays, wanted: Moment) -> None:
    """Wait until a moment is known without having been asked for."""
    async with asyncio.timeout(30):
        while tested.known.get(wanted) is None:
            await asyncio.sleep(0.01)


async def test_moments_are_derived_before_anybody_asks(database_url, project_id, tested, opened, ahead) -> None:
    """All that are settled, each as a session of its own shows it, in one session; the newest is no past yet."""
    tested.look_ahead(ahead)
    await until_known(tested, moment(project_id, LAST - 1))

    for position in range(2, LAST):
        known = tested.known.get(moment(project_id, position))
        assert known is not None
        assert known.counted == await expected(database_url, project_id, position)
        assert known.time == ahead.times[position - 1]
    assert tested.known.get(moment(project_id, LAST)) is None
    assert len(opened) == 1


async def test_nothing_is_derived_ahead_while_a_page_may_still_be_made(tested, opened, ahead, monkeypatch) -> None:
    """It would take the processor from the page that asked for it."""
    monkeypatch.setattr(replays, "AHEAD_AFTER_SECONDS", 30)
    tested.look_ahead(ahead)
    await asyncio.sleep(0.2)
    assert opened == []


async def test_who_asks_comes_before_what_nobody_asked_for(database_url, project_id, tested, ahead) -> None:
    """A question in the middle has its turn and its right answer, and then the rest goes on."""
    tested.look_ahead(ahead)
    await until_known(tested, moment(project_id, 5))

    found = await tested.derive(moment(project_id, LAST))

    assert tested.known.get(moment(project_id, LAST - 1)) is None
    assert found is not None
    assert found.counted == await expected(database_url, project_id, LAST)
    await until_known(tested, moment(project_id, LAST - 1))
    for position in (7, 20, 21, LAST - 1):
        known = tested.known.get(moment(project_id, position))
        assert known is not None
        assert known.counted == await expected(database_url, project_id, position)


async def test_what_was_put_aside_is_gone_on_with_when_it_is_asked_for_again(project_id, tested, ahead) -> None:
    """Another page of another goal came first: opened again, the first one has its moments ready too."""
    tested.look_ahead(ahead)
    await until_known(tested, moment(project_id, 5))
    other = Ahead(project_id, project_id, ahead.times[:3], None, each_bytes=1)
    tested.look_ahead(other)
    async with asyncio.timeout(30):
        while not tested._looking_ahead.done():  # noqa: SLF001
            await asyncio.sleep(0.01)
    assert tested.known.get(moment(project_id, LAST - 1)) is None

    tested.look_ahead(ahead)

    await until_known(tested, moment(project_id, LAST - 1))


async def test_what_is_derived_ahead_is_bounded(project_id, tested, ahead, monkeypatch) -> None:
    """By memory, evenly; by how far back; and the same is not looked for twice."""
    monkeypatch.setattr(replays, "AHEAD_BYTES_MAX", 20)
    monkeypatch.setattr(replays, "AHEAD_EVENTS_MAX", 31)
    tested.look_ahead(ahead)
    await until_known(tested, moment(project_id, LAST - 2))
    known = [at for at in range(1, LAST) if tested.known.get(moment(project_id, at)) is not None]
    assert known == list(range(13, LAST, 3))

    async def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(replays, "positions_at", never)
    tested.look_ahead(ahead._replace(each_bytes=2))
    await asyncio.sleep(0.05)


async def test_an_error_ahead_harms_nobody(database_url, project_id, tested, opened, ahead, monkeypatch) -> None:
    """The session is closed, and the next question has another."""

    async def broken(*_: object) -> None:
        raise InterruptedError

    with monkeypatch.context() as patched:
        patched.setattr(conversions, "apply", broken)
        tested.look_ahead(ahead)
        async with asyncio.timeout(10):
            while not (opened and opened[0].closed):
                await asyncio.sleep(0.01)
    found = await tested.derive(moment(project_id, 20))
    assert found is not None
    assert found.counted == await expected(database_url, project_id, 20)
    assert len(opened) == 2


async def test_who_went_away_takes_nobody_s_place(database_url, project_id, tested, monkeypatch) -> None:
    """As many as may wait do and then do not: the next one is let in, and has the right answer."""
    reached, go_on = held_up(monkeypatch)
    gone = [
        asyncio.create_task(tested.derive(moment(project_id, 20 + number)))
        for number in range(replays.REPLAYS_WAITING_MAX)
    ]
    await reached.wait()
    with pytest.raises(Overloaded):
        await tested.derive(moment(project_id, LAST))
    for request in gone:
        request.cancel()
    await asyncio.gather(*gone, return_exceptions=True)

    asked = asyncio.create_task(tested.derive(moment(project_id, LAST)))
    await asyncio.sleep(0)
    go_on.set()

    found = await asked
    assert found is not None
    assert found.counted == await expected(database_url, project_id, LAST)


async def test_who_asked_just_before_the_end_is_told(project_id, tested) -> None:
    """Nobody waits for an answer that nobody works on any more."""
    asked = asyncio.create_task(tested.derive(moment(project_id, 20)))
    await asyncio.sleep(0)
    await tested.close()
    await asyncio.wait([asked], timeout=5)
    assert asked.cancelled()


async def test_the_end_closes_a_session_that_is_being_looked_at(project_id, tested, opened, monkeypatch) -> None:
    """Whether it is still alive is a question to the database, in the middle of which all may end."""
    await tested.derive(moment(project_id, 20))
    reached = asyncio.Event()

    async def never(*_: object) -> bool:
        reached.set()
        await asyncio.Event().wait()
        return True

    monkeypatch.setattr(ReplaySessions, "_is_alive", never)
    async with asyncio.timeout(10):
        while not tested._sessions._free:  # noqa: SLF001  (its tables are emptied behind the answer)
            await asyncio.sleep(0.01)
    asked = asyncio.create_task(tested.derive(moment(project_id, 21)))
    await reached.wait()
    await tested.close()
    await asyncio.gather(asked, return_exceptions=True)
    assert opened[0].closed


async def test_an_error_between_two_moments_is_told_once(project_id, tested, monkeypatch) -> None:
    """To who asked; no replay is left to end itself in a session that is closed."""
    loop, complaints = asyncio.get_running_loop(), []

    def broken(*_: object) -> None:
        raise InterruptedError

    monkeypatch.setattr(Replays, "_keep", broken)
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    with pytest.raises(InterruptedError):
        await tested.derive(moment(project_id, 20))
    gc.collect()
    await asyncio.sleep(0.05)
    assert complaints == []


async def test_who_asks_while_nothing_is_derived_waits_for_nothing(project_id, tested, ahead, monkeypatch) -> None:
    """Between two moments that nobody asked for there is a rest as long as the first one took."""
    apply = conversions.apply

    async def slow(*given) -> None:
        await asyncio.sleep(0.3)
        await apply(*given)

    monkeypatch.setattr(conversions, "apply", slow)
    tested.look_ahead(ahead)
    await until_known(tested, moment(project_id, 4))
    monkeypatch.setattr(conversions, "apply", apply)

    assert await tested.derive(moment(project_id, LAST)) is not None

    assert tested.known.get(moment(project_id, 5)) is None
    await until_known(tested, moment(project_id, LAST - 1))
