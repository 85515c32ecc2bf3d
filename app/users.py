"""Users of the dashboard and their roles: each change one transaction with the facts that tell of it."""

import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from psycopg import AsyncConnection

from app import passwords
from app.problems import Problem
from domain.events import UserAdded, UserPasswordChanged, UserRemoved, UserRole, UserRoleChanged
from domain.refusals import FieldError
from projections.event_log import append_facts
from projections.queries import queries

NAME_CHARACTERS_MAX = 100
USERS_MAX = 1_000
ONE_TIME_DAYS = 7

Connection = AsyncConnection[Any]


class User(NamedTuple):
    """Somebody with a role in a project; `one_time_until` while they have not chosen a password yet."""

    user_id: UUID
    name: str
    role: UserRole
    granted_at: datetime
    one_time_until: datetime | None


class Account(NamedTuple):
    """Somebody who can log in by name."""

    user_id: UUID
    name: str
    password_hash: str
    one_time_until: datetime | None
    version: int


class NewPassword(NamedTuple):
    """The hash of a password to set, and the password itself if it was made here, to be replaced."""

    password_hash: str
    one_time: str | None


class Added(NamedTuple):
    """A user who has a role now, and the password made for them, if one was."""

    name: str
    one_time_password: str | None
    is_new: bool


async def add_user(
    connection: Connection, project_id: UUID, name: str, role: UserRole, *, password: NewPassword, actor: str
) -> Added:
    """Give somebody a role in a project, and the password if nobody has that name yet.

    Problem 400 names what is wrong, 409 when they have a role here already, or when a password was chosen for
    somebody who has one.
    """
    name = clean_name(name)
    sql, now = queries("people"), datetime.now(UTC)
    async with connection.transaction():
        is_new = await _insert(connection, name, password, now)
        account = await find_account(connection, name)
        if len(await read_users(connection, project_id)) >= USERS_MAX:
            raise Problem(409, "too_many_users", f"a project may have {USERS_MAX:,} users at most")
        if account is not None and not is_new and password.one_time is None:
            raise _invalid("password", f"{account.name} has one already, and keeps it: leave it empty", status=409)
        if account is None or not await _lock(connection, account.user_id):
            raise Problem(409, "changed_meanwhile", f"{name} was removed at this moment: try again")
        keys = {"project_id": project_id, "user_id": account.user_id, "role": role, "granted_at": now}
        if (await connection.execute(sql["add_role"], keys)).rowcount == 0:
            raise _invalid("name", f"{account.name} has a role here already: change it in the list", status=409)
        if not is_new:
            await connection.execute(sql["end_user_sessions"], keys)
        fact = UserAdded(at=now, actor=actor, user_id=account.user_id, name=account.name, role=role)
        await append_facts(connection, project_id, [fact], now)
    return Added(account.name, password.one_time if is_new else None, is_new)


async def change_role(
    connection: Connection, project_id: UUID, user_id: UUID, role: UserRole, *, actor: str, keep_an_owner: bool
) -> None:
    """Another role for somebody, whose sessions end; with `keep_an_owner` not for the last owner."""
    now = datetime.now(UTC)
    async with connection.transaction():
        user = await _locked(connection, project_id, user_id, leaves=role != "owner", keep_an_owner=keep_an_owner)
        if user.role == role:
            return
        keys = {"project_id": project_id, "user_id": user_id, "role": role}
        await connection.execute(queries("people")["change_role"], keys)
        await connection.execute(queries("people")["end_user_sessions"], keys)
        fact = UserRoleChanged(at=now, actor=actor, user_id=user_id, name=user.name, role=role)
        await append_facts(connection, project_id, [fact], now)


async def remove_user(
    connection: Connection, project_id: UUID, user_id: UUID, *, actor: str, keep_an_owner: bool
) -> str:
    """Take somebody's role in a project, whose sessions end; who has none left is gone. Returns the name."""
    sql, now = queries("people"), datetime.now(UTC)
    keys = {"project_id": project_id, "user_id": user_id}
    async with connection.transaction():
        user = await _locked(connection, project_id, user_id, leaves=True, keep_an_owner=keep_an_owner)
        await connection.execute(sql["remove_role"], keys)
        left = await read_roles(connection, user_id)
        await connection.execute(sql["end_user_sessions" if left else "remove_user"], keys)
        fact = UserRemoved(at=now, actor=actor, user_id=user_id, name=user.name)
        await append_facts(connection, project_id, [fact], now)
    return user.name


async def new_password(chosen: str | None) -> NewPassword:
    """A password ready to be set: the chosen one, or one made here; Problem 400 says why it cannot be taken.

    Hashing takes a while: hold no connection meanwhile.
    """
    wrong = passwords.what_is_wrong(chosen) if chosen else None
    if wrong:
        raise _invalid("password", wrong)
    one_time = None if chosen else passwords.one_time_password()
    return NewPassword(await passwords.hash_password(chosen or one_time or ""), one_time)


