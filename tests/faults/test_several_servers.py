"""Several server processes on one database: the log's keys guard them against each other."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil
import pytest

from tests.faults.answers import Wire
from tests.faults.site import SERVE, Site, open_site
from tests.faults.traffic import ANSWER_SECONDS_MAX, messages

RACES = 10
CLIENTS = 8


@pytest.mark.thorough
async def test_several_processes_on_one_database_keep_every_promise() -> None:
    """The same at once is new to one of them only; under load, with one killed, nothing is lost or doubled."""
    async with _two_servers() as site:
        await _race(site, random.Random(1))
        async with site.load("several", CLIENTS).running():
            await asyncio.sleep(0.7)
            os.kill(_http_processes(site)[0].pid, signal.SIGKILL)
            await asyncio.sleep(0.7)
        await site.check()
        assert site.memory.statuses[202] > 100
        assert site.memory.statuses[200] > 10  # the other's keys


async def _race(site: Site, chance: random.Random) -> None:
    """Send each message on six connections to three processes: one alone says that it is new."""
    wires = [Wire(server.port) for server in site.servers for _ in range(3)]
    sending = messages(site.projects, chance)
    kinds = {False: 0, True: 0}
    while min(kinds.values()) < RACES:
        message = next(sending)
        site.memory.sending(message)
        answers = await asyncio.gather(*(wire.ask(message.request, ANSWER_SECONDS_MAX * 4) for wire in wires))
        for answer in answers:
            assert site.memory.heard(message, answer)
        fresh = sum(answer.status == 201 if message.is_keyed else answer.json()["accepted"] for answer in answers)
        assert fresh == message.expected, [(answer.status, answer.json()) for answer in answers]
        kinds[message.is_keyed] += 1
    for wire in wires:
        wire.drop()


@asynccontextmanager
async def _two_servers() -> AsyncIterator[Site]:
    """A server of two HTTP processes, and another server beside it as on another machine."""
    async with open_site(PROOFLOG_WORKERS="2") as site:
        site.add_server("another", [*SERVE, "--no-worker"])
        await site.heal()
        assert len(_http_processes(site)) == 2
        yield site


def _http_processes(site: Site) -> list[psutil.Process]:
    return [child for child in psutil.Process(site.servers[0].pid).children() if "process" in child.cmdline()]
