"""What browsers call: the script, the batch of events, the active experiments."""

import asyncio
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

import msgspec
from litestar import Request, Response, Router, post, route
from litestar.di import NamedDependency
from litestar.enums import HttpMethod, ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from app.compression import chosen_coding, compressed
from app.decoding import Rejected, decode_track, decode_with_care
from app.json_body import BODY_BYTES_MAX, inflate
from app.problems import Problem
from app.projects import Project, parse_project_id
from app.script import render_preview, render_script
from app.services import Services
from app.visitor_agent import context_of

CACHE_CONTROL = "public, max-age=60, stale-while-revalidate=30"
PREFIX = "/api/analytics"
READ = [HttpMethod.GET, HttpMethod.HEAD]
_ANY_ORIGIN = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"retry-after, experiments-version"),
)
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "content-type, content-encoding",
    "Access-Control-Max-Age": "86400",
}

AnyRequest = Request[Any, Any, Any]


class Accepted(msgspec.Struct):
    """What became of a batch."""

    accepted: int
    duplicates: int
    rejected: list[Rejected]


@post("/track", status_code=202, summary="Submit batched client events", tags=["browser"])
async def track(request: AnyRequest, services: NamedDependency[Services]) -> Response[bytes]:
    """Append a batch of browser events; answered once they are durable.

    The body is `{"projectId", "events": [...]}` of at most 1 MiB and 1,000 events, whatever its
    content type says, gzip allowed. One bad event never costs its neighbours.
    """
    services.shed_load()
    context = _context(services, dict(request.scope["headers"]))
    with services.inflated.inflate(await request.body(), request.headers.get("content-encoding")) as body:
        answer, version = await _append(services, body, request.headers.get("origin"), context)
    return Response(answer, status_code=202, media_type="application/json", headers=_versioned(version))


async def _append(
    services: Services, body: bytes, origin: str | None, context: bytes | None
) -> tuple[bytes, str | None]:
    """Answer a batch once it is durable, and name what runs: an open page hears of a stopped experiment by it."""
    services.shed_load()
    now = datetime.now(UTC)
    batch = decode_track(body, now, services.horizon, context)
    if batch is None:  # in a thread, so that nobody else waits for it
        batch = await asyncio.to_thread(decode_with_care, body, now, services.horizon, context)
    project = await services.projects.get(services.pool, batch.project_id)
    if not project.allows(origin):
        raise Problem(403, "origin_not_allowed", "this project takes no events from pages of this origin")
    outcomes = await services.writer.write(batch.project_id, batch.events) if batch.events else []
    refused = [
        Rejected(index, outcome.refused)
        for index, outcome in zip(batch.indices, outcomes, strict=True)
        if outcome.refused
    ]
    duplicates = sum([outcome.duplicate for outcome in outcomes])
    rejected = sorted(batch.rejected + refused, key=lambda rejected: rejected.index)
    if duplicates or rejected:
        services.told.add(batch.project_id, duplicates, [each.reason for each in rejected])
    answer = Accepted(accepted=len(outcomes) - duplicates - len(refused), duplicates=duplicates, rejected=rejected)
    running = services.active.known(batch.project_id)
    if running is not None:
        return msgspec.json.encode(answer), running.version
    return msgspec.json.encode(answer), await services.active.version(services.pool, batch.project_id)


@route("/script.js", http_method=READ, summary="The tracking script of a project", tags=["browser"])
async def script(request: AnyRequest, services: NamedDependency[Services]) -> Response[bytes]:
    """The browser script with the running experiments inlined, so that one request decides before paint.

    With `preview=1`, what the script loads instead where a form of the dashboard looks at a page.
    """
    project = await _project(request, services)
    base_url = services.settings.public_url or str(request.base_url).rstrip("/")
    if request.query_params.get("preview") == "1":
        body = render_preview(base_url)
    else:
        running = await services.active.get(services.pool, project.project_id)
        body = render_script(
            project_id=str(project.project_id),
            base_url=base_url,
            experiments=running.experiments,
            count_bots=services.settings.count_bots,
        )
    coding = chosen_coding(request.headers.get("accept-encoding", ""))
    headers = {"Cross-Origin-Resource-Policy": "cross-origin", "Vary": "Host, Accept-Encoding"}
    if coding is not None:
        body, headers["Content-Encoding"] = compressed(body, coding), coding
    return _cacheable(request, body, "text/javascript", headers)


