"""How long each page of the dashboard takes over HTTP, and what it weighs.

    python -m bench.pages [--log EVENTS]

The demo with its simulated visitors, and beside it an experiment of as many goals and variants as there may be.
With --log also first looks at past moments of a log of that many events.
"""

import argparse
import asyncio
import gzip
import http.client
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from random import Random
from statistics import quantiles
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec
import psycopg

from app.database import connect, prepare_database
from app.demo import BASELINE, TRUE_LIFT, VISITORS, ensure_demo
from app.experiments import create_experiment, execute
from app.projects import create_project
from app.simulate import Simulation, simulate
from bench.project_log import experiment_id, start_experiments, write_log
from bench.projecting import show_experiments
from bench.server import database, started_server
from domain.experiment import Experiment, Goal, NewExperiment, NewVariant, StartExperiment
from projections.event_log import read_head
from projections.generations import catch_up_live

GOALS, VARIANTS, LARGE_VISITORS = 50, 20, 2_000
LOOKS, WARM_UP = 100, 10
LOG_EXPERIMENTS_LOOKED_AT = 3


class Page(NamedTuple):
    """A page and the addresses that are asked for in turn; of a first look each is another."""

    name: str
    addresses: list[str]


async def fill(url: str, server_url: str, directory: Path, log_events: int) -> list[Page]:
    """Demo, large experiment and large log; the pages to ask for."""
    async with await connect(url) as connection:
        demo, _ = await ensure_demo(connection, directory)
        large = await _large_experiment(connection, demo.project_id)
        project, key = str(demo.project_id), demo.secret_key
        shop = Simulation(
            server_url, project, key, str(demo.experiment_id), VISITORS, BASELINE, TRUE_LIFT, days=7, seed=1
        )
        await simulate(shop)
        _send(server_url, project, _events_of(large))
        await catch_up_live(connection, demo.project_id)
        head = (await read_head(connection, demo.project_id)).next_position - 1
        logged = await _log(connection, log_events) if log_events else 0
    return list(_pages(project, str(demo.experiment_id), str(large.id), head, logged))


def _pages(project: str, demo: str, large: str, head: int, logged: int) -> Iterator[Page]:
    experiments, one = "/dashboard/experiments", f"/dashboard/projects/{project}"
    for name, address in (
        ("projects", "/dashboard"),
        ("experiments of a project", one),
        ("results", f"{experiments}/{demo}"),
        ("results by segment", f"{experiments}/{demo}?by=device"),
        ("why", f"{experiments}/{demo}/why"),
        ("why, a visitor", f"{experiments}/{large}/why?q=visitor+5"),
        ("form, new", f"{one}/experiments/new"),
        ("form, edit", f"{experiments}/{demo}/edit"),
        ("settings", f"{one}/settings"),
        ("power", f"{one}/power"),
        ("account", "/dashboard/account"),
        (f"results, {GOALS} goals x {VARIANTS} variants", f"{experiments}/{large}"),
        ("  by segment", f"{experiments}/{large}?by=device"),
        ("  form, edit", f"{experiments}/{large}/edit"),
    ):
        yield Page(name, [address])
    for name, experiment, until in (("results", demo, head), (f"results, {GOALS} x {VARIANTS}", large, head)):
        yield Page(f"{name}, first look at a past moment", _moments(experiment, until))
        yield Page("  by segment", [f"{address}&by=device" for address in _moments(experiment, until)])
        yield Page(f"{name}, second look", [f"{experiments}/{experiment}?asOf={until // 2}"])
    if logged:
        yield Page(
            f"results, first look, log of {logged:,}",
            [
                address
                for number in range(LOG_EXPERIMENTS_LOOKED_AT)
                for address in _moments(str(experiment_id(number)), logged)
            ],
        )


