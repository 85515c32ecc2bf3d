"""The bounds of what clients may hold of the server while it reads them: memory, time, places in line.

Whoever is slow, never ends or never reads costs a connection for a while, and nobody else anything.
"""

import asyncio
import functools
import resource
from typing import Any

import msgspec
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from app.problems import RETRY_AFTER_SECONDS

# All bodies that arrive or are worked on. An ordinary overload stays far below: the writer's queue is full first.
HELD_BYTES_MAX = 64 * 1024 * 1024
HEAD_BYTES_MAX = 64 * 1024
# For a request to arrive, and for an answer to be read.
ARRIVE_SECONDS_MAX = 30.0
LINGER_SECONDS = 2.0
# Requests that wait on one connection for the answer to an earlier one; browsers send none.
PIPELINED_MAX = 64
OPEN_FILES_WANTED = 65_536


class _Body:
    """What one request holds, from its head to the end of its answer."""

    __slots__ = ("arriving", "cycle", "held_bytes", "owner")

    def __init__(self, owner: "BoundedProtocol") -> None:
        self.owner = owner
        self.held_bytes = 0
        self.arriving = True
        self.cycle: RequestResponseCycle | None = None


class Intake:
    """Counts what all connections of this process hold."""

    def __init__(self) -> None:
        self.held_bytes = 0
        # In the order in which they began; a dict, to find the oldest and to drop any one at once.
        self._arriving: dict[_Body, None] = {}

    def begin(self, body: _Body) -> None:
        """A request's head is there."""
        self._arriving[body] = None

    def take(self, body: _Body, size: int) -> None:
        """Bytes of a body have come; when that is too much, the one that has been at it longest must go."""
        body.held_bytes += size
        self.held_bytes += size
        while self.held_bytes > HELD_BYTES_MAX and self._arriving:
            slowest = next(iter(self._arriving))
            self.release(slowest)
            slowest.owner.turn_away(503, "overloaded", "the server takes in as much as it can; try again")

    def arrived(self, body: _Body) -> None:
        """The last byte of a body has come."""
        body.arriving = False
        self._arriving.pop(body, None)

    def release(self, body: _Body) -> None:
        """A request is answered, or gone."""
        self.arrived(body)
        self.held_bytes -= body.held_bytes
        body.held_bytes = 0


class BoundedProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP on one connection, within bounds."""

    intake: Intake

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._application = self.app
        self._body: _Body | None = None
        # Requests without an end yet: at work, or in line behind one that is.
        self._unfinished: set[_Body] = set()
        self._done_with = False
        self._in_head = False
        self._head_bytes = 0
        # Since when the client owes us the rest of a request, and since when it has not read on in an answer.
        self._owes_since: float | None = self.loop.time()
        self._unread_since: float | None = None

    def data_received(self, data: bytes) -> None:
        """Parse what has come, unless it is a head without an end."""
        if self._done_with:
            return
        if self._owes_since is None:
            self._owes_since = self.loop.time()
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self.turn_away(431, "head_too_large", f"a request's head may hold {HEAD_BYTES_MAX} bytes at most")
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head, self._head_bytes = True, 0
        if self._owes_since is None:
            self._owes_since = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A request's head is complete."""
        self._in_head = False
        if self._done_with:
            return
        if len(self.pipeline) >= PIPELINED_MAX:
            self._give_up()
            self.transport.abort()
            return
        body = self._body = _Body(self)
        self._unfinished.add(body)
        self.intake.begin(body)
        self.app = functools.partial(self._run, body)
        super().on_headers_complete()
        body.cycle = self.cycle

    def on_body(self, body: bytes) -> None:
        """A part of a body has come."""
        if self._body is None or self._done_with:
            return
        super().on_body(body)
        if self._body in self._unfinished:  # an answer need not wait for the body, which is dropped then
            self.intake.take(self._body, len(body))

    def on_message_complete(self) -> None:
        """A request has come to its end."""
        if self._body is not None:
            self.intake.arrived(self._body)
        self._owes_since = None
        if not self._done_with:
            super().on_message_complete()

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        self._unread_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client has read on: however long it takes for a large answer, it owes nothing."""
        self._unread_since = None
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what never came to be worked on."""
        self._give_up()
        for body in self._unfinished:
            self.intake.release(body)
        self._unfinished.clear()
        super().connection_lost(exc)

    def turn_away(self, status: int, name: str, detail: str) -> None:
        """Answer instead of the application, if it has not begun to, and close."""
        if self._done_with:
            return
        answers = self._in_turn()
        self._give_up()
        if not answers or self.transport.is_closing():
            self.transport.abort()
            return
        self.transport.write(_problem(status, name, detail))
        # Closed at once with bytes unread, the connection would be reset and the answer lost: read on a moment.
        self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def check(self, now: float) -> None:
        """Close the connection when its client has owed something for too long."""
        if self._unread_since is not None and now - self._unread_since >= ARRIVE_SECONDS_MAX:
            self._give_up()
            self.transport.abort()
        elif self._owes_since is not None and now - self._owes_since >= ARRIVE_SECONDS_MAX:
            self.turn_away(408, "too_slow", f"a request must arrive within {ARRIVE_SECONDS_MAX:.0f} seconds")

    def _in_turn(self) -> bool:
        """Whether an answer written now would be taken for that of the request at hand, not of an earlier one."""
        if self.cycle is None:
            return True
        if self._in_head:
            return self.cycle.response_complete
        return not self.pipeline and not self.cycle.response_started

    async def _run(self, body: _Body, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        try:
            await self._application(scope, receive, send)
        finally:
            self._unfinished.discard(body)
            self.intake.release(body)

    def _give_up(self) -> None:
        """Let requests at work hear that nobody waits for their answer, nor sends the rest of their body."""
        self._done_with = True
        for body in self._unfinished:
            if body.cycle is not None:
                body.cycle.disconnected = True
                body.cycle.body = bytearray()  # the connection may linger, and nobody reads this any more
                body.cycle.message_event.set()


def bounded_protocol() -> type[BoundedProtocol]:
    """A protocol class for one server, whose connections share one count."""
    return type("BoundedProtocol", (BoundedProtocol,), {"intake": Intake()})


def allow_many_connections() -> None:
    """Raise the limit of open files as far as the system lets us: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES_WANTED if hard == resource.RLIM_INFINITY else min(OPEN_FILES_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _problem(status: int, name: str, detail: str) -> bytes:
    body = msgspec.json.encode(
        {
            "type": f"urn:prooflog:problem:{name}",
            "title": name.replace("_", " "),
            "status": status,
            "detail": detail,
        }
    )
    lines = [
        f"HTTP/1.1 {status} {_PHRASES[status]}",
        "content-type: application/problem+json",
        f"content-length: {len(body)}",
        "access-control-allow-origin: *",
        "access-control-expose-headers: retry-after",
        "connection: close",
    ]
    if status == 503:  # noqa: PLR2004
        lines.append(f"retry-after: {RETRY_AFTER_SECONDS}")
    return "\r\n".join([*lines, "", ""]).encode() + body


_PHRASES = {408: "Request Timeout", 431: "Request Header Fields Too Large", 503: "Service Unavailable"}
