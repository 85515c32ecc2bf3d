"""More requests than a server can take: many connections that care only for the status of an answer."""

import asyncio
import itertools
import re
import time
from collections import Counter
from uuid import UUID

from tests.faults.answers import request
from tests.faults.traffic import API

EVENTS = 50
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_EVENT = (
    b'{"eventType":"pageview","pathname":"/products/42","fullUrl":"https://shop.example/products/42?color=blue",'
    b'"referrer":"https://search.example/","sessionId":"%s","visitorId":"visitor-%d","timestamp":%d}'
)


class Flood:
    """Batches of a project, each with a mark of its own, and what became of each."""

    def __init__(self, port: int, project_id: str) -> None:
        self._port = port
        self._project_id = UUID(project_id)
        self._numbers = itertools.count(1)
        self._base_ms = int(time.time() * 1000) - 3_600_000
        self.sent: set[str] = set()
        self.acknowledged: set[str] = set()
        self.broken = 0

    async def offer(self, seconds: float, connections: int, rate: float | None) -> Counter[int]:
        """Send for a while, at a rate or as fast as answers come; how many answers of which status there were."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        statuses: Counter[int] = Counter()
        due = itertools.count(1)
        began = loop.time()

        async def client() -> None:
            connection: _Connection | None = None
            while loop.time() < until:
                if rate is not None and (wait := began + next(due) / rate - loop.time()) > 0:
                    await asyncio.sleep(min(wait, until - loop.time()))
                try:
                    if connection is None or connection.lost:
                        _, connection = await loop.create_connection(_Connection, "127.0.0.1", self._port)
                    mark, body = self._batch()
                    self.sent.add(mark)
                    status, head = await connection.ask(body)
                except OSError:
                    self.broken += 1
                    continue
                statuses[status] += 1
                if status == 202:
                    self.acknowledged.add(mark)
                elif status in {429, 503}:
                    assert b"retry-after:" in head.lower(), head
                else:
                    raise AssertionError(head)
            if connection is not None and connection.transport is not None:
                connection.transport.abort()

        await asyncio.gather(*(client() for _ in range(connections)))
        return statuses

    def _batch(self) -> tuple[str, bytes]:
        number = next(self._numbers)
        mark = f"flood-{number}"
        at = self._base_ms + number * EVENTS % 3_000_000
        events = b",".join(
            [_EVENT % (mark.encode(), number * EVENTS + place, at + place) for place in range(EVENTS)]
        )
        body = b'{"projectId":"%s","events":[%s]}' % (str(self._project_id).encode(), events)
        return mark, request("POST", f"{API}/track", body)


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.lost = False
        self._received = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    async def ask(self, body: bytes) -> tuple[int, bytes]:
        assert self.transport is not None
        self._received = b""
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(body)
        return await self._answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end or self._answer is None or self._answer.done():
            return
        length = _LENGTH.search(head)
        if len(rest) >= (int(length[1]) if length else 0):
            self._answer.set_result((int(head[9:12]), head))

    def connection_lost(self, _error: Exception | None) -> None:
        self.lost = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError())
