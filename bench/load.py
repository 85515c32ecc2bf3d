"""A load generator on plain sockets: cheap enough to share two cores with the server under test."""

import asyncio
import time
import uuid
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import NamedTuple

import msgspec

HEADER = b"POST %b HTTP/1.1\r\nhost: bench\r\ncontent-length: %d\r\n\r\n"


class Load(NamedTuple):
    """What a load came to; latencies in milliseconds."""

    requests: int
    seconds: float
    latency_ms_p50: float
    latency_ms_p99: float

    @property
    def per_second(self) -> float:
        """Requests answered a second."""
        return self.requests / self.seconds


def bodies(project_id: uuid.UUID, count: int, events: int, seed: int = 0) -> list[bytes]:
    """Track bodies whose events are all different, about 300 bytes each, as a browser sends them."""
    visits = _visits(seed)
    base = int(time.time() * 1000) - 3_600_000
    return [
        msgspec.json.encode(
            {
                "projectId": str(project_id),
                "events": [
                    {
                        "eventType": "pageview",
                        "pathname": "/products/42",
                        "fullUrl": "https://shop.example/products/42?color=blue",
                        "referrer": "https://search.example/",
                        "sessionId": next(visits),
                        "visitorId": next(visits),
                        "timestamp": base + number * events + at,
                    }
                    for at in range(events)
                ],
            }
        )
        for number in range(count)
    ]


async def send(
    ports: Sequence[int],
    path: str,
    requests: list[bytes],
    *,
    connections: int,
    rate: float | None = None,
    expect: bytes = b" 202 ",
) -> Load:
    """Send each body once over connections to all ports, as fast as they are answered or at a rate a second."""
    queue = iter(enumerate(requests))
    latencies: list[float] = []
    chosen = islice(cycle(ports), connections)
    streams = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for port in chosen))
    began = time.perf_counter()

    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number, body in queue:
            due = began if rate is None else began + number / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            sent = time.perf_counter()
            writer.write(HEADER % (path.encode(), len(body)) + body)
            head = await reader.readuntil(b"\r\n\r\n")
            if expect not in head[:20]:
                raise RuntimeError(f"the server answered {head[:200]!r}")
            await reader.readexactly(_content_length(head))
            # At a rate, waiting for a free connection counts as latency too.
            latencies.append(time.perf_counter() - (sent if rate is None else min(sent, due)))
        writer.close()

    await asyncio.gather(*(work(*stream) for stream in streams))
    seconds = time.perf_counter() - began
    latencies.sort()
    return Load(
        len(latencies),
        seconds,
        latencies[len(latencies) // 2] * 1000,
        latencies[int(len(latencies) * 0.99)] * 1000,
    )


def _visits(seed: int) -> Iterator[str]:
    number = seed * 1_000_000_007
    while True:
        number += 1
        # Spread like random ids, but cheap and the same each time.
        yield str(uuid.UUID(int=(number * 0x9E3779B97F4A7C15F39CC0605CEDC835) % (1 << 128)))


def _content_length(head: bytes) -> int:
    at = head.lower().find(b"content-length:")
    return int(head[at + 15 : head.index(b"\r\n", at)]) if at >= 0 else 0
