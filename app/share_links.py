"""Links that let whoever has them read the results of one experiment, until they are revoked."""

import base64
import binascii
import hashlib
import secrets
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation

from app.experiments import read_experiment
from app.problems import Problem
from domain import refusals
from domain.events import ShareLinkMade, ShareLinkRevoked
from projections.event_log import append_facts
from projections.queries import queries

LINKS_MAX = 1_000
_SECRET_BYTES = 32
_PROJECT_BYTES = 16
TOKEN_CHARACTERS = (_PROJECT_BYTES + _SECRET_BYTES) * 4 // 3

Connection = AsyncConnection[Any]


class ShareLink(NamedTuple):
    """A link as people see it; its token was shown once."""

    link_id: UUID
    experiment_id: UUID
    made_by: str
    made_at: datetime
    revoked_at: datetime | None


async def make_share_link(
    connection: Connection, project_id: UUID, experiment_id: UUID, *, link_id: UUID, actor: str
) -> str:
    """The token of a new link to an experiment's results; 409 when a link with that id was made already."""
    now = datetime.now(UTC)
    # The project stands in the token, so that a look-up touches one project only.
    token = base64.urlsafe_b64encode(project_id.bytes + secrets.token_bytes(_SECRET_BYTES)).decode()
    parameters = {
        "project_id": project_id,
        "token_hash": _hash(token),
        "link_id": link_id,
        "experiment_id": experiment_id,
        "made_by": actor,
        "made_at": now,
    }
    if await read_experiment(connection, project_id, experiment_id) is None:
        raise refusals.ExperimentNotFound
    if len(await read_share_links(connection, project_id)) >= LINKS_MAX:
        raise Problem(409, "too_many_links", f"a project may have made {LINKS_MAX:,} links at most")
    try:
        async with connection.transaction():
            await connection.execute(queries("people")["add_share_link"], parameters)
            fact = ShareLinkMade(at=now, actor=actor, link_id=link_id, experiment_id=experiment_id)
            await append_facts(connection, project_id, [fact], now)
    except UniqueViolation:
        raise Problem(
            409,
            "sent_twice",
            "this form was sent twice: the link of the first time is in the list; revoke it"
            " if you did not see its address",
        ) from None
    return token


async def revoke_share_link(connection: Connection, project_id: UUID, link_id: UUID, *, actor: str) -> None:
    """Let a link show nothing any more; again changes nothing. Problem 404 when there is none."""
    now = datetime.now(UTC)
    parameters = {"project_id": project_id, "link_id": link_id, "revoked_at": now}
    async with connection.transaction():
        row = await (await connection.execute(queries("people")["revoke_share_link"], parameters)).fetchone()
        if row is not None:
            fact = ShareLinkRevoked(at=now, actor=actor, link_id=link_id, experiment_id=row[0])
            await append_facts(connection, project_id, [fact], now)
        elif all(link.link_id != link_id for link in await read_share_links(connection, project_id)):
            raise Problem(404, "unknown_link", "this project has no such link")


async def read_share_links(connection: Connection, project_id: UUID) -> list[ShareLink]:
    """What a project has shared, newest first, revoked ones too."""
    cursor = await connection.execute(queries("people")["share_links"], {"project_id": project_id})
    return [ShareLink(*row) for row in await cursor.fetchall()]


async def find_shared(connection: Connection, token: str) -> tuple[UUID, UUID]:
    """The project and the experiment that a token lets read; Problem 404 for any other token."""
    project_id = _project_of(token)
    if project_id is not None:
        parameters = {"project_id": project_id, "token_hash": _hash(token)}
        row = await (await connection.execute(queries("people")["shared"], parameters)).fetchone()
        if row is not None:
            return project_id, row[0]
    raise Problem(404, "no_such_link", "there is no such link, or it was revoked")


def _project_of(token: str) -> UUID | None:
    if len(token) != TOKEN_CHARACTERS:
        return None
    try:
        return UUID(bytes=base64.b64decode(token, altchars=b"-_", validate=True)[:_PROJECT_BYTES])
    except (binascii.Error, ValueError):
        return None


def _hash(token: str) -> bytes:
    # 256 random bits: a fast hash is as good as a slow one.
    return hashlib.sha256(token.encode()).digest()