def _moments(experiment: str, head: int) -> list[str]:
    """Positions in the order in which nobody moves a slider."""
    positions = [head * (at + 1) // (LOOKS + WARM_UP + 1) for at in range(LOOKS + WARM_UP)]
    Random(1).shuffle(positions)
    return [f"/dashboard/experiments/{experiment}?{urlencode({'asOf': position})}" for position in positions]


async def _large_experiment(connection: psycopg.AsyncConnection[Any], project_id: uuid.UUID) -> Experiment:
    goals = tuple(
        Goal(
            name=f"goal number {at}",
            event_type="conversion",
            event_name=f"goal-{at}",
            kind=("conversion", "count", "value")[at % 3],
            value_field="amount" if at % 3 == 2 else None,  # noqa: PLR2004
            role="primary" if at < 2 else "guardrail" if at < 5 else "secondary",  # noqa: PLR2004
        )
        for at in range(GOALS)
    )
    variants = tuple(
        NewVariant(name=f"Variant {at}", is_control=at == 0, weight=1, changes=()) for at in range(VARIANTS)
    )
    new = NewExperiment(
        name="As large as can be",
        type="copy",
        target_url="/",
        url_match_type="all",
        goals=goals,
        variants=variants,
    )
    made = await create_experiment(connection, project_id, new, actor="bench")
    await execute(connection, project_id, made.id, lambda now: StartExperiment(at=now, actor="bench"))
    return made


def _events_of(large: Experiment) -> list[dict[str, Any]]:
    """A visitor sees a variant, and reaches a few goals."""
    chance, events = Random(2), []
    now_ms = int(time.time() * 1000) - 10_000_000
    for number in range(LARGE_VISITORS):
        variant = large.variants[number % VARIANTS]
        seen = {"experimentId": str(large.id), "variantId": str(variant.id), "variantName": variant.name}
        named = {
            "visitorId": f"visitor {number}",
            "sessionId": "bench",
            "pathname": "/",
            "fullUrl": "https://a.example/",
        }
        at_ms = now_ms + number * 1_000
        events.append({**named, "eventType": "experiment_impression", "timestamp": at_ms, "eventData": seen})
        events += [
            {
                **named,
                "eventType": "conversion",
                "eventName": f"goal-{goal}",
                "timestamp": at_ms + goal + 1,
                "eventData": {"amount": chance.randint(1, 90)},
            }
            for goal in range(GOALS)
            if chance.random() < 0.2  # noqa: PLR2004
        ]
    return events


def _send(server_url: str, project: str, events: list[dict[str, Any]]) -> None:
    client = http.client.HTTPConnection(server_url.removeprefix("http://"))
    for first in range(0, len(events), 500):
        body = msgspec.json.encode({"projectId": project, "events": events[first : first + 500]})
        client.request("POST", "/api/analytics/track", body)
        answer = client.getresponse()
        told = answer.read()
        if answer.status != http.HTTPStatus.ACCEPTED:
            raise RuntimeError(f"events were answered {answer.status}: {told[:200]!r}")
    client.close()


async def _log(connection: psycopg.AsyncConnection[Any], events: int) -> int:
    async with connection.transaction():
        project_id, _ = await create_project(connection, "A large log", (), actor="bench")
    await start_experiments(connection, project_id)
    await write_log(connection, project_id, events)
    await catch_up_live(connection, project_id)
    await show_experiments(connection, project_id)
    return (await read_head(connection, project_id)).next_position - 1


def measure(server_url: str, pages: list[Page]) -> None:
    """Ask for every page and print what it took and weighs."""
    client = http.client.HTTPConnection(server_url.removeprefix("http://"))
    client.request(
        "POST",
        "/dashboard/login",
        urlencode({"token": "bench"}),
        {"content-type": "application/x-www-form-urlencoded"},
    )
    answer = client.getresponse()
    answer.read()
    cookie = (answer.getheader("set-cookie") or "").partition(";")[0]
    print(f"{'page':46} {'p50 ms':>8} {'p99 ms':>8} {'KB':>8} {'gzip KB':>8}")
    for page in pages:
        addresses = page.addresses if len(page.addresses) > 1 else page.addresses * (LOOKS + WARM_UP)
        took, bodies = zip(*(_ask(client, address, cookie) for address in addresses), strict=True)
        marks = quantiles(took[WARM_UP:], n=100)
        heaviest = max(bodies, key=len)
        print(
            f"{page.name:46} {marks[49]:8.1f} {marks[98]:8.1f} {len(heaviest) / 1000:8.1f}"
            f" {len(gzip.compress(heaviest, 5)) / 1000:8.1f}",
            flush=True,
        )
    client.close()


def _ask(client: http.client.HTTPConnection, address: str, cookie: str) -> tuple[float, bytes]:
    began = time.perf_counter()
    client.request("GET", address, headers={"Cookie": cookie})
    answer = client.getresponse()
    body = answer.read()
    took = time.perf_counter() - began
    if answer.status != http.HTTPStatus.OK:
        raise RuntimeError(f"{address} answered {answer.status}: {body[:300]!r}")
    return took * 1000, body


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=int, default=0, help="events of a large log; 0: none")
    parser.add_argument("--url", help="a database of its own; default: an embedded one in a temporary folder")
    chosen = parser.parse_args()
    with database(chosen.url) as (url, directory):
        asyncio.run(prepare_database(url))
        with started_server(url) as server:
            pages = asyncio.run(fill(url, server.url, directory, chosen.log))
            measure(server.url, pages)


if __name__ == "__main__":
    sys.exit(main())
