"""What is done to the processes and the database while clients send; each says afterwards what it did."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import psycopg

from tests.faults.site import SERVE, Site

# A worker that waits for a lock must be seen doing so within this time, however slow the machine.
WAIT_SECONDS_MAX = 30.0

_NO_SPACE = "No space left on device"
_PANIC = "PANIC"

Fault = Callable[[Site, random.Random], Awaitable[str]]


async def server_killed(site: Site, chance: random.Random) -> str:
    """Kill -9 of the server, now and then while it starts again."""
    times = chance.choice((1, 1, 2))
    for _ in range(times):
        await asyncio.to_thread(site.servers[0].kill)
        site.servers[0].start()
        await asyncio.sleep(chance.uniform(0.2, 2))
    return f"killed {times} times"


async def server_stopped_in_order(site: Site, _chance: random.Random) -> str:
    """SIGTERM under load: what is queued is written, then the process ends."""
    await asyncio.to_thread(site.servers[0].terminate)
    return "ended"


async def server_paused(site: Site, chance: random.Random) -> str:
    """Stands still for longer than clients wait, then goes on as if nothing had been."""
    seconds = chance.uniform(0.5, 7)
    site.servers[0].pause()
    await asyncio.sleep(seconds)
    site.servers[0].resume()
    return f"paused for {seconds:.1f} s"


async def worker_killed(site: Site, chance: random.Random) -> str:
    """Kill -9 of the worker at moments that nobody chose."""
    times = chance.randint(2, 4)
    for _ in range(times):
        site.workers[0].start()
        await asyncio.sleep(chance.uniform(0.6, 1.5))
        await asyncio.to_thread(site.workers[0].kill)
    return f"killed {times} times"


async def worker_killed_before_its_commit(site: Site, chance: random.Random) -> str:
    """Kill -9 of the worker between its rows and its commit: it waits for a table that the test holds."""
    table = chance.choice(("visitor_exposure", "variant_tally", "goal_event", "goal_tally", "unattributed_tally"))
    async with await psycopg.AsyncConnection.connect(site.cluster.url) as connection:
        await connection.execute(f"lock table projection_1.{table} in share row exclusive mode")  # type: ignore[arg-type]
        waited = await _somebody_waits_for(connection, table)
        await asyncio.to_thread(site.workers[0].kill)
        await _nobody_waits_for(connection, table)
    assert waited, f"the worker never came to {table}"
    return f"killed while it waited for {table}"


async def two_workers(site: Site, chance: random.Random) -> str:
    """Two more workers than there should be, one of which is killed."""
    more = [site.add_worker(f"worker-{chance.randrange(10**6)}") for _ in range(2)]
    await asyncio.sleep(chance.uniform(1.5, 3))
    killed = chance.choice([*more, site.workers[0]])
    await asyncio.to_thread(killed.kill)
    await asyncio.sleep(chance.uniform(0.1, 0.5))
    for worker in more:
        await asyncio.to_thread(site.remove, worker)
    return f"three at once, {killed.name} killed"


async def postgres_killed(site: Site, _chance: random.Random) -> str:
    """Kill -9 of the postmaster."""
    await asyncio.to_thread(site.cluster.kill)
    return "killed the postmaster"


async def postgres_stopped_at_once(site: Site, chance: random.Random) -> str:
    """An immediate stop; for a while nobody starts it again."""
    await asyncio.to_thread(site.cluster.stop_at_once)
    seconds = chance.uniform(0, 2)
    await asyncio.sleep(seconds)
    return f"stopped at once, away for {seconds:.1f} s"


async def backend_killed(site: Site, chance: random.Random) -> str:
    """Kill -9 of one session's process, after which PostgreSQL recovers from its log."""
    pid = chance.choice(await asyncio.to_thread(site.cluster.backends, "server"))
    os.kill(pid, signal.SIGKILL)
    await asyncio.sleep(chance.uniform(0.1, 0.5))
    return f"killed session {pid}"


async def sessions_terminated(site: Site, chance: random.Random) -> str:
    """An administrator ends all sessions, again and again."""
    ended = 0
    async with await psycopg.AsyncConnection.connect(site.cluster.url, autocommit=True) as connection:
        for _ in range(chance.randint(5, 15)):
            cursor = await connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where backend_type = 'client backend' and pid <> pg_backend_pid()"
            )
            ended += cursor.rowcount
            await asyncio.sleep(chance.uniform(0.01, 0.15))
    return f"ended {ended} sessions"


async def connections_cut(site: Site, chance: random.Random) -> str:
    """All connections to the database are reset, again and again; then none can be made for a while."""
    cut = 0
    for _ in range(chance.randint(5, 15)):
        cut += site.proxy.cut()
        await asyncio.sleep(chance.uniform(0.01, 0.15))
    site.proxy.refuse()
    await asyncio.sleep(chance.uniform(0.1, 1))
    return f"cut {cut} connections"


