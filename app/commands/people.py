"""Commands that manage users of the dashboard."""

import asyncio
import sys
from uuid import UUID

import click

from app.commands.management import ACTOR
from app.commands.session import Connection, find_project, told_in_one_line, with_database
from app.projects import read_projects
from app.settings import Settings
from app.users import (
    Added,
    NewPassword,
    User,
    add_user,
    find_account,
    new_password,
    read_users,
    remove_user,
    set_password,
)
from domain.events import UserRole

_stdin = click.option("--password-stdin", is_flag=True, help="Read the password, one line, from standard input.")


@click.group()
def user() -> None:
    """Users of the dashboard, and their role in each project."""


@user.command("add")
@click.argument("name")
@click.option("--project", "project_name", help="Id or name; not needed when there is only one.")
@click.option("--role", type=click.Choice(["viewer", "editor", "owner"]), default="viewer", show_default=True)
@_stdin
@click.pass_obj
def add(settings: Settings, name: str, project_name: str | None, role: UserRole, *, password_stdin: bool) -> None:
    """Give somebody a role in a project, with a one-time password if they are new."""
    password = _password(from_stdin=password_stdin)

    async def work(connection: Connection, _url: str) -> Added:
        found = await find_project(connection, project_name)
        return await add_user(connection, found.project_id, name, role, password=password, actor=ACTOR)

    added = with_database(settings, work)
    click.echo(f"{added.name} is {role} now")
    if added.one_time_password:
        _show(added.one_time_password)
    elif not added.is_new:
        click.echo("They have a password from another project, and keep it.", err=True)


@user.command("list")
@click.option("--project", "project_name", help="Id or name; without it all projects.")
@click.pass_obj
def list_users(settings: Settings, project_name: str | None) -> None:
    """List who has which role in which project."""

    async def work(connection: Connection, _url: str) -> list[tuple[str, User]]:
        if project_name is None:
            projects = await read_projects(connection)
        else:
            projects = [await find_project(connection, project_name)]
        return [(known.name, one) for known in projects for one in await read_users(connection, known.project_id)]

    for project, known in with_database(settings, work):
        waits = "  (has not logged in yet)" if known.one_time_until else ""
        click.echo(f"{known.role:6}  {known.name}  in {project}{waits}")


@user.command("remove")
@click.argument("name")
@click.option("--project", "project_name", help="Id or name; not needed when there is only one.")
@click.pass_obj
def remove(settings: Settings, name: str, project_name: str | None) -> None:
    """Take somebody's role in a project away; where they are logged in ends."""

    async def work(connection: Connection, _url: str) -> str:
        found = await find_project(connection, project_name)
        user_id = await _find(connection, name)
        return await remove_user(connection, found.project_id, user_id, actor=ACTOR, keep_an_owner=False)

    click.echo(f"{with_database(settings, work)} is removed")


@user.command("set-password")
@click.argument("name")
@_stdin
@click.pass_obj
def set_password_of(settings: Settings, name: str, *, password_stdin: bool) -> None:
    """Give somebody another password, by default one for one time; where they are logged in ends."""
    password = _password(from_stdin=password_stdin)

    async def work(connection: Connection, _url: str) -> None:
        await set_password(connection, await _find(connection, name), password, actor=ACTOR)

    with_database(settings, work)
    click.echo("the password is set")
    if password.one_time:
        _show(password.one_time)


async def _find(connection: Connection, name: str) -> UUID:
    account = await find_account(connection, name)
    if account is None:
        raise click.ClickException(f"there is no user {name!r}")
    return account.user_id


def _password(*, from_stdin: bool) -> NewPassword:
    chosen = sys.stdin.readline().rstrip("\r\n") if from_stdin else None
    if chosen == "":
        raise click.ClickException("there is no password on standard input")
    with told_in_one_line():
        return asyncio.run(new_password(chosen))


def _show(one_time: str) -> None:
    click.echo(f"one-time password  {one_time}")
    click.echo("It is shown only now, works for 7 days, and is replaced at the first login.", err=True)
