"""What owners do on the settings page: users with their roles, and links that share an experiment."""

from typing import Any, cast, get_args
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import ServerSentEvent

from app.http.dashboard.access import Login, Role, require_role
from app.http.dashboard.experiment import results_page
from app.http.dashboard.exports import results_file
from app.http.dashboard.live import live_stream
from app.http.dashboard.pages import SHARED, AnyRequest, WayBack, form_of, own_origin, services_of
from app.http.dashboard.settings import PROJECT, parse_project, show_settings, to_settings
from app.problems import Problem
from app.share_links import find_shared, make_share_link, revoke_share_link
from app.users import (
    add_user,
    change_role,
    read_roles,
    read_users,
    remove_user,
    set_password,
    unknown_user,
)
from app.users import new_password as prepare_password
from domain.refusals import FieldError

_USER = f"{PROJECT}/users/{{user_id:str}}"


@post(f"{PROJECT}/users", include_in_schema=False)
async def new_user(request: AnyRequest, project_id: FromPath[str]) -> Response[Any]:
    """Give somebody a role; a password made for them is shown this once."""
    wanted = parse_project(project_id)
    login = require_role(request, wanted, "owner")
    form = await form_of(request)
    name = form.get("name", "")
    try:
        role, password = _role(form), await prepare_password(form.get("password"))
        async with services_of(request).pool.connection() as connection:
            added = await add_user(connection, wanted, name, role, password=password, actor=login.actor)
    except Problem as problem:
        given = {"name": name, "role": form.get("role")}
        return await show_settings(request, wanted, failed="users", problem=problem, given=given)
    services_of(request).changed(wanted)
    if added.one_time_password:
        return await show_settings(request, wanted, user=added.name, one_time_password=added.one_time_password)
    return to_settings(wanted, "users")


@post(f"{_USER}/role", include_in_schema=False)
async def new_role(request: AnyRequest, project_id: FromPath[str], user_id: FromPath[str]) -> Response[Any]:
    """Another role for somebody, who then has to log in again."""
    wanted = parse_project(project_id)
    login = require_role(request, wanted, "owner")
    user, form = _parse_user(user_id), await form_of(request)
    async with services_of(request).pool.connection() as connection:
        try:
            await change_role(
                connection,
                wanted,
                user,
                _role(form),
                actor=login.actor,
                keep_an_owner=login.roles is not None,
            )
        except Problem as problem:
            return await show_settings(request, wanted, failed="user-list", problem=problem)
    services_of(request).changed(wanted)
    return to_settings(wanted, "users")


@post(f"{_USER}/remove", include_in_schema=False)
async def no_user(request: AnyRequest, project_id: FromPath[str], user_id: FromPath[str]) -> Response[Any]:
    """Take somebody's role away; their sessions end."""
    wanted = parse_project(project_id)
    login = require_role(request, wanted, "owner")
    user, keep_an_owner = _parse_user(user_id), login.roles is not None
    async with services_of(request).pool.connection() as connection:
        try:
            await remove_user(connection, wanted, user, actor=login.actor, keep_an_owner=keep_an_owner)
        except Problem as problem:
            return await show_settings(request, wanted, failed="user-list", problem=problem)
    services_of(request).changed(wanted)
    return to_settings(wanted, "users")


@post(f"{_USER}/password", include_in_schema=False)
async def another_password(
    request: AnyRequest, project_id: FromPath[str], user_id: FromPath[str]
) -> Response[Any]:
    """A one-time password for somebody who forgot theirs, shown this once; their sessions end."""
    wanted = parse_project(project_id)
    login = require_role(request, wanted, "owner")
    user, password = _parse_user(user_id), await prepare_password(None)
    async with services_of(request).pool.connection() as connection:
        names = {known.user_id: known.name for known in await read_users(connection, wanted)}
        if user not in names:
            raise unknown_user()
        roles = await read_roles(connection, user)
        try:
            _refuse_to_take_over(login, names[user], list(roles))
        except Problem as problem:
            return await show_settings(request, wanted, failed="user-list", problem=problem)
        await set_password(connection, user, password, actor=login.actor)
    for project in roles:
        services_of(request).changed(project)
    return await show_settings(request, wanted, user=names[user], one_time_password=password.one_time)


