"""A command's way to the database: opened, migrated, closed, its refusals told in one line."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import UUID

import click
import psycopg

from app.database import DataDirError, EncodingError, UnsafeSettingsError, connect, database_url, prepare_database
from app.problems import Problem
from app.projects import Project, read_projects
from app.settings import Settings
from domain.refusals import Refusal
from projections.archived_log import ArchiveError
from projections.catch_up import LogGapError
from projections.generations import OtherLayoutError, RebuildRunningError
from projections.migrate import MigrationChangedError

Connection = psycopg.AsyncConnection[Any]
_Answer = TypeVar("_Answer")


def with_database(settings: Settings, work: Callable[[Connection, str], Awaitable[_Answer]]) -> _Answer:
    """Run `work(connection, address)` on a migrated database; what it refuses ends the command with 1."""

    async def run(url: str) -> _Answer:
        # Tables of an older version are derived anew by what serves or migrates, not by whoever asks something.
        await prepare_database(url, settings.allow_unsafe, settings.archive_dir, derive=False)
        async with await connect(url) as connection:
            return await work(connection, url)

    with told_in_one_line():
        url, embedded = database_url(settings)
        try:
            return asyncio.run(run(url))
        finally:
            if embedded is not None:
                embedded.close()


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """End the command with 1 and a sentence where it is refused or the database does not answer."""
    try:
        yield
    except (Problem, Refusal) as refusal:
        lines = [str(refusal), *(f"  {error.path}: {error.reason}" for error in refusal.errors)]
        raise click.ClickException("\n".join(lines)) from None
    except (ArchiveError, LogGapError, MigrationChangedError, OtherLayoutError, RebuildRunningError) as error:
        raise click.ClickException(str(error)) from None
    except (DataDirError, EncodingError, UnsafeSettingsError) as error:
        raise click.ClickException(str(error)) from None
    except psycopg.Error as error:
        raise click.ClickException(f"the database does not answer: {error}") from None


async def find_project(connection: Connection, wanted: str | None) -> Project:
    """The project with an id or a name; without either the only one there is."""
    known = await read_projects(connection)
    if wanted is None:
        if len(known) == 1:
            return known[0]
        raise click.UsageError("there is not exactly one project: name it with --project")
    found = [project for project in known if wanted in {str(project.project_id), project.name}]
    if len(found) == 1:
        return found[0]
    if found:
        raise click.UsageError(f"{len(found)} projects are called {wanted!r}: use the id")
    raise click.ClickException(f"there is no project {wanted!r}")


def parse_id(text: str) -> UUID:
    """An id from the command line."""
    try:
        return UUID(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a UUID") from None
