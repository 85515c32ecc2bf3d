"""What stands between the processes under test and their database: passes bytes, or does not."""

import asyncio
import re
from collections import Counter
from pathlib import Path

LISTENING = 512
# As it stands in the first message of a connection.
_APPLICATION = re.compile(rb"application_name\0([^\0]+)\0")


class Proxy:
    """A loopback port in front of PostgreSQL's socket; cuts, stalls, and loses answers when told so."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._server: asyncio.Server | None = None
        self._pairs: set[_Client] = set()
        self._refusing = False
        self.commits_lost = 0
        # How many to lose, by the name that a process gives its connections.
        self.answers_to_lose: Counter[str] = Counter()
        self.commits_to_lose: Counter[str] = Counter()
        self.passing = asyncio.Event()
        self.passing.set()

    @property
    def url(self) -> str:
        """The database's address, by way of this proxy."""
        assert self._server is not None
        return f"postgresql://postgres@127.0.0.1:{self._server.sockets[0].getsockname()[1]}/postgres"

    async def open(self) -> None:
        """Listen on a free port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Client(self), "127.0.0.1", 0, backlog=LISTENING)

    async def close(self) -> None:
        """End, with every connection."""
        if self._server is not None:
            self._server.close()
        self.cut()
        if self._server is not None:
            await self._server.wait_closed()

    def cut(self) -> int:
        """Reset every connection; how many there were."""
        pairs = list(self._pairs)
        for pair in pairs:
            pair.cut()
        return len(pairs)

    def stall(self) -> None:
        """Pass nothing on, in neither direction, while connections stay open."""
        self.passing.clear()

    def refuse(self) -> None:
        """Cut all connections and refuse new ones, until healed."""
        self._refusing = True
        self.cut()

    def heal(self) -> None:
        """Pass everything on again; what stood still arrives now."""
        self._refusing = False
        self.answers_to_lose.clear()
        self.commits_to_lose.clear()
        self.passing.set()
        for pair in list(self._pairs):
            pair.flush()

    def admits(self, pair: "_Client") -> bool:
        """Whether a new connection may pass."""
        if not self._refusing:
            self._pairs.add(pair)
        return not self._refusing

    def forget(self, pair: "_Client") -> None:
        """A connection has ended."""
        self._pairs.discard(pair)

    def connect(self, upstream: "_Upstream") -> "asyncio.Task[object]":
        """Open the other half of a connection."""
        loop = asyncio.get_running_loop()
        return asyncio.ensure_future(loop.create_unix_connection(lambda: upstream, str(self._database)))


class _Half(asyncio.Protocol):
    """One end of a connection; what arrives goes to the other one as soon as both are there."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.transport: asyncio.Transport | None = None
        self.other: _Half | None = None
        self.waiting: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.flush()

    def deliver(self, data: bytes) -> None:
        if self.transport is None or not self.proxy.passing.is_set():
            self.waiting.append(data)
        else:
            self.transport.write(data)

    def flush(self) -> None:
        if self.transport is not None and self.proxy.passing.is_set():
            self.transport.write(b"".join(self.waiting))
            self.waiting.clear()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, _error: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class _Client(_Half):
    def __init__(self, proxy: Proxy) -> None:
        super().__init__(proxy)
        self.upstream = _Upstream(proxy)
        self.other = self.upstream
        self.upstream.other = self
        self._opening: asyncio.Task[object] | None = None
        self._application = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self.proxy.admits(self):
            self.abort()
            return
        self._opening = self.proxy.connect(self.upstream)
        self._opening.add_done_callback(self._opened)

    def _opened(self, opening: "asyncio.Task[object]") -> None:
        if opening.cancelled() or opening.exception() is not None:
            self.abort()  # PostgreSQL is not there

    def data_received(self, data: bytes) -> None:
        if not self._application and (named := _APPLICATION.search(data)):
            self._application = named[1].decode()
        if b"COMMIT" in data:
            if self.proxy.commits_to_lose[self._application] > 0:
                self.proxy.commits_to_lose[self._application] -= 1
                self.proxy.commits_lost += 1
                self.cut()
                return
            if self.proxy.answers_to_lose[self._application] > 0:
                self.proxy.answers_to_lose[self._application] -= 1
                self.proxy.commits_lost += 1
                self.upstream.deliver(data)
                self.upstream.other = None  # PostgreSQL commits, and nobody hears of it
                asyncio.get_running_loop().call_later(0.05, self.cut)
                return
        self.upstream.deliver(data)

    def cut(self) -> None:
        self.abort()
        if self.upstream.transport is not None:
            self.upstream.transport.close()

    def flush(self) -> None:
        super().flush()
        if self.upstream.waiting:
            self.upstream.flush()

    def connection_lost(self, error: Exception | None) -> None:
        self.proxy.forget(self)
        if self._opening is not None:
            self._opening.cancel()
        super().connection_lost(error)


class _Upstream(_Half):
    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.deliver(data)
