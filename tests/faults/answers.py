"""HTTP on plain sockets: cheap enough to share two cores with the server under test."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import NamedTuple

import msgspec


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict:
        """The body as JSON."""
        return msgspec.json.decode(self.body)


class Wire:
    """A connection that is kept, and opened again after a loss."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes, seconds_max: float) -> Answer:
        """Send a request and read its answer; OSError, EOFError or TimeoutError when there is none."""
        try:
            async with asyncio.timeout(seconds_max):
                if self._streams is None:
                    self._streams = await asyncio.open_connection("127.0.0.1", self.port)
                reader, writer = self._streams
                writer.write(request)
                answer = await _read(reader)
        except BaseException:
            self.drop()
            raise
        if answer.headers.get("connection") == "close":
            self.drop()
        return answer

    def drop(self) -> None:
        """Close the connection, if there is one."""
        if self._streams is not None:
            with contextlib.suppress(RuntimeError):
                self._streams[1].transport.abort()
            self._streams = None


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """A request as bytes."""
    lines = [f"{method} {path} HTTP/1.1", "host: prooflog", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def ask(
    port: int, method: str, path: str, body: bytes = b"", *, seconds_max: float = 30, **headers: str
) -> Answer:
    """One request on a connection of its own."""
    wire = Wire(port)
    try:
        return await wire.ask(request(method, path, body, **headers), seconds_max)
    finally:
        wire.drop()


async def _read(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(_header(line) for line in head[1:] if line)
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(int(head[0].split(" ", 2)[1]), headers, body)


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.lower(), value.strip()
