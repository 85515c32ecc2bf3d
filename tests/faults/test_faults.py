"""Nothing that was acknowledged is lost and nothing is there twice, whatever is done to the processes.

Real processes on a durable PostgreSQL of their own, under load, with clients that try again. After
each round the log is held against what clients were told, and the tallies against the oracle. The
seed is printed; PROOFLOG_FAULTS_SEED repeats it and PROOFLOG_FAULTS names single faults.
"""

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Sequence

import pytest

from tests.faults import faults
from tests.faults.faults import EVERYWHERE, ON_SMALL_DISKS, Fault
from tests.faults.site import SERVE, Site, open_site

ROUNDS = int(os.environ.get("PROOFLOG_FAULTS_ROUNDS", "24"))
CLIENTS = 16
# Enough for every promise to be at stake, with little to read through afterwards.
CLIENTS_SHORT = 5
# Those that find most, quickly; the long form has them all.
SHORT = (
    faults.worker_killed_before_its_commit,
    faults.answers_to_commits_lost,
    faults.server_killed,
    faults.postgres_killed,
    faults.connections_cut,
)


@pytest.mark.thorough
async def test_nothing_is_lost_and_nothing_is_there_twice() -> None:
    """A round of each of the faults that find most."""
    async with open_site() as site:
        await _rounds(site, SHORT, seed=_seed())


@pytest.mark.faults
async def test_nothing_is_lost_in_many_rounds_of_all_faults() -> None:
    """Every fault at least once, in an order that the seed says, in one and the same log."""
    seed = _seed()
    chance = random.Random(seed)
    order: list[Fault] = []
    while len(order) < ROUNDS:
        order += chance.sample(_chosen(EVERYWHERE), len(_chosen(EVERYWHERE)))
    async with open_site() as site:
        await _rounds(site, order[:ROUNDS], seed=seed, clients=CLIENTS, load_seconds=1.5)


@pytest.mark.faults
async def test_nothing_is_lost_when_disks_are_full() -> None:
    """The disk of the tables and the one of PostgreSQL's own log, each twice."""
    async with open_site(small_disks=True) as site:
        await _rounds(site, _chosen(ON_SMALL_DISKS) * 2, seed=_seed(), clients=CLIENTS, load_seconds=1)


@pytest.mark.thorough
async def test_the_suite_notices_a_server_that_answers_before_the_commit() -> None:
    """Killed while nothing reaches the database, it has acknowledged what it has only in memory."""
    async with open_site(server=("tests.faults.broken", "acknowledges_early", *SERVE[1:], "--no-worker")) as site:

        async def killed_while_nothing_passes(site: Site, _chance: random.Random) -> str:
            for _ in range(5):  # the server may wait for the database itself, to read a project again
                site.proxy.stall()
                known = len(site.memory.acknowledged)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(faults.WAIT_SECONDS_MAX / 5):
                        while len(site.memory.acknowledged) < known + 20:
                            await asyncio.sleep(0.05)
                    break
                site.proxy.heal()
            await asyncio.to_thread(site.servers[0].kill)
            return "killed"

        with pytest.raises(AssertionError, match="acknowledged, but not in the log"):
            await _rounds(site, [killed_while_nothing_passes], seed=1)


@pytest.mark.thorough
async def test_the_suite_notices_a_server_that_takes_a_retry_for_something_new() -> None:
    """Without ids that follow from the event itself, what is sent again stands in the log again."""
    async with open_site(server=("tests.faults.broken", "forgets_ids", *SERVE[1:], "--no-worker")) as site:

        async def left_alone(_site: Site, _chance: random.Random) -> str:
            # Ends when a client that sends again what was acknowledged hears that it is new.
            await asyncio.sleep(faults.WAIT_SECONDS_MAX)
            return "nobody noticed"

        with pytest.raises(AssertionError, match="called fresh twice"):
            await _rounds(site, [left_alone], seed=1)


@pytest.mark.thorough
async def test_the_suite_notices_a_worker_that_counts_twice() -> None:
    """The log is as it should be, and a tally is one too high."""
    async with open_site(worker=("tests.faults.broken", "counts_twice", "worker")) as site:
        with pytest.raises(AssertionError, match="tallies are not what the log implies"):
            await _rounds(site, [faults.answers_to_commits_lost], seed=1)


async def _rounds(
    site: Site, order: Sequence[Fault], *, seed: int, clients: int = CLIENTS_SHORT, load_seconds: float = 0.3
) -> None:
    """Load before, during and after each fault; then every promise is checked."""
    for number, fault in enumerate(order, 1):
        chance = random.Random(f"{seed}/{number}")
        began = time.monotonic()
        known, tried_again = len(site.memory.acknowledged), site.memory.tried_again
        try:
            async with site.load(f"{seed}/{number}", clients).running():
                await asyncio.sleep(load_seconds * chance.uniform(0.5, 1.5))
                told = await fault(site, chance)
                await site.heal()
                await asyncio.sleep(load_seconds)
            figures = await site.check()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, round {number}, {fault.__name__}: {error}") from None
        assert figures.acknowledged > known, "no client was answered in this round"
        print(  # noqa: T201  (what a person who runs the long form looks at)
            f"seed {seed}  round {number:2}  {fault.__name__.replace('_', ' ')} ({told}):"
            f" {figures.acknowledged:,} events acknowledged, {figures.logged:,} in the log,"
            f" {figures.unknown:,} never answered, {site.memory.tried_again - tried_again:,} requests tried again,"
            f" {time.monotonic() - began:.1f} s",
            flush=True,
        )


def _seed() -> int:
    return int(os.environ.get("PROOFLOG_FAULTS_SEED") or random.SystemRandom().randrange(10**6))


def _chosen(known: Sequence[Fault]) -> list[Fault]:
    names = os.environ.get("PROOFLOG_FAULTS", "").split()
    return [fault for fault in known if not names or fault.__name__ in names]
