"""The server under test in a process of its own, with one more route that answers an empty 202."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from litestar import Litestar, Response, post

from app.database import EmbeddedPostgres

START_SECONDS_MAX = 30


class Server:
    """Where a server listens and what its process uses."""

    def __init__(self, url: str, process: subprocess.Popen[bytes]) -> None:
        """Hold on to a started process."""
        self.url = url
        self.port = int(url.rsplit(":", 1)[1])
        self._process = psutil.Process(process.pid)

    def memory_mb(self) -> float:
        """Resident memory now."""
        return float(self._process.memory_info().rss) / 1e6

    def cpu_seconds(self) -> float:
        """Processor time used so far."""
        times = self._process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def database(url: str | None) -> Iterator[tuple[str, Path]]:
    """The address of the database named, or of an embedded one in a temporary folder; and the folder."""
    with tempfile.TemporaryDirectory(prefix="prooflog-bench-") as directory:
        embedded = None if url else EmbeddedPostgres(Path(directory))
        try:
            yield url or embedded.url, Path(directory)  # type: ignore[union-attr]
        finally:
            if embedded is not None:
                embedded.close()


@contextmanager
def started_server(database_url: str, *, with_worker: bool = True) -> Iterator[Server]:
    """Start the server on a free port of loopback; ends it by its own id."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "BENCH_DATABASE_URL": database_url, "BENCH_WORKER": str(int(with_worker))}
    process = subprocess.Popen([sys.executable, "-m", "bench.server", str(port)], env=environment)
    try:
        _await_ready(f"http://127.0.0.1:{port}", process)
        yield Server(f"http://127.0.0.1:{port}", process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def _await_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=1):  # noqa: S310  (our own server)
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the server under test did not start")


@post("/empty", status_code=202)
async def empty() -> Response[bytes]:
    """The least that a request costs in this server."""
    return Response(b"", status_code=202)


def main() -> None:
    """Serve until SIGTERM."""
    from app.main import create_app  # noqa: PLC0415  (only the process under test needs it)
    from app.serve import run_process  # noqa: PLC0415
    from app.settings import Settings  # noqa: PLC0415

    url = os.environ["BENCH_DATABASE_URL"]
    with_worker = os.environ["BENCH_WORKER"] == "1"

    def with_empty(app: Litestar) -> Litestar:
        app.register(empty)
        return app

    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=2048)
    app = with_empty(create_app(Settings(), url, "bench", with_worker=with_worker))
    run_process(app, listener, Settings())


if __name__ == "__main__":
    main()
