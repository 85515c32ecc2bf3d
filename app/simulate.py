"""Simulated visitors with a known true lift, sent over HTTP as browsers and backends would."""

import asyncio
import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import httpx

from domain.assignment import assign

# How visitors come and whence, and how many of a hundred: for breakdowns, without effect on what they do.
_BROWSERS = {
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    " Version/18.5 Mobile/15E148 Safari/604.1": 34,
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/150.0.0.0 Mobile Safari/537.36": 24,
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/150.0.0.0 Safari/537.36": 31,
    "Mozilla/5.0 (X11; Linux x86_64; rv:148.0) Gecko/20100101 Firefox/148.0": 6,
    "Mozilla/5.0 (iPad; CPU OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    " Version/18.5 Safari/604.1": 5,
}
_SOURCES: tuple[tuple[dict[str, Any], int], ...] = (
    ({}, 38),
    ({"referrer": "https://search.example/"}, 34),
    ({"referrer": "https://news.example/kitchens"}, 10),
    ({"utm": {"source": "newsletter", "medium": "email", "campaign": "spring"}}, 18),
)

BATCH_VISITORS = 100
CONCURRENT_REQUESTS_MAX = 8
TRIES_MAX = 20


class Simulation(NamedTuple):
    """What to simulate; `lift` is the true relative lift of every variant but the control."""

    url: str
    project_id: str
    secret_key: str | None
    experiment_id: str | None
    visitors: int
    baseline: float
    lift: float
    days: float
    seed: int


class Sent(NamedTuple):
    """What was sent, by name of variant."""

    visitors: dict[str, int]
    converters: dict[str, int]
    revenue: dict[str, float]


class SimulationError(Exception):
    """The server could not take the simulated visitors."""


async def simulate(simulation: Simulation, on_progress: Callable[[int], None] = lambda _done: None) -> Sent:
    """Send the visitors; raises SimulationError with the server's own words when it refuses."""
    chance = random.Random(simulation.seed)  # noqa: S311  (a simulation wants to be repeatable)
    # Apart, so that what a seed makes visitors do does not change with how they come.
    ways = random.Random(simulation.seed)  # noqa: S311
    limits = httpx.Limits(max_connections=CONCURRENT_REQUESTS_MAX)
    async with httpx.AsyncClient(base_url=simulation.url, timeout=30, limits=limits) as client:
        experiment = await _experiment(client, simulation)
        sent = Sent({}, {}, {})
        for first in range(0, simulation.visitors, BATCH_VISITORS):
            count = min(BATCH_VISITORS, simulation.visitors - first)
            visits = [_visit(chance, ways, experiment, simulation) for _ in range(count)]
            await _send(client, simulation, experiment, visits)
            for visit in visits:
                _count(sent, visit)
            on_progress(first + count)
    return sent


class _Visit(NamedTuple):
    visitor_id: str
    started_at: datetime
    variant: dict[str, Any] | None
    clicked: bool
    bought: float | None
    session_id: str
    browser: str
    source: dict[str, Any]


def _visit(
    chance: random.Random, ways: random.Random, experiment: dict[str, Any], simulation: Simulation
) -> _Visit:
    visitor_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
    weights = [variant["weight"] for variant in experiment["variants"]]
    arm = assign(
        experiment_id=experiment["id"],
        visitor_id=visitor_id,
        weights=weights,
        traffic_percentage=experiment["trafficPercentage"],
    )
    variant = experiment["variants"][arm] if arm is not None else None
    treated = variant is not None and not variant["isControl"]
    rate = simulation.baseline * (1 + simulation.lift if treated else 1)
    ago = timedelta(days=simulation.days * chance.random(), seconds=120)
    return _Visit(
        visitor_id=visitor_id,
        started_at=datetime.now(UTC) - ago,
        variant=variant,
        clicked=chance.random() < min(1.0, 2 * rate),
        bought=round(chance.lognormvariate(3, 0.6), 2) if chance.random() < rate else None,
        session_id=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        browser=ways.choices(list(_BROWSERS), list(_BROWSERS.values()))[0],
        source=ways.choices([source for source, _ in _SOURCES], [share for _, share in _SOURCES])[0],
    )


