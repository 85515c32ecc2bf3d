"""What every page of the dashboard is made of: where it lies, its headers, its errors."""

import re
import secrets
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
from litestar import Request, Response

from app.compression import chosen_coding, quickly_compressed
from app.http.auth import came_by_tls
from app.problems import ProblemBody
from app.services import Services
from app.sheets import Sheet, sheet_number, sheet_of
from app.templates import render

HOME = "/dashboard"
LOGIN = f"{HOME}/login"
LOGOUT = f"{HOME}/logout"
ACCOUNT = f"{HOME}/account"
SHARED = f"{HOME}/shared"

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self' data:;"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Robots-Tag": "noindex, nofollow",
}
# No dots, backslashes or second slash at the start: nothing that a browser could read as another place.
_OWN_PATH = re.compile(r"/dashboard(?:/[A-Za-z0-9_-]+)*(?:\?[A-Za-z0-9_.:%&=+-]*)?")

# Of a list as long as it may become, each page.
ROWS_MAX = 50

AnyRequest = Request[Any, Any, Any]
_Row = TypeVar("_Row")


class WayBack(NamedTuple):
    """The page to go back to from a refusal: of what the address names, where it may be seen."""

    address: str
    words: str


def page(request: AnyRequest, name: str, /, status: int = 200, **context: object) -> Response[bytes]:
    """A template as an answer that no cache keeps; it gets `login` and `csrf` of who asks by itself."""
    headers = {**SECURITY_HEADERS, "Cache-Control": "no-store", "Vary": "Accept-Encoding"}
    if request.url.path.startswith(SHARED):  # its address is the secret
        headers["Referrer-Policy"] = "no-referrer"
    login = request.state.get("login")
    body = render(name, login=login, csrf=masked(login.csrf) if login else "", **context)
    coding = chosen_coding(request.headers.get("accept-encoding", ""))
    if coding is not None:
        body, headers["Content-Encoding"] = quickly_compressed(body, coding), coding
    return Response(body, status_code=status, media_type="text/html", headers=headers)


def turned(request: AnyRequest, name: str, rows: Sequence[_Row], each: int | None = None) -> Sheet[_Row]:
    """The page of a list that the query asks for under `name`."""
    return sheet_of(rows, each or ROWS_MAX, sheet_number(request.query_params.get(name, "")))


def masked(token: str) -> str:
    """A hexadecimal token in another form each time.

    What is compressed together with something that others choose can be guessed by its length, if it is
    always the same (the BREACH attack).
    """
    known = bytes.fromhex(token)
    mask = secrets.token_bytes(len(known))
    return (mask + bytes(a ^ b for a, b in zip(mask, known, strict=True))).hex()


def unmasked(text: str) -> str:
    """The token in what `masked` gave; nothing for what it never gave."""
    try:
        both = bytes.fromhex(text)
        mask, rest = both[: len(both) // 2], both[len(both) // 2 :]
        return bytes(a ^ b for a, b in zip(mask, rest, strict=True)).hex()
    except ValueError:
        return ""


def as_page(answer: Callable[..., Response[bytes]]) -> Callable[..., Response[bytes]]:
    """The same answer as the API gives, as a page; as it is to a script, which says it beside what was used."""

    def answer_page(request: AnyRequest, error: Exception) -> Response[bytes]:
        told = answer(request, error)
        if "hx-request" in request.headers:
            told.headers.update({**SECURITY_HEADERS, "Cache-Control": "no-store"})
            return told
        problem = msgspec.json.decode(told.content, type=ProblemBody)
        path, way_back = request.url.path, request.state.get("way_back")
        if way_back and way_back.address == path and not request.url.query:
            way_back = None  # it is the page that was refused
        shown = page(request, "problem.html", problem.status, problem=problem, path=path, way_back=way_back)
        shown.headers.update(told.headers)
        return shown

    return answer_page


def own_path(wanted: str | None) -> str:
    """The page to go on to: the one wanted if it is surely the dashboard's, or else its first."""
    if wanted is None or not _OWN_PATH.fullmatch(wanted) or wanted.partition("?")[0] == LOGIN:
        return HOME
    return wanted


def own_origin(request: AnyRequest) -> str:
    """The scheme and host by which the browser reached this page."""
    base = str(request.base_url).rstrip("/")
    return base.replace("http://", "https://", 1) if came_by_tls(request) else base


async def form_of(request: AnyRequest) -> dict[str, str]:
    """The fields of a form that hold text; of several with one name the last."""
    return {name: value for name, value in (await request.form()).items() if isinstance(value, str)}


def services_of(request: AnyRequest) -> Services:
    """What the running server holds."""
    services: Services = request.app.state.services
    return services
