"""Large answers to clients that read slowly, and to those who stopped reading."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from app import intake

PART, PARTS = b"x" * 16_384, 64


async def large_answer(_scope: Any, _receive: Any, send: Any) -> None:
    """An application that answers a megabyte, part by part."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(PARTS):
        await send({"type": "http.response.body", "body": PART, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def reader() -> AsyncIterator[asyncio.StreamReader]:
    """A connection with small buffers that has asked, to a server that looks at its connections all the time."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
    protocol = intake.bounded_protocol()
    config = uvicorn.Config(large_answer, http=protocol, ws="none", lifespan="off", log_level="warning")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))

    async def look() -> None:
        while True:
            await asyncio.sleep(0.02)
            for connection in list(server.server_state.connections):
                connection.check(asyncio.get_running_loop().time())  # type: ignore[union-attr]

    looking = asyncio.create_task(look())
    asking = socket.socket()
    asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
    asking.connect(listener.getsockname())
    read, write = await asyncio.open_connection(sock=asking, limit=8_192)
    write.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    try:
        yield read
    finally:
        looking.cancel()
        write.close()
        with contextlib.suppress(OSError):
            await write.wait_closed()
        server.should_exit = True
        await serving


@pytest.mark.parametrize(("pause", "whole"), [(0.05, True), (3.0, False)])
async def test_who_reads_on_gets_the_whole_answer(
    monkeypatch: pytest.MonkeyPatch,
    pause: float,
    whole: bool,  # noqa: FBT001
) -> None:
    """However long the whole takes; who reads nothing for as long as a request may take is cut off."""
    monkeypatch.setattr(intake, "ARRIVE_SECONDS_MAX", 1.5)
    got = 0
    async with reader() as read:
        await asyncio.sleep(0 if whole else pause)
        with contextlib.suppress(ConnectionError):
            while part := await read.read(16_384):
                got += len(part)
                await asyncio.sleep(pause if whole else 0)
    assert (got > len(PART) * PARTS) == whole