@post(f"{PROJECT}/share-links", include_in_schema=False)
async def new_link(request: AnyRequest, project_id: FromPath[str]) -> Response[Any]:
    """A link that shows one experiment's results to whoever has it; its address is shown this once."""
    wanted = parse_project(project_id)
    login = require_role(request, wanted, "owner")
    form = await form_of(request)
    experiment_id, link_id = _parse_id(form.get("experiment", "")), _parse_id(form.get("link_id", ""))
    async with services_of(request).pool.connection() as connection:
        try:
            token = await make_share_link(connection, wanted, experiment_id, link_id=link_id, actor=login.actor)
        except Problem as problem:
            return await show_settings(request, wanted, failed="links", problem=problem)
    services_of(request).changed(wanted)
    return await show_settings(request, wanted, link=f"{own_origin(request)}{SHARED}/{token}")


@post(f"{PROJECT}/share-links/{{link_id:str}}/revoke", include_in_schema=False)
async def no_link(request: AnyRequest, project_id: FromPath[str], link_id: FromPath[str]) -> Response[Any]:
    """Let a link show nothing any more."""
    wanted = parse_project(project_id)
    login = require_role(request, wanted, "owner")
    async with services_of(request).pool.connection() as connection:
        await revoke_share_link(connection, wanted, _parse_id(link_id), actor=login.actor)
    services_of(request).changed(wanted)
    return to_settings(wanted, "links")


@get("/shared/{token:str}", include_in_schema=False)
async def shared_page(request: AnyRequest, token: FromPath[str]) -> Response[bytes]:
    """The results of the one experiment that a link shares, for whoever has it."""
    project_id, experiment_id = await _shared(request, token)
    return await results_page(request, project_id, experiment_id, here=f"{SHARED}/{token}")


@get("/shared/{token:str}/export", include_in_schema=False)
async def shared_export(request: AnyRequest, token: FromPath[str]) -> Response[bytes]:
    """The same results as a file."""
    project_id, experiment_id = await _shared(request, token)
    return await results_file(request, project_id, experiment_id)


@get("/shared/{token:str}/live", include_in_schema=False)
async def shared_live(request: AnyRequest, token: FromPath[str]) -> ServerSentEvent:
    """What `live_stream` sends, until the link is revoked."""

    async def may_go_on() -> bool:
        try:
            await _shared(request, token)
        except Problem:
            return False
        return True

    project_id, _ = await _shared(request, token)
    return await live_stream(
        request, project_id, may_go_on, over="These numbers stand still: this link was withdrawn."
    )


async def _shared(request: AnyRequest, token: str) -> tuple[UUID, UUID]:
    async with services_of(request).pool.connection() as connection:
        shared = await find_shared(connection, token)
    request.state.way_back = WayBack(f"{SHARED}/{token}", "The results that this link shares")
    return shared


def _refuse_to_take_over(login: Login, name: str, project_ids: list[UUID]) -> None:
    """Who sets a password can log in with it, so they must be owner of all that it opens."""
    if not all(login.may(project_id, "owner") for project_id in project_ids):
        reason = f"{name} has a role in a project that is not yours: only the admin can set their password"
        raise Problem(403, "role_too_low", reason, errors=[FieldError(path="password", reason=reason)])


def _role(form: dict[str, str]) -> Role:
    role = form.get("role")
    if role not in get_args(Role):
        reason = "is none of viewer, editor and owner"
        raise Problem(400, "invalid_user", f"role: {reason}", errors=[FieldError(path="role", reason=reason)])
    return cast("Role", role)


def _parse_user(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise unknown_user() from None


def _parse_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Problem(400, "invalid_form", "this form is not complete: load its page again") from None