async def set_password(connection: Connection, user_id: UUID, password: NewPassword, *, actor: str) -> None:
    """Another password for somebody, whose sessions end."""
    now = datetime.now(UTC)
    async with connection.transaction():
        roles = await read_roles(connection, user_id)
        await _lock_projects(connection, roles)
        if not await _lock(connection, user_id):
            raise unknown_user()
        account = await _account(connection, user_id)
        parameters = {"user_id": user_id, **_columns(password, now)}
        await connection.execute(queries("people")["set_password"], parameters)
        for project_id in roles:
            fact = UserPasswordChanged(at=now, actor=actor, user_id=user_id, name=account.name)
            await append_facts(connection, project_id, [fact], now)


async def read_users(connection: Connection, project_id: UUID) -> list[User]:
    """Who has a role in a project, by name."""
    cursor = await connection.execute(queries("people")["users"], {"project_id": project_id})
    return [User(*row) for row in await cursor.fetchall()]


async def read_roles(connection: Connection, user_id: UUID) -> dict[UUID, UserRole]:
    """The projects of a user, in a lasting order, with their role."""
    cursor = await connection.execute(queries("people")["roles"], {"user_id": user_id})
    return dict(await cursor.fetchall())


async def find_account(connection: Connection, name: str) -> Account | None:
    """Who has a name, however it is spelled."""
    if len(name) > NAME_CHARACTERS_MAX or "\0" in name:
        return None
    cursor = await connection.execute(queries("people")["user_named"], {"name_key": name_key(name)})
    row = await cursor.fetchone()
    return Account(*row) if row else None


async def any_user(connection: Connection) -> bool:
    """Whether anybody can log in by name."""
    row = await (await connection.execute(queries("people")["any_user"])).fetchone()
    return row is not None and bool(row[0])


async def check_password(account: Account | None, password: str) -> Account | None:
    """The account if the password is its own; takes as long whether or not there is one.

    Hold no connection meanwhile. Problem 401 where the password was for one time and its days are over.
    """
    known = await passwords.is_password(password, account.password_hash if account else None)
    if not known or account is None:
        return None
    if account.one_time_until is not None and account.one_time_until <= datetime.now(UTC):
        raise Problem(401, "password_expired", "this one-time password was not used in time: ask for another one")
    return account


def clean_name(name: str) -> str:
    """A name as it is shown; Problem 400 when it cannot be one."""
    cleaned = unicodedata.normalize("NFC", " ".join(name.split()))
    if not 1 <= len(cleaned) <= NAME_CHARACTERS_MAX:
        raise _invalid("name", f"must hold 1 to {NAME_CHARACTERS_MAX} characters")
    if any(unicodedata.category(character)[0] == "C" for character in cleaned):
        raise _invalid("name", "holds characters that nobody can see")
    return cleaned


def name_key(name: str) -> str:
    """What all spellings of one name share."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", " ".join(name.split())).casefold())


def unknown_user() -> Problem:
    """404: nobody with that id."""
    return Problem(404, "unknown_user", "this project has no such user")


async def _insert(connection: Connection, name: str, password: NewPassword, now: datetime) -> bool:
    parameters = {
        "user_id": uuid4(),
        "name": name,
        "name_key": name_key(name),
        **_columns(password, now),
        "created_at": now,
    }
    return (await connection.execute(queries("people")["add_user"], parameters)).rowcount == 1


async def _locked(
    connection: Connection, project_id: UUID, user_id: UUID, *, leaves: bool, keep_an_owner: bool
) -> User:
    """A user of a project whose people nobody else changes until the end of the transaction."""
    await _lock_projects(connection, [project_id])
    await _lock(connection, user_id)
    users = await read_users(connection, project_id)
    user = next((user for user in users if user.user_id == user_id), None)
    if user is None:
        raise unknown_user()
    owners = [user for user in users if user.role == "owner"]
    if keep_an_owner and leaves and owners == [user]:
        why = f"{user.name} is the last owner: make somebody else an owner first, or log in with the admin token"
        raise _invalid("role", why, status=409)
    return user


async def _lock_projects(connection: Connection, project_ids: Any) -> None:  # noqa: ANN401  (any iterable)
    for project_id in project_ids:
        await connection.execute(queries("projects")["lock_project"], {"project_id": project_id})


async def _lock(connection: Connection, user_id: UUID) -> bool:
    return (await connection.execute(queries("people")["lock_user"], {"user_id": user_id})).rowcount == 1


async def _account(connection: Connection, user_id: UUID) -> Account:
    row = await (await connection.execute(queries("people")["user"], {"user_id": user_id})).fetchone()
    if row is None:
        raise unknown_user()
    return Account(*row)


def _columns(password: NewPassword, now: datetime) -> dict[str, object]:
    until = now + timedelta(days=ONE_TIME_DAYS) if password.one_time else None
    return {"password_hash": password.password_hash, "one_time_until": until}


def _invalid(path: str, reason: str, status: int = 400) -> Problem:
    return Problem(status, "invalid_user", f"{path}: {reason}", errors=[FieldError(path=path, reason=reason)])
