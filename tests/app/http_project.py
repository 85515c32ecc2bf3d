"""A project as its owner sees it: over HTTP and nothing else."""

import asyncio
import itertools
import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from app.main import create_app
from app.settings import Settings

API = "/api/analytics"
ADMIN_TOKEN = "admin-token-for-tests"
ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
CATCH_UP_SECONDS_MAX = 60.0

Json = dict[str, Any]

_milliseconds = itertools.count()


@asynccontextmanager
async def open_client(
    database_url: str, settings: Settings | None = None, *, with_worker: bool = True
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a whole application, on the same event loop so that requests really run side by side."""
    app = create_app(settings or Settings(), database_url, ADMIN_TOKEN, with_worker=with_worker)
    async with (
        app.lifespan(),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://prooflog.test") as client,
    ):
        yield client


def another_browser(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Another client of the same application, with cookies of its own."""
    return httpx.AsyncClient(transport=client._transport, base_url=client.base_url)  # noqa: SLF001


async def log_in(client: httpx.AsyncClient, **form: str) -> httpx.AsyncClient:
    """A browser of somebody who is logged in: the admin, or who `token` or `name` and `password` say."""
    browser = another_browser(client)
    answer = await browser.post("/dashboard/login", data=form or {"token": ADMIN_TOKEN})
    assert answer.status_code == 303, answer.text
    return browser


async def csrf(browser: httpx.AsyncClient) -> str:
    """What the forms of this login carry."""
    found = re.search(r'name="csrf" value="([^"]+)"', (await browser.get("/dashboard/account")).text)
    assert found is not None
    return found[1]


async def open_project(client: httpx.AsyncClient, name: str = "Shop", **fields: Any) -> "HttpProject":
    """A new project."""
    answer = await client.post(f"{API}/projects", json={"name": name, **fields}, headers=ADMIN)
    assert answer.status_code == 201, answer.text
    return HttpProject(client, answer.json()["projectId"], answer.json()["secretKey"])


def event(**fields: Any) -> Json:
    """A page view that is valid and, by its own millisecond, new; `fields` replace or add."""
    return {
        "eventType": "pageview",
        "pathname": "/",
        "fullUrl": "https://shop.example/",
        "sessionId": "session-1",
        "visitorId": "visitor-1",
        "timestamp": int(time.time() * 1000) - 60_000 + next(_milliseconds),
        **fields,
    }


def impression(experiment: Json, variant: int, visitor: str, **fields: Any) -> Json:
    """A visitor sees a variant of an experiment, by its place in the list."""
    shown = experiment["variants"][variant]
    data = {"experimentId": experiment["id"], "variantId": shown["id"], "variantName": shown["name"]}
    return event(eventType="experiment_impression", eventData=data, visitorId=visitor, **fields)


def conversion(visitor: str, name: str = "purchase", **fields: Any) -> Json:
    """A visitor converts; nobody says for which experiment."""
    return event(eventType="conversion", eventName=name, visitorId=visitor, **fields)


def experiment_body(**fields: Any) -> Json:
    """A body that creates an experiment of two equal variants; `fields` replace or add."""
    return {
        "name": "Headline",
        "type": "copy",
        "targetUrl": "/",
        "urlMatchType": "exact",
        "trafficPercentage": 100,
        "variants": [
            {"name": "Control", "isControl": True, "weight": 50, "changes": []},
            {
                "name": "Bold",
                "isControl": False,
                "weight": 50,
                "changes": [{"selector": "h1", "changeType": "text", "value": "Buy now"}],
            },
        ],
        **fields,
    }


class HttpProject:
    """A project with its keys, and what its browsers, backend and people ask for."""

    def __init__(self, client: httpx.AsyncClient, project_id: str, secret_key: str) -> None:
        self.client = client
        self.project_id = project_id
        self.secret_key = secret_key

    @property
    def auth(self) -> dict[str, str]:
        """The header that proves the secret key."""
        return {"Authorization": f"Bearer {self.secret_key}"}

    async def call(self, method: str, path: str, **request: Any) -> httpx.Response:
        """A request with the secret key to a path below /api/analytics."""
        headers = {**self.auth, **request.pop("headers", {})}
        return await self.client.request(method, f"{API}{path}", headers=headers, **request)

    async def track(self, *events: Any, **request: Any) -> httpx.Response:
        """Send events as a browser does."""
        body = {"projectId": self.project_id, "events": list(events)}
        return await self.client.post(f"{API}/track", content=json.dumps(body), **request)

    async def track_raw(self, events: bytes, **request: Any) -> httpx.Response:
        """Send a list of events that is JSON text already, or pretends to be."""
        return await self.client.post(f"{API}/track", content=self.track_body(events), **request)

    def track_body(self, events: bytes) -> bytes:
        """A track body around a list of events that is JSON text already."""
        return b'{"projectId":"%s","events":%s}' % (self.project_id.encode(), events)

    async def accepted(self, *events: Json) -> None:
        """Send events, all of which must be accepted as new."""
        answer = await self.track(*events)
        assert answer.json() == {"accepted": len(events), "duplicates": 0, "rejected": []}

    async def server_event(self, body: Any = None, **fields: Any) -> httpx.Response:
        """Send one server event; `body` may be JSON text already."""
        headers = self.auth
        if isinstance(body, bytes | str):
            return await self.client.post(f"{API}/server-events", content=body, headers=headers)
        sent = {"eventType": "conversion", "eventName": "purchase", **(body or {}), **fields}
        return await self.client.post(f"{API}/server-events", json=sent, headers=headers)

    async def create(self, **fields: Any) -> Json:
        """A new draft."""
        answer = await self.call("POST", "/experiments", json=experiment_body(**fields))
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def step(self, experiment: Json, name: str) -> Json:
        """Start, pause, resume or stop an experiment."""
        answer = await self.call("POST", f"/experiments/{experiment['id']}/{name}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def running(self, **fields: Any) -> Json:
        """A new experiment that runs."""
        return await self.step(await self.create(**fields), "start")

    async def active(self, **request: Any) -> httpx.Response:
        """What the browser script asks for."""
        parameters = {"projectId": self.project_id}
        return await self.client.get(f"{API}/experiments/active", params=parameters, **request)

    async def ask_results(self, experiment: Json, **query: Any) -> httpx.Response:
        """Results as they are, however far projections have come."""
        return await self.call("GET", f"/experiments/{experiment['id']}/results", params=query)

    async def results(self, experiment: Json, **query: Any) -> Json:
        """Results once everything in the log is counted."""
        deadline = time.monotonic() + CATCH_UP_SECONDS_MAX
        while True:
            answer = await self.ask_results(experiment, **query)
            assert answer.status_code in {200, 503}, answer.text  # 503: not counted yet
            if answer.status_code == 200 and answer.json()["lag"]["events"] == 0:
                return answer.json()
            assert time.monotonic() < deadline, f"projections stand still: {answer.text}"
            await asyncio.sleep(0.02)


def reasons(results: Json) -> dict[str, int]:
    """How many events count for no variant, by reason."""
    return {entry["reason"]: entry["events"] for entry in results["unattributed"]}


def by_name(results: Json, goal: int = 0) -> dict[str, Mapping[str, Any]]:
    """What the variants of an experiment achieved for one goal, by their names."""
    names = {variant["variantId"]: variant["name"] for variant in results["variants"]}
    return {names[variant["variantId"]]: variant for variant in results["goals"][goal]["variants"]}
