"""A whole application on a fresh database, and a project in it."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Protocol, TypeVar

import anyio.from_thread
import httpx
import pytest
from argon2 import PasswordHasher

from app import passwords
from tests.app.http_project import HttpProject, open_client, open_project

_T = TypeVar("_T")


class Site(Protocol):
    """An application for tests that are not async: `run` awaits on its event loop."""

    project: HttpProject

    def run(self, function: Callable[..., Coroutine[Any, Any, _T]], *arguments: Any) -> _T:
        """What the coroutine function returns."""


@pytest.fixture(scope="session", autouse=True)
def cheap_passwords() -> None:
    """Hash with little memory in one pass: here nobody guesses, and a test may need twenty of them."""
    passwords._HASHER = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)  # noqa: SLF001


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application, its projection worker at work."""
    async with open_client(database_url) as client:
        yield client


@pytest.fixture
async def project(client: httpx.AsyncClient) -> HttpProject:
    """A project that takes events from any origin."""
    return await open_project(client)


@pytest.fixture
def site(database_url: str) -> Iterator[Site]:
    """One application for all the examples that hypothesis draws in a test."""
    with (
        anyio.from_thread.start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(open_client(database_url)) as client,
    ):

        class _Site:
            project = portal.call(open_project, client)
            run = staticmethod(portal.call)

        yield _Site()