@route("/experiments/active", http_method=READ, summary="The running experiments of a project", tags=["browser"])
async def active_experiments(request: AnyRequest, services: NamedDependency[Services]) -> Response[bytes]:
    """Every running experiment in the documented shape."""
    project = await _project(request, services)
    running = await services.active.get(services.pool, project.project_id)
    body = msgspec.json.encode({"experiments": running.experiments})
    return _cacheable(request, body, "application/json", _versioned(running.version))


@route(
    ["/track", "/experiments/active", "/script.js"],
    http_method=[HttpMethod.OPTIONS],
    status_code=204,
    include_in_schema=False,
)
async def preflight() -> Response[None]:
    """Any page may ask; whether a project takes its events is decided by its list of origins."""
    return Response(None, status_code=204, headers=_PREFLIGHT)


def allow_any_origin(app: ASGIApp) -> ASGIApp:
    """Let pages of any origin read these answers, refusals too: a script must tell 400 from a lost network."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_origin(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_ANY_ORIGIN]
            await send(message)

        public = scope["path"] in _PUBLIC_PATHS
        await app(scope, receive, send_with_origin if public else send)

    return middleware


def take_plain_batches(app: ASGIApp) -> ASGIApp:
    """Answer an ordinary batch before routes, requests and responses, which cost more than a few events.

    Ordinary is a POST to /track that names its length, within the limit, and no encoding: all that a
    browser sends. The rest goes the long way to `track`, and so do refusals, to the error map.
    """

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or scope["path"] != _TRACK_PATH or scope["method"] != HttpMethod.POST:
            await app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        if b"content-encoding" in headers or not length.isdigit() or int(length) > BODY_BYTES_MAX:
            await app(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:  # the client went away
            return
        origin = headers[b"origin"].decode("latin-1") if b"origin" in headers else None
        try:
            services: Services = scope["litestar_app"].state.services
            answer, version = await _append(services, inflate(body, None), origin, _context(services, headers))
        except Exception as error:  # noqa: BLE001  (raised again where the error map hears of it)
            await app(scope, _raising(error), send)
            return
        start = [*_JSON, (b"content-length", str(len(answer)).encode())]
        if version is not None:
            start.append((b"experiments-version", version.encode()))
        await send({"type": "http.response.start", "status": 202, "headers": start})
        await send({"type": "http.response.body", "body": answer, "more_body": False})

    return middleware


def _context(services: Services, headers: Mapping[bytes, bytes]) -> bytes | None:
    """What the request says of its browser; its country only from the header that the settings name."""
    country = headers.get(services.country_header) if services.country_header else None
    return context_of(headers.get(b"user-agent"), country)


def _raising(error: Exception) -> Receive:
    """A body that cannot be read, for this reason.

    The reason's trace holds the request and the request this: forgotten at once, or bodies would stay in memory
    until cycles are looked for, which is rare.
    """
    reasons = [error]

    async def receive() -> NoReturn:
        raise reasons.pop()

    return receive


async def _read(receive: Receive) -> bytes | None:
    """A body whose length is known to be within the limit."""
    parts = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message["body"])
        if not message["more_body"]:
            return b"".join(parts)


_TRACK_PATH = f"{PREFIX}/track"
_JSON = ((b"content-type", b"application/json"), *_ANY_ORIGIN)
_PUBLIC_PATHS = {f"{PREFIX}{path}" for path in ("/track", "/experiments/active", "/script.js")}


async def _project(request: AnyRequest, services: Services) -> Project:
    project_id = parse_project_id(request.query_params.get("projectId"))
    return await services.projects.get(services.pool, project_id)


def _versioned(version: str | None) -> dict[str, str]:
    return {} if version is None else {"Experiments-Version": version}


def _cacheable(request: AnyRequest, body: bytes, media_type: str, headers: Mapping[str, str]) -> Response[bytes]:
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    all_headers = {
        "ETag": etag,
        "Cache-Control": CACHE_CONTROL,
        "X-Content-Type-Options": "nosniff",
        **headers,
    }
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if etag in known or "*" in known:
        return Response(b"", status_code=304, media_type=media_type, headers=all_headers)
    return Response(body, status_code=200, media_type=media_type, headers=all_headers)


browser_router = Router(PREFIX, route_handlers=[track, script, active_experiments, preflight])
