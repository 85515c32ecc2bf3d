"""Secret keys of projects: issued, shown once, checked, replaced."""

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from psycopg import AsyncConnection

from app.problems import Problem
from domain.events import SecretKeyIssued, SecretKeysExpiring
from projections.event_log import append_facts
from projections.queries import queries

KEY_PREFIX = "prooflog_sk_"
GRACE = timedelta(hours=24)

# The project stands in the key, so that a look-up touches one project only.
_KEY = re.compile(KEY_PREFIX + r"(?P<project>[0-9a-f]{32})_(?P<secret>[A-Za-z0-9_-]{43})")


class IssuedKey(NamedTuple):
    """A new secret key, shown once, and until when the older ones work."""

    secret_key: str
    previous_keys_valid_until: datetime


class KnownKey(NamedTuple):
    """A secret key as people know it: by its last letters."""

    hint: str
    issued_at: datetime
    valid_until: datetime | None


async def rotate_key(
    connection: AsyncConnection[Any],
    project_id: UUID,
    *,
    actor: str,
    newest: datetime | None = None,
    grace: timedelta = GRACE,
) -> IssuedKey:
    """A new secret key; every older one works for 24 hours from its own replacement, or as long as `grace` says.

    With `newest`, when the newest key was issued as far as the caller knows: Problem 409 if there is another.
    """
    now = datetime.now(UTC)
    valid_until = now + grace
    async with connection.transaction():
        parameters = {"project_id": project_id, "valid_until": valid_until}
        # A rotation that waited must see the key that the other one issued, to let it expire.
        await connection.execute(queries("projects")["lock_project"], parameters)
        if newest is not None and any(key.issued_at > newest for key in await read_keys(connection, project_id)):
            raise Problem(
                409,
                "sent_twice",
                "a newer key was made meanwhile, perhaps because this form was sent twice:"
                " make another one if you did not see it",
            )
        await connection.execute(queries("projects")["expire_keys"], parameters)
        secret_key, issued = await issue_key(connection, project_id, now, actor)
        expiring = SecretKeysExpiring(at=now, actor=actor, valid_until=valid_until)
        await append_facts(connection, project_id, [expiring, issued], now)
    return IssuedKey(secret_key, valid_until)


async def authenticate(connection: AsyncConnection[Any], authorization: str | None) -> UUID:
    """The project whose secret key an Authorization header carries; Problem 401 or 403 otherwise."""
    scheme, _, key = (authorization or "").partition(" ")
    found = _KEY.fullmatch(key.strip())
    if scheme.lower() != "bearer" or found is None:
        raise _unauthorized("send `Authorization: Bearer <secret key>`")
    project_id = UUID(found["project"])
    cursor = await connection.execute(queries("projects")["keys"], {"project_id": project_id})
    given = hash_key(key.strip())
    # Compare with every key, so that the time taken tells nothing about which one came close.
    matching = [
        valid_until
        for key_hash, valid_until in await cursor.fetchall()
        if hmac.compare_digest(bytes(key_hash), given)
    ]
    if not matching:
        raise _unauthorized("this secret key is not known")
    if matching[0] is not None and matching[0] <= datetime.now(UTC):
        raise Problem(403, "key_expired", "this secret key was replaced and works no longer")
    return project_id


async def read_keys(connection: AsyncConnection[Any], project_id: UUID) -> list[KnownKey]:
    """The secret keys of a project, newest first."""
    cursor = await connection.execute(queries("projects")["key_list"], {"project_id": project_id})
    return [KnownKey(*row) for row in await cursor.fetchall()]


async def issue_key(
    connection: AsyncConnection[Any], project_id: UUID, now: datetime, actor: str
) -> tuple[str, SecretKeyIssued]:
    """A new key inside the caller's transaction, and the fact to append that it was issued."""
    key = f"{KEY_PREFIX}{project_id.hex}_{secrets.token_urlsafe(32)}"
    hint = key[: len(KEY_PREFIX)] + "…" + key[-4:]
    await connection.execute(
        queries("projects")["add_key"],
        {"project_id": project_id, "key_hash": hash_key(key), "hint": hint, "issued_at": now},
    )
    issued = SecretKeyIssued(at=now, actor=actor, key_id=uuid4(), key_hash=hash_key(key).hex(), prefix=hint)
    return key, issued


def hash_key(key: str) -> bytes:
    """What is kept of a secret key."""
    # The key holds 256 random bits: a fast hash is as good as a slow one, and costs no request anything.
    return hashlib.sha256(key.encode()).digest()


def _unauthorized(detail: str) -> Problem:
    return Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