async def _send(
    client: httpx.AsyncClient, simulation: Simulation, experiment: dict[str, Any], visits: list[_Visit]
) -> None:
    requests = []
    for browser in _BROWSERS:
        mine = [visit for visit in visits if visit.browser == browser]
        events = [event for visit in mine for event in _browser_events(simulation.url, experiment, visit)]
        requests += [
            _post(
                client,
                "/api/analytics/track",
                {"projectId": simulation.project_id, "events": events[i : i + 500]},
                {"User-Agent": browser},
            )
            for i in range(0, len(events), 500)
        ]
    if simulation.secret_key:
        headers = {"Authorization": f"Bearer {simulation.secret_key}"}
        requests += [
            _post(client, "/api/analytics/server-events", _order(experiment, visit), headers)
            for visit in visits
            if visit.bought is not None
        ]
    async with asyncio.TaskGroup() as group:
        for request in requests:
            group.create_task(request)


def _browser_events(url: str, experiment: dict[str, Any], visit: _Visit) -> list[dict[str, Any]]:
    begin_ms = int(visit.started_at.timestamp() * 1000)
    path = experiment["targetUrl"] if experiment["targetUrl"].startswith("/") else "/"

    def event(event_type: str, after_ms: int, **more: Any) -> dict[str, Any]:
        return {
            "eventType": event_type,
            "pathname": path,
            "fullUrl": f"{url}{path}",
            "sessionId": visit.session_id,
            "visitorId": visit.visitor_id,
            "timestamp": begin_ms + after_ms,
            **visit.source,
            **more,
        }

    events = [event("pageview", 0), event("scroll", 4_000, eventData={"depth": 25})]
    if visit.variant is not None:
        seen = {
            "experimentId": experiment["id"],
            "variantId": visit.variant["id"],
            "variantName": visit.variant["name"],
        }
        events.append(event("experiment_impression", 1, eventData=seen))
    if visit.clicked:
        events.append(event("cta_click", 9_000))
    if visit.bought is not None:
        events.append(event("conversion", 30_000, eventName="purchase"))
    events.append(event("engagement", 40_000, eventData={"engagementSeconds": 40}))
    return events


def _order(experiment: dict[str, Any], visit: _Visit) -> dict[str, Any]:
    order: dict[str, Any] = {
        "eventType": "conversion",
        "eventName": "order_paid",
        "timestamp": (visit.started_at + timedelta(seconds=35)).isoformat(),
        "idempotencyKey": f"order-{visit.session_id}",
        "visitor": {"id": visit.visitor_id},
        "properties": {"amount": visit.bought, "currency": "EUR"},
    }
    if visit.variant is not None:
        order |= {"experimentId": experiment["id"], "variantId": visit.variant["id"]}
    return order


def _count(sent: Sent, visit: _Visit) -> None:
    name = visit.variant["name"] if visit.variant else "(not in the experiment)"
    sent.visitors[name] = sent.visitors.get(name, 0) + 1
    sent.converters[name] = sent.converters.get(name, 0) + (visit.bought is not None)
    sent.revenue[name] = sent.revenue.get(name, 0.0) + (visit.bought or 0.0)


async def _experiment(client: httpx.AsyncClient, simulation: Simulation) -> dict[str, Any]:
    try:
        answer = await client.get("/api/analytics/experiments/active", params={"projectId": simulation.project_id})
    except httpx.TransportError as error:
        raise SimulationError(f"no server answers at {simulation.url}: {error}") from None
    if answer.status_code != httpx.codes.OK:
        raise SimulationError(f"{simulation.url} answered {answer.status_code}: {_detail(answer)}")
    running: list[dict[str, Any]] = answer.json()["experiments"]
    for experiment in running:
        if simulation.experiment_id in {None, experiment["id"]}:
            return experiment
    raise SimulationError("the project runs no such experiment")


async def _post(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], headers: dict[str, str] | None = None
) -> None:
    """Send until it is acknowledged; a repeat is harmless, the server counts it once."""
    for attempt in range(TRIES_MAX):
        try:
            answer = await client.post(path, json=body, headers=headers)
        except httpx.TransportError as error:
            if attempt == TRIES_MAX - 1:
                raise SimulationError(f"the server at {client.base_url} went away: {error}") from None
            await asyncio.sleep(min(2.0, 0.1 * 2**attempt))
            continue
        if answer.is_success:
            return
        if answer.status_code not in {429, 503}:
            raise SimulationError(f"{path} answered {answer.status_code}: {_detail(answer)}")
        await asyncio.sleep(float(answer.headers.get("Retry-After", "1")))
    raise SimulationError(f"{path} stayed overloaded")


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("detail", answer.text))
    except ValueError:
        return answer.text[:200]