async def answers_to_commits_lost(site: Site, chance: random.Random) -> str:
    """Commits happen, and the connection is gone before their answer: nobody can know."""
    return await _lose(site, site.proxy.answers_to_lose, chance)


async def commits_lost(site: Site, chance: random.Random) -> str:
    """The connection is gone before the commit arrives."""
    return await _lose(site, site.proxy.commits_to_lose, chance)


async def database_stalled(site: Site, chance: random.Random) -> str:
    """For a while nothing passes between server and database; then all of it does, or nothing ever will."""
    seconds = chance.uniform(0.5, 7)
    site.proxy.stall()
    await asyncio.sleep(seconds)
    cut = chance.random() < 0.5
    if cut:
        site.proxy.cut()
    return f"stalled for {seconds:.1f} s, then {'cut' if cut else 'resumed'}"


async def data_disk_full(site: Site, chance: random.Random) -> str:
    """No room for new rows: PostgreSQL refuses them, and goes on."""
    assert site.cluster.data_disk is not None
    before = site.cluster.logged().count(_NO_SPACE)
    site.cluster.data_disk.fill()
    await asyncio.sleep(chance.uniform(1, 3))
    refused = site.cluster.logged().count(_NO_SPACE) - before
    site.cluster.data_disk.free()
    assert refused, "the disk was not full"
    return f"PostgreSQL found no space {refused} times"


async def log_disk_full(site: Site, chance: random.Random) -> str:
    """No room for PostgreSQL's own log: it panics and cannot start until there is some."""
    assert site.cluster.log_disk is not None
    before = site.cluster.logged().count(_PANIC)
    site.cluster.log_disk.fill()
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while site.cluster.logged().count(_PANIC) == before:
        assert time.monotonic() < deadline, "PostgreSQL found room for its log"
        try:  # uses up the files that it has in store
            async with await psycopg.AsyncConnection.connect(site.cluster.url, autocommit=True) as connection:
                await connection.execute("select pg_switch_wal()")
        except psycopg.OperationalError:
            pass
        await asyncio.sleep(0.02)
    await asyncio.sleep(chance.uniform(0, 1))
    return "PostgreSQL panicked"


async def clock_stepped(site: Site, chance: random.Random) -> str:
    """The server's clock jumps by hours, there and back."""
    [ordinary] = site.servers
    await asyncio.to_thread(ordinary.terminate)
    seconds = chance.uniform(2, 4)
    command = ["tests.faults.stepping_clock", *SERVE[1:], "--no-worker"]
    # On the port that clients know, in place of the ordinary one.
    stepping = site.add_server("stepping", command, port=ordinary.port, PROOFLOG_FAULTS_CLOCK=str(chance.random()))
    await site.ready(stepping)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(site.remove, stepping)
    return f"jumped by hours for {seconds:.1f} s"


EVERYWHERE: tuple[Fault, ...] = (
    worker_killed_before_its_commit,
    server_killed,
    answers_to_commits_lost,
    postgres_killed,
    two_workers,
    connections_cut,
    clock_stepped,
    backend_killed,
    worker_killed,
    database_stalled,
    sessions_terminated,
    commits_lost,
    postgres_stopped_at_once,
    server_paused,
    server_stopped_in_order,
)
ON_SMALL_DISKS: tuple[Fault, ...] = (data_disk_full, log_disk_full)


async def _lose(site: Site, to_lose: Counter[str], chance: random.Random) -> str:
    before = site.proxy.commits_lost
    of_server, of_worker = chance.randint(2, 5), chance.randint(1, 3)
    to_lose.update(server=of_server, worker=of_worker)
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while to_lose.total() > 0 and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    assert site.proxy.commits_lost == before + of_server + of_worker, f"commits never came: {dict(to_lose)}"
    return f"{of_server} times of the server's, {of_worker} of the worker's"


async def _somebody_waits_for(connection: psycopg.AsyncConnection, table: str) -> bool:
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not await _waiting(connection, table):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


async def _nobody_waits_for(connection: psycopg.AsyncConnection, table: str) -> None:
    # PostgreSQL notices the loss of a session that waits for a lock only when it has the lock.
    await connection.execute(
        "select pg_terminate_backend(pid) from pg_locks where not granted and relation = %s::regclass",
        (f"projection_1.{table}",),
    )


async def _waiting(connection: psycopg.AsyncConnection, table: str) -> bool:
    cursor = await connection.execute(
        "select count(*) from pg_locks where not granted and relation = %s::regclass", (f"projection_1.{table}",)
    )
    row = await cursor.fetchone()
    return row is not None and row[0] > 0
