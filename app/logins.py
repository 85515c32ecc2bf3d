"""Sessions of the dashboard: opened with the admin token, a secret key or a password, and looked up by cookie.

The database keeps sessions, by a hash of the cookie, so that each of them can be ended from here.
"""

import hashlib
import hmac
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import UUID

import msgspec
from psycopg import AsyncConnection

from app.secret_keys import hash_key
from domain.events import UserRole
from projections.queries import queries

SESSION_SECONDS = 12 * 3600
ROLES: tuple[UserRole, ...] = get_args(UserRole)
# A key lies in backends: it does in the dashboard what it does over HTTP, and makes nothing that outlives it.
KEY_ROLE: UserRole = "editor"
KEY_ACTOR = "secret key"


class Login(msgspec.Struct, frozen=True):
    """Somebody who is logged in: what facts record as their actor, and their role in each project.

    `roles` is None for the admin token, which is owner of everything. `csrf` goes into every form. `user_id`
    and `name` are those of a user; one who has to choose a password first has no roles.
    """

    actor: str
    roles: dict[UUID, UserRole] | None
    csrf: str
    name: str
    user_id: UUID | None = None
    must_choose_password: bool = False

    def sees(self, project_id: UUID) -> bool:
        """Whether they have any role in a project."""
        return self.roles is None or project_id in self.roles

    def may(self, project_id: UUID, role: UserRole) -> bool:
        """Whether they have this role in a project, or a higher one."""
        if self.roles is None:
            return True
        held = self.roles.get(project_id)
        return held is not None and ROLES.index(held) >= ROLES.index(role)


async def open_admin_session(connection: AsyncConnection[Any], admin_token: str) -> str:
    """A session of the admin token, which ends when another token is set; the cookie's value."""
    return await _open(connection, admin_key=_fingerprint(admin_token))


async def open_key_session(connection: AsyncConnection[Any], project_id: UUID, secret_key: str) -> str:
    """A session of a secret key that was checked, which ends with the key; the cookie's value."""
    return await _open(connection, project_id=project_id, key_hash=hash_key(secret_key))


async def open_user_session(connection: AsyncConnection[Any], user_id: UUID, version: int) -> str:
    """A session of a user whose password was checked; `version` as it was read with the password.

    It ends when they are removed or get another role or password.
    """
    return await _open(connection, user_id=user_id, user_version=version)


async def read_session(connection: AsyncConnection[Any], cookie: str, admin_token: str) -> Login | None:
    """Who a cookie says is logged in; None when its session is over or never was."""
    sql = queries("people")
    now = datetime.now(UTC)
    found = await connection.execute(sql["session"], {"session_hash": _hash(cookie), "now": now})
    row = await found.fetchone()
    if row is None:
        return None
    admin_key, user_id, user_version, project_id, key_hash = row
    if admin_key is not None:
        known = hmac.compare_digest(bytes(admin_key), _fingerprint(admin_token))
        return Login("admin", None, _csrf(cookie), "admin") if known else None
    if user_id is not None:
        return await _user_login(connection, cookie, user_id, user_version, now)
    found = await connection.execute(sql["works"], {"project_id": project_id, "key_hash": key_hash, "now": now})
    [works] = await found.fetchone() or [False]
    return Login(KEY_ACTOR, {project_id: KEY_ROLE}, _csrf(cookie), KEY_ACTOR) if works else None


async def close_session(connection: AsyncConnection[Any], cookie: str) -> None:
    """End a session for good, whoever else has its cookie."""
    await connection.execute(queries("people")["close_session"], {"session_hash": _hash(cookie)})


async def _user_login(
    connection: AsyncConnection[Any], cookie: str, user_id: UUID, version: int, now: datetime
) -> Login | None:
    user = await (await connection.execute(queries("people")["user"], {"user_id": user_id})).fetchone()
    if user is None or user[4] != version:
        return None
    one_time_until = user[3]
    if one_time_until is not None and one_time_until <= now:
        return None
    roles: dict[UUID, UserRole] = {}
    if one_time_until is None:
        roles = dict(await (await connection.execute(queries("people")["roles"], {"user_id": user_id})).fetchall())
    return Login(
        actor=f"user {user[1]}",
        roles=roles,
        csrf=_csrf(cookie),
        name=user[1],
        user_id=user_id,
        must_choose_password=one_time_until is not None,
    )


async def _open(connection: AsyncConnection[Any], **owner: object) -> str:
    cookie = secrets.token_urlsafe(32)
    now = datetime.now(UTC)
    await connection.execute(queries("people")["forget_sessions"], {"now": now})
    parameters = {
        **dict.fromkeys(("admin_key", "user_id", "user_version", "project_id", "key_hash")),
        "session_hash": _hash(cookie),
        "expires_at": now + timedelta(seconds=SESSION_SECONDS),
        **owner,
    }
    await connection.execute(queries("people")["open_session"], parameters)
    return cookie


def _hash(cookie: str) -> bytes:
    # 256 random bits: a fast hash is as good as a slow one.
    return hashlib.sha256(cookie.encode("utf-8", "replace")).digest()


def _csrf(cookie: str) -> str:
    return hmac.new(cookie.encode("utf-8", "replace"), b"prooflog csrf", hashlib.sha256).hexdigest()


def _fingerprint(admin_token: str) -> bytes:
    return hashlib.sha256(b"prooflog dashboard session\0" + admin_token.encode()).digest()
