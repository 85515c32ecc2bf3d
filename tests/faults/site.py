"""Everything that a round needs: a database, what stands before it, servers and workers, clients."""

import asyncio
import contextlib
import secrets
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import psycopg

from tests.faults.cluster import Cluster
from tests.faults.evidence import Evidence, Figures
from tests.faults.processes import HttpService, Service
from tests.faults.proxy import Proxy
from tests.faults.traffic import Load, Memory, Project, open_projects

START_SECONDS_MAX = 60.0
SERVE = ["app", "serve", "--no-demo"]


class Site:
    """A database, the processes that use it, and the memory of what clients were told."""

    def __init__(self, cluster: Cluster, proxy: Proxy, *, direct: bool) -> None:
        self.cluster = cluster
        self.proxy = proxy
        self._direct = direct
        self.memory = Memory()
        self.projects: tuple[Project, ...] = ()
        self.admin_token = secrets.token_hex(16)
        self.servers: list[HttpService] = []
        self.workers: list[Service] = []
        self._evidence: Evidence | None = None
        self._retired: list[Service] = []

    def add_server(
        self, name: str, command: list[str], *, port: int | None = None, **settings: str
    ) -> HttpService:
        """Another `prooflog serve`, started."""
        environment = {**self._environment(name), **settings}
        server = HttpService(name, command, environment, self.cluster.directory, port or _free_port())
        self.servers.append(server)
        server.start()
        return server

    def add_worker(self, name: str, command: Sequence[str] = ("app", "worker")) -> Service:
        """Another `prooflog worker`, started."""
        worker = Service(name, [*command], self._environment(name), self.cluster.directory)
        self.workers.append(worker)
        worker.start()
        return worker

    def remove(self, service: Service) -> None:
        """End a process for good, as its administrator would."""
        service.terminate()
        self._retired.append(service)
        for services in (self.servers, self.workers):
            if service in services:
                services.remove(service)  # type: ignore[arg-type]

    async def heal(self) -> None:
        """Undo whatever was done to the database and the processes, and wait until servers answer."""
        self.proxy.heal()
        for disk in (self.cluster.data_disk, self.cluster.log_disk):
            if disk is not None:
                disk.free()
        await asyncio.to_thread(self.cluster.start)
        for service in (*self.servers, *self.workers):
            service.resume()
            service.start()
        for server in self.servers:
            await self.ready(server)

    async def ready(self, server: HttpService) -> None:
        """Wait until a server answers."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while not await server.answers():
            assert time.monotonic() < deadline, f"{server.name} never answered:\n{server.output[-3_000:]}"
            server.start()
            await asyncio.sleep(0.05)

    async def open_projects(self, count: int) -> None:
        """Projects for the clients; once, after the first server answers."""
        self.projects = await open_projects(self.servers[0].port, self.admin_token, count)
        self._evidence = Evidence(self.cluster.url, self.projects, self.memory)

    def load(self, seed: str, clients: int) -> Load:
        """Clients of all servers."""
        return Load([server.port for server in self.servers], self.projects, self.memory, seed, clients)

    async def check(self) -> Figures:
        """Fail where a promise is broken, with what the processes have said."""
        assert self._evidence is not None
        try:
            return await self._evidence.check()
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.told()}") from None

    def told(self) -> str:
        """The ends of all logs."""
        services = (*self.servers, *self.workers, *self._retired)
        return "\n".join(f"--- {service.name}\n{service.output[-1_500:]}" for service in services)

    def close(self) -> None:
        """End every process."""
        for service in (*self.workers, *self.servers):
            service.close()

    def _environment(self, name: str) -> dict[str, str]:
        url = self.cluster.url if self._direct else self.proxy.url
        return {
            "PROOFLOG_DATABASE_URL": psycopg.conninfo.make_conninfo(url, application_name=name),
            "PROOFLOG_ADMIN_TOKEN": self.admin_token,
            "PROOFLOG_DATA_DIR": str(self.cluster.directory / name),
            "PROOFLOG_HOST": "127.0.0.1",
        }


@asynccontextmanager
async def open_site(
    *,
    small_disks: bool = False,
    direct: bool = False,
    server: Sequence[str] = (*SERVE, "--no-worker"),
    worker: Sequence[str] = ("app", "worker"),
    projects: int = 2,
    **settings: str,
) -> AsyncIterator[Site]:
    """A site with one server and one worker, each a process of its own; by the proxy unless it is `direct`."""
    async with _bare_site(small_disks=small_disks, direct=direct) as site:
        site.add_server("server", [*server], **settings)
        await site.heal()
        await _projecting(site.add_worker("worker", [*worker]))
        await site.open_projects(projects)
        yield site


@asynccontextmanager
async def _bare_site(*, small_disks: bool, direct: bool) -> AsyncIterator[Site]:
    with contextlib.closing(Cluster(small_disks=small_disks)) as cluster:
        cluster.start()
        proxy = Proxy(cluster.socket)
        await proxy.open()
        site = Site(cluster, proxy, direct=direct)
        try:
            yield site
        finally:
            site.close()
            await proxy.close()


async def _projecting(worker: Service) -> None:
    """Wait until a worker is at work: one that loses its database before that ends, as it should."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while "projecting" not in worker.output:
        assert worker.running, worker.output
        assert time.monotonic() < deadline, worker.output
        await asyncio.sleep(0.05)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]
