"""Visitors and backends that keep sending, try again until they are answered, and remember what they were told."""

import asyncio
import contextlib
import itertools
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from tests.faults.answers import Answer, Wire, ask, request

API = "/api/analytics"
ANSWER_SECONDS_MAX = 5.0
# After the fault is over every client must have been answered within this time.
SETTLE_SECONDS_MAX = 120.0
RETRY_SECONDS = 0.05
SHED = frozenset({429, 503})
# Events spread over the hours before the start, each with a millisecond of its own, in no order.
SPREAD_MS = 3 * 3_600_000
_STRIDE = 7_919_003
VISITORS = 3_000


class Project(NamedTuple):
    """A project under load, with the experiments that run in it."""

    project_id: str
    secret_key: str
    experiments: tuple[dict[str, Any], ...]


class Message(NamedTuple):
    """A request, and by which marks its events can be found in the log."""

    request: bytes
    marks: tuple[str, ...]
    expected: int
    is_keyed: bool


class Memory:
    """What was sent, and what the servers said of it."""

    def __init__(self) -> None:
        self.sent: set[str] = set()
        self.acknowledged: set[str] = set()
        self.event_ids: dict[str, set[str]] = defaultdict(set)
        self.fresh: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.tried_again = 0

    def sending(self, message: Message) -> None:
        """A message is about to leave for the first time."""
        self.sent.update(message.marks)

    def heard(self, message: Message, answer: Answer) -> bool:
        """Take an answer in; whether it is an acknowledgement."""
        self.statuses[answer.status] += 1
        if answer.status in SHED:
            assert "retry-after" in answer.headers, f"{answer.status} without Retry-After"
            return False
        body = answer.json()
        if message.is_keyed:
            assert answer.status in {200, 201}, (answer.status, body)
            assert body["duplicate"] is (answer.status == 200), body
            self.event_ids[message.marks[0]].add(body["eventId"])
            self.fresh[message.marks[0]] += not body["duplicate"]
        else:
            assert answer.status == 202, (answer.status, body)
            assert body["rejected"] == [], body
            assert body["accepted"] + body["duplicates"] == message.expected, body
            self.fresh[message.marks[0]] += body["accepted"]
        allowed = 1 if message.is_keyed else message.expected
        assert self.fresh[message.marks[0]] <= allowed, f"called fresh twice: {message.marks}"
        self.acknowledged.update(message.marks)
        return True


async def open_projects(port: int, admin_token: str, count: int) -> tuple[Project, ...]:
    """Projects with two running experiments each, one of them with a short window."""
    return tuple([await _open_project(port, admin_token, f"load {number}") for number in range(count)])


