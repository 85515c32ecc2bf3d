"""Logging in and out."""

from typing import Any

from litestar import Response, get, post
from litestar.response import Redirect

from app.http.auth import COOKIE, is_admin_token, session_cookie
from app.http.dashboard.access import find_login
from app.http.dashboard.pages import HOME, LOGIN, AnyRequest, own_path, page, services_of


@get("/login", include_in_schema=False)
async def login_page(request: AnyRequest) -> Response[Any]:
    """The form that asks for the admin token; on to the dashboard for who is logged in."""
    back = own_path(request.query_params.get("next"))
    if await find_login(request) is not None:
        return Redirect(back, status_code=303)
    return page(request, "login.html", back=back, message=None)


@post("/login", include_in_schema=False)
async def log_in(request: AnyRequest) -> Response[Any]:
    """A session for the admin token, and back to the page asked for; the form again for any other."""
    form = await request.form()
    token, back = form.get("token"), form.get("next")
    back = own_path(back if isinstance(back, str) else None)
    admin_token = services_of(request).admin_token
    if not (isinstance(token, str) and is_admin_token(token.strip(), admin_token)):
        return page(request, "login.html", 401, back=back, message="That is not the admin token of this server.")
    redirect = Redirect(back, status_code=303)
    redirect.set_cookie(session_cookie(admin_token, secure=request.url.scheme == "https"))
    return redirect


@post("/logout", include_in_schema=False)
async def log_out() -> Response[Any]:
    """Forget the session."""
    redirect = Redirect(LOGIN, status_code=303)
    redirect.delete_cookie(COOKIE, path="/")
    return redirect


@get("/logout", include_in_schema=False)
async def nothing_to_see() -> Response[Any]:
    """Who opens the address of the log-out button goes to the first page, logged in or not."""
    return Redirect(HOME, status_code=303)
