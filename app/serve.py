"""`prooflog serve`: database, migrations, processes, and what a person is told at the start."""

import asyncio
import gc
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

import click
import psycopg
import uvicorn
from litestar import Litestar

from app.database import connect, database_url, prepare_database
from app.intake import BoundedProtocol, allow_many_connections, bounded_protocol
from app.main import create_app
from app.settings import Settings
from app.upkeep import keep_partitions
from app.worker import ProjectionWorker

_LISTEN_BACKLOG = 2048
_CHILD_STOP_SECONDS = 20
# Of a tenth of a second each.
_TICKS_BETWEEN_CHECKS = 20


def admin_token(settings: Settings) -> str:
    """The admin's token: the one that is set, or one made at first start and kept for its owner only."""
    if settings.admin_token:
        return settings.admin_token
    path = settings.data_dir / "admin-token"
    if not path.exists():
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:  # another process was faster
            return path.read_text().strip()
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(24) + "\n")
    return path.read_text().strip()


def serve(
    settings: Settings,
    *,
    with_worker: bool,
    prepare: Callable[[psycopg.AsyncConnection[Any]], Awaitable[None]],
    on_ready: Callable[[str], None],
) -> None:
    """Serve until SIGINT or SIGTERM.

    `prepare` gets the migrated database; `on_ready` hears the address once requests are answered.
    """

    async def make_ready(url: str) -> None:
        await prepare_database(url, settings.allow_unsafe, settings.archive_dir)
        async with await connect(url) as connection:
            await prepare(connection)

    with _listen(settings) as listener:
        url, embedded = database_url(settings)
        # After its own shutdown the HTTP server raises the signal again; ours must let `finally` run.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _end)
        try:
            asyncio.run(make_ready(url))
            token = admin_token(settings)
            if settings.workers == 1:
                app = create_app(settings, url, token, with_worker=with_worker)
                run_process(app, listener, settings, on_ready)
            else:
                asyncio.run(_supervise(settings, url, token, listener, with_worker=with_worker, on_ready=on_ready))
        finally:
            # Before the database: whoever connects now would wait for nothing.
            listener.close()
            if embedded is not None:
                embedded.close()


def run_process(
    app: Litestar,
    listener: socket.socket,
    settings: Settings,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """One HTTP process on a socket that is already bound."""
    # Requests make many objects and no cycles, to which a test holds the pages: look for those rarely, and never
    # in what the program is made of.
    gc.freeze()
    gc.set_threshold(5_000, 20, 50)
    allow_many_connections()
    server = _Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=10,
            lifespan="on",
            http=bounded_protocol(),
            ws="none",
            proxy_headers=True,
            forwarded_allow_ips=list(settings.trusted_proxies),
        )
    )
    if on_ready is not None:
        server.on_started = lambda: on_ready(address_of(listener))
    # Streams of open pages have no end of their own, and requests are waited for.
    server.on_end = lambda: _close_streams(app)
    server.run(sockets=[listener])
    if not server.started:
        raise click.ClickException("the server could not start")


def address_of(listener: socket.socket) -> str:
    """The address that a socket listens on, as people type it."""
    host, port = listener.getsockname()[:2]
    return f"http://{'[' + host + ']' if ':' in host else host}:{port}"


async def run_worker(url: str, settings: Settings) -> None:
    """Project, and look after partitions, until SIGINT or SIGTERM."""
    worker = ProjectionWorker(url, archive=settings.archive_dir)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, worker.stop)
    upkeep = asyncio.create_task(keep_partitions(url, settings), name="upkeep")
    await worker.run()
    upkeep.cancel()
    await asyncio.gather(upkeep, return_exceptions=True)


def end_with_parent(descriptor: int) -> None:
    """Stop this process, as by SIGTERM, once the other end of a pipe is closed."""

    def wait() -> None:
        os.read(descriptor, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True, name="parent watch").start()


async def _close_streams(app: Litestar) -> None:
    await app.state.services.live.close()


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


class _Server(uvicorn.Server):
    on_started: Callable[[], None] | None = None
    on_end: Callable[[], Awaitable[None]] | None = None

    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS_BETWEEN_CHECKS == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, BoundedProtocol):
                    connection.check(now)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.on_end is not None:
            await self.on_end()
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self.on_started is not None:
            self.on_started()


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise click.ClickException(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror}):"
            " set PROOFLOG_HOST and PROOFLOG_PORT"
        ) from None
    listener.listen(_LISTEN_BACKLOG)
    listener.set_inheritable(True)
    return listener


async def _supervise(
    settings: Settings,
    url: str,
    token: str,
    listener: socket.socket,
    *,
    with_worker: bool,
    on_ready: Callable[[str], None],
) -> None:
    """Several HTTP processes on one socket, and one that projects; a process that dies is started again."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    environment = {
        **os.environ,
        "PROOFLOG_DATABASE_URL": url,
        "PROOFLOG_ADMIN_TOKEN": token,
    }
    # Children hold the other end: when this process goes, however it goes, they read its end and stop.
    alive, _mine = os.pipe()
    alone = ["--parent", str(alive)]
    command = [sys.executable, "-m", "app", "process", "--socket", str(listener.fileno()), *alone]
    commands = [command] * settings.workers
    if with_worker:
        commands.append([sys.executable, "-m", "app", "worker", *alone])
    async with asyncio.TaskGroup() as group:
        for arguments in commands:
            group.create_task(_keep_alive(arguments, environment, (listener.fileno(), alive), stopping))
        on_ready(address_of(listener))


async def _keep_alive(
    arguments: list[str], environment: dict[str, str], descriptors: tuple[int, ...], stopping: asyncio.Event
) -> None:
    while not stopping.is_set():
        async with _child(arguments, environment, descriptors) as child:
            ended = asyncio.create_task(child.wait())
            stopped = asyncio.create_task(stopping.wait())
            await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if not stopping.is_set():
                click.echo(f"process {child.pid} ended with {child.returncode}; starting another", err=True)
                await asyncio.sleep(0.5)


@asynccontextmanager
async def _child(
    arguments: list[str], environment: dict[str, str], descriptors: tuple[int, ...]
) -> AsyncIterator[asyncio.subprocess.Process]:
    child = await asyncio.create_subprocess_exec(
        *arguments, env=environment, pass_fds=descriptors, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.terminate()
            try:
                await asyncio.wait_for(child.wait(), _CHILD_STOP_SECONDS)
            except TimeoutError:
                child.kill()
                await child.wait()