class Load:
    """Clients that send until told to stop."""

    def __init__(
        self, ports: Sequence[int], projects: Sequence[Project], memory: Memory, seed: str, clients: int
    ) -> None:
        self._ports = ports
        self._projects = projects
        self._memory = memory
        self._seed = seed
        self._clients = clients
        self._stopping = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load for as long as the block lasts; afterwards each client sees its last message through.

        What a client finds wrong ends the block at once.
        """
        try:
            async with asyncio.timeout(None) as patience, asyncio.TaskGroup() as clients:
                for number in range(self._clients):
                    clients.create_task(self._client(number))
                yield
                self._stopping.set()
                patience.reschedule(asyncio.get_running_loop().time() + SETTLE_SECONDS_MAX)
        except TimeoutError:
            raise AssertionError("clients were not answered long after the fault was over") from None
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _client(self, number: int) -> None:
        chance = random.Random(f"{self._seed}/{number}")
        wires = [Wire(port) for port in self._ports]
        sending = messages(self._projects, chance)
        try:
            while not self._stopping.is_set():
                await self._send(next(sending), wires, chance)
        finally:
            for wire in wires:
                wire.drop()

    async def _send(self, message: Message, wires: list[Wire], chance: random.Random) -> None:
        self._memory.sending(message)
        gives_up = chance.random() < 0.03
        if len(wires) > 1 and chance.random() < 0.3:  # the same at once to different servers
            heard = await asyncio.gather(*(self._try(message, wire) for wire in wires))
            answered = any(heard)
        else:
            answered = await self._try(message, chance.choice(wires))
        while not answered and not gives_up:
            self._memory.tried_again += 1
            await asyncio.sleep(RETRY_SECONDS * chance.uniform(0.5, 2))
            answered = await self._try(message, chance.choice(wires))
        if answered and chance.random() < 0.05:  # a backend that lost its own note of the answer
            await self._try(message, chance.choice(wires))

    async def _try(self, message: Message, wire: Wire) -> bool:
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            return self._memory.heard(message, await wire.ask(message.request, ANSWER_SECONDS_MAX))
        return False


async def _open_project(port: int, admin_token: str, name: str) -> Project:
    made = await _manage(port, admin_token, f"{API}/projects", {"name": name})
    key = made["secretKey"]
    experiments = []
    for hours in (720, 1):
        body = {
            "name": f"{hours} hours",
            "type": "copy",
            "variants": [{"name": "A", "isControl": True, "weight": 1}, {"name": "B", "weight": 1}],
            "attributionWindowHours": hours,
            "goals": [
                {"name": "buyers", "eventType": "conversion", "kind": "conversion", "role": "primary"},
                {"name": "orders", "eventType": "conversion", "eventName": "purchase", "kind": "count"},
                {"name": "revenue", "eventType": "conversion", "kind": "value", "valueField": "amount"},
            ],
        }
        draft = await _manage(port, key, f"{API}/experiments", body)
        experiments.append(await _manage(port, key, f"{API}/experiments/{draft['id']}/start", None))
    return Project(made["projectId"], key, tuple(experiments))


async def _manage(port: int, token: str, path: str, body: object) -> dict[str, Any]:
    content = b"" if body is None else msgspec.json.encode(body)
    answer = await ask(port, "POST", path, content, authorization=f"Bearer {token}")
    assert answer.status in {200, 201}, answer
    return answer.json()


_numbers = itertools.count(1)
_began_ms = int(time.time() * 1000) - SPREAD_MS - 60_000


def messages(projects: Sequence[Project], chance: random.Random) -> Iterator[Message]:
    """Batches of browsers and orders of backends, each one new."""
    while True:
        project = chance.choice(projects)
        yield _order(project, chance) if chance.random() < 0.15 else _batch(project, chance)


def _batch(project: Project, chance: random.Random) -> Message:
    count = chance.choice((1, 1, 2, 5, 10, 40))
    events = [_event(project, chance) for _ in range(count)]
    body = msgspec.json.encode({"projectId": project.project_id, "events": events})
    marks = tuple(event["sessionId"] for event in events)
    return Message(request("POST", f"{API}/track", body), marks, count, is_keyed=False)


def _event(project: Project, chance: random.Random) -> dict[str, Any]:
    number = next(_numbers)
    # Past a million or so events milliseconds would come round again, with other visitors' names.
    visitor = f"visitor-{chance.randrange(VISITORS)}" if chance.random() < 0.8 else f"guest-{number}"
    event = {
        "eventType": "pageview",
        "pathname": "/",
        "fullUrl": "https://shop.example/",
        "sessionId": f"mark-{number}",
        "visitorId": visitor,
        "timestamp": _began_ms + number * _STRIDE % SPREAD_MS,
    }
    kind = chance.random()
    if kind < 0.4:
        event |= {"eventType": "experiment_impression", "eventData": _shown(project, visitor, chance)}
    elif kind < 0.6:
        event |= {"eventType": "conversion", "eventName": chance.choice(("purchase", "signup"))}
        event["eventData"] = {"amount": chance.choice((10, 0.1, 49.9, "12.34", -5))}
        if chance.random() < 0.2:
            event["eventData"] |= _shown(project, visitor, chance)
    return event


def _order(project: Project, chance: random.Random) -> Message:
    number = next(_numbers)
    mark = f"order-{number}"
    visitor = f"visitor-{chance.randrange(VISITORS)}"
    body: dict[str, Any] = {
        "eventType": "conversion",
        "eventName": "purchase",
        "idempotencyKey": mark,
        "visitor": {"id": visitor},
        "properties": {"mark": mark, "amount": chance.choice((9.9, 100, "3.5"))},
    }
    if chance.random() < 0.7:
        at = (_began_ms + number * _STRIDE % SPREAD_MS) / 1000
        body["timestamp"] = datetime.fromtimestamp(at, UTC).isoformat()
    if chance.random() < 0.5:
        shown = _shown(project, visitor, chance)
        body |= {"experimentId": shown["experimentId"], "variantId": shown["variantId"]}
    content = msgspec.json.encode(body)
    sent = request("POST", f"{API}/server-events", content, authorization=f"Bearer {project.secret_key}")
    return Message(sent, (mark,), 1, is_keyed=True)


def _shown(project: Project, visitor: str, chance: random.Random) -> dict[str, str]:
    """The variant that a visitor is shown, which is nearly always the same one."""
    experiment = chance.choice(project.experiments)
    place = sum(visitor.encode()) + (chance.random() < 0.02)
    variant = experiment["variants"][place % len(experiment["variants"])]
    return {"experimentId": experiment["id"], "variantId": variant["id"], "variantName": variant["name"]}
