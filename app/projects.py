"""Projects: made, read, and the origins that their events may come from."""

import asyncio
import hashlib
import re
import secrets
import time
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from psycopg import AsyncConnection

from app.problems import Problem
from app.secret_keys import issue_key
from domain.events import AllowedOriginsChanged, ProjectCreated
from domain.refusals import FieldError
from domain.validation import NO_TURNING, TURNS_DIRECTION
from projections.event_log import append_facts
from projections.queries import queries

PROJECT_NAME_CHARACTERS_MAX = 200
ALLOWED_ORIGINS_MAX = 100
# How long another process may not notice a change of origins.
CACHE_SECONDS = 2.0
CACHED_PROJECTS_MAX = 10_000

_NO_ORIGIN = "is not an origin such as https://shop.example"
_ORIGIN = re.compile(r"https?://[^\s\x00-\x1f/?#@]+")


class Project(NamedTuple):
    """What the server needs to know of a project."""

    project_id: UUID
    name: str
    allowed_origins: tuple[str, ...]
    privacy_key: bytes

    def allows(self, origin: str | None) -> bool:
        """Whether browser events may come from an origin; a caller without one is no browser."""
        return not self.allowed_origins or origin is None or origin in self.allowed_origins

    def hash_address(self, address: str, day: datetime) -> str:
        """A keyed hash of an address that is another one tomorrow; the address itself is not kept."""
        message = f"{day:%Y-%m-%d}\0{address}".encode()
        return hashlib.blake2b(message, digest_size=16, key=self.privacy_key).hexdigest()


class ProjectCache:
    """Projects by id, at most CACHE_SECONDS old; knows for as long which ids are unknown."""

    def __init__(self) -> None:
        self._known: dict[UUID, tuple[float, Project | None]] = {}
        self._reading: dict[UUID, asyncio.Task[Project | None]] = {}

    async def get(self, connections: Any, project_id: UUID) -> Project:  # noqa: ANN401  (a pool of any kind)
        """The project; Problem 404 when there is none."""
        found = self._known.get(project_id)
        if found is not None and found[0] >= time.monotonic():
            project = found[1]
        else:
            # However many requests wait for it, one reads: they must not queue for connections.
            reading = self._reading.get(project_id)
            if reading is None:
                reading = asyncio.create_task(self._read(connections, project_id))
                self._reading[project_id] = reading
            project = await asyncio.shield(reading)
        if project is None:
            raise Problem(404, "unknown_project", "there is no project with this projectId")
        return project

    def forget(self, project_id: UUID) -> None:
        """Read the project anew next time."""
        self._known.pop(project_id, None)
        self._reading.pop(project_id, None)

    async def _read(self, connections: Any, project_id: UUID) -> Project | None:  # noqa: ANN401
        try:
            async with connections.connection() as connection:
                project = await read_project(connection, project_id)
            if self._reading.get(project_id) is asyncio.current_task():  # not forgotten meanwhile
                if len(self._known) >= CACHED_PROJECTS_MAX:
                    self._known.clear()
                self._known[project_id] = (time.monotonic() + CACHE_SECONDS, project)
            return project
        finally:
            if self._reading.get(project_id) is asyncio.current_task():
                del self._reading[project_id]


async def create_project(
    connection: AsyncConnection[Any],
    name: str,
    allowed_origins: tuple[str, ...] = (),
    *,
    actor: str,
    project_id: UUID | None = None,
) -> tuple[UUID, str]:
    """A new project: its public key and its first secret key, which is shown nowhere else."""
    _check_project(name, allowed_origins)
    allowed_origins = tuple(origin.lower() for origin in allowed_origins)  # as browsers write them
    now = datetime.now(UTC)
    project_id = project_id or uuid4()
    async with connection.transaction():
        added = await connection.execute(
            queries("projects")["add_project"],
            {
                "project_id": project_id,
                "name": name,
                "allowed_origins": list(allowed_origins),
                "privacy_key": secrets.token_bytes(32),
                "created_at": now,
            },
        )
        if added.rowcount == 0:
            raise Problem(409, "sent_twice", "this project was made already: its form was sent twice")
        created = ProjectCreated(at=now, actor=actor, name=name, allowed_origins=allowed_origins)
        secret_key, issued = await issue_key(connection, project_id, now, actor)
        await append_facts(connection, project_id, [created, issued], now)
    return project_id, secret_key


