"""A stream of server-sent events for each open page of results: it says when there is something new to fetch."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

from litestar import get
from litestar.params import FromPath
from litestar.response import ServerSentEvent, ServerSentEventMessage

from app.http.auth import find_login
from app.http.dashboard.access import require_experiment
from app.http.dashboard.pages import SECURITY_HEADERS, AnyRequest, services_of
from app.live import Live
from app.templates.numbers import lag_words

# So long at most does a stream outlive its session; as often it shows proxies that it is alive.
CHECK_SECONDS = 5.0
RETRY_MILLISECONDS = 5_000
_POSITION_DIGITS_MAX = 18


@get("/experiments/{experiment_id:str}/live", include_in_schema=False)
async def live_results(request: AnyRequest, experiment_id: FromPath[str]) -> ServerSentEvent:
    """What `live_stream` sends, for as long as the session lasts and sees the project."""
    project_id, _ = await require_experiment(request, experiment_id, "viewer")

    async def may_go_on() -> bool:
        login = await find_login(request, services_of(request))
        return login is not None and login.sees(project_id)

    return await live_stream(
        request, project_id, may_go_on, over="These numbers stand still: log in again to see newer ones."
    )


async def live_stream(
    request: AnyRequest, project_id: UUID, may_go_on: Callable[[], Awaitable[bool]], *, over: str
) -> ServerSentEvent:
    """`moved` whenever a project was counted further than `after`, once a second at most; `lag` meanwhile.

    A browser that lost the stream says by Last-Event-ID how far it has come. The event `over` ends it for good,
    with these words for who reads the page.
    """
    events = _events(services_of(request).live, project_id, _after(request), may_go_on, over)
    # Too many streams are refused before this one begins.
    first = await anext(events)

    async def whole() -> AsyncIterator[ServerSentEventMessage]:
        yield first
        async for event in events:
            yield event

    return ServerSentEvent(whole(), headers={**SECURITY_HEADERS, "Cache-Control": "no-store"})


async def _events(
    live: Live, project_id: UUID, after: int, may_go_on: Callable[[], Awaitable[bool]], over: str
) -> AsyncIterator[ServerSentEventMessage]:
    async with live.watching(project_id):
        yield ServerSentEventMessage(comment="open", data=None, retry=RETRY_MILLISECONDS)
        checked = time.monotonic()
        while True:
            standing = await live.moved(project_id, after, CHECK_SECONDS)
            if time.monotonic() - checked >= CHECK_SECONDS:
                if not await may_go_on():
                    yield ServerSentEventMessage(event="over", data=over)
                    return
                checked = time.monotonic()
            if live.is_closed:
                return
            if standing is None:
                yield ServerSentEventMessage(comment="nothing is counted yet", data=None)
                continue
            moved, after = standing.position != after, standing.position
            yield ServerSentEventMessage(
                event="moved" if moved else "lag", id=str(after), data=lag_words(standing.head - standing.position)
            )


def _after(request: AnyRequest) -> int:
    given = str(request.headers.get("last-event-id") or request.query_params.get("after", ""))
    return int(given) if given.isascii() and given.isdigit() and len(given) <= _POSITION_DIGITS_MAX else -1