async def change_origins(
    connection: AsyncConnection[Any], project_id: UUID, allowed_origins: tuple[str, ...], *, actor: str
) -> None:
    """Take browser events from these origins only, from any when there are none; Problem 400 names bad ones."""
    allowed_origins = tuple(origin.lower() for origin in allowed_origins)
    _refuse(_origin_errors(allowed_origins))
    allowed_origins = tuple(dict.fromkeys(allowed_origins))
    now = datetime.now(UTC)
    parameters = {"project_id": project_id, "allowed_origins": list(allowed_origins)}
    async with connection.transaction():
        await connection.execute(queries("projects")["lock_project"], parameters)
        before = await read_project(connection, project_id)
        if before is None or before.allowed_origins == allowed_origins:
            return
        await connection.execute(queries("projects")["change_origins"], parameters)
        changed = AllowedOriginsChanged(at=now, actor=actor, allowed_origins=allowed_origins)
        await append_facts(connection, project_id, [changed], now)


async def read_project(connection: AsyncConnection[Any], project_id: UUID) -> Project | None:
    """One project, or None."""
    cursor = await connection.execute(queries("projects")["project"], {"project_id": project_id})
    row = await cursor.fetchone()
    return _project(row) if row else None


async def read_arrived(connection: AsyncConnection[Any], project_ids: list[UUID]) -> set[UUID]:
    """Those of some projects that an event of a browser or a backend has ever come to."""
    cursor = await connection.execute(queries("projects")["arrived"], {"project_ids": project_ids})
    return {project_id for (project_id,) in await cursor.fetchall()}


async def read_projects(connection: AsyncConnection[Any]) -> list[Project]:
    """All projects, oldest first."""
    cursor = await connection.execute(queries("projects")["projects"])
    return [_project(row) for row in await cursor.fetchall()]


def parse_project_id(text: str | None) -> UUID:
    """A public key as given in a query; Problem 400 when it is none."""
    try:
        return UUID(text or "")
    except ValueError:
        errors = [FieldError(path="projectId", reason="is not a UUID" if text else "is missing")]
        raise Problem(400, "invalid_project_id", "projectId must be the project's UUID", errors=errors) from None


def _check_project(name: str, allowed_origins: tuple[str, ...]) -> None:
    errors = _origin_errors(allowed_origins)
    if not 1 <= len(name.strip()) <= PROJECT_NAME_CHARACTERS_MAX or "\0" in name:
        reason = f"must hold 1 to {PROJECT_NAME_CHARACTERS_MAX} characters"
        errors.insert(0, FieldError(path="name", reason=reason))
    elif TURNS_DIRECTION.search(name):
        errors.insert(0, FieldError(path="name", reason=NO_TURNING))
    _refuse(errors)


def _origin_errors(allowed_origins: tuple[str, ...]) -> list[FieldError]:
    errors = []
    if len(allowed_origins) > ALLOWED_ORIGINS_MAX:
        errors.append(FieldError(path="allowedOrigins", reason=f"may list {ALLOWED_ORIGINS_MAX} origins at most"))
    errors += [
        FieldError(path=f"allowedOrigins[{index}]", reason=_NO_ORIGIN + _why_no_origin(origin))
        for index, origin in enumerate(allowed_origins)
        if not _ORIGIN.fullmatch(origin)
    ]
    return errors


def _why_no_origin(text: str) -> str:
    if not re.match("https?://", text, re.IGNORECASE):
        return ": it must begin with https:// or http://"
    if re.search(r"[\s\x00-\x1f]", text):
        return ": it holds a space"
    if re.fullmatch(r"[^/]+//[^/?#@]+[/?#].*", text):
        return ": leave out what follows the host"
    return ""


def _refuse(errors: list[FieldError]) -> None:
    if errors:
        raise Problem(400, "invalid_project", "the project is not valid", errors=errors)


def _project(row: tuple[Any, ...]) -> Project:
    return Project(row[0], row[1], tuple(row[2]), bytes(row[3]))
