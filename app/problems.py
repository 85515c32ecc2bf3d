"""Problem details (RFC 9457): every refusal that leaves the server has this one shape."""

import logging
import re
from http import HTTPStatus
from typing import Any

import msgspec
import psycopg
from litestar import Request, Response
from litestar.exceptions import HTTPException
from psycopg_pool import PoolTimeout

from app.log_writer import Overloaded, Unavailable
from domain.refusals import FieldError, Refusal
from projections.archived_log import ArchiveError
from projections.generations import OtherLayoutError

_log = logging.getLogger("prooflog.http")

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = "1"

_PATH = re.compile(r"^(?P<reason>.*?) - at `(?P<path>[^`]+)`$", re.DOTALL)
_STATUS_BY_KIND = {"invalid": 400, "not_found": 404, "conflict": 409}


class ProblemBody(msgspec.Struct, omit_defaults=True):
    """The JSON of a problem detail."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []


class Problem(Exception):  # noqa: N818  (it is an answer, not a defect)
    """An answer that refuses: a status, a name that programs can rely on, a sentence for people."""

    def __init__(
        self,
        status: int,
        name: str,
        detail: str,
        *,
        errors: list[FieldError] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.name = name
        self.detail = detail
        self.errors = errors or []
        self.headers = headers or {}


def not_usable(error: msgspec.ValidationError, name: str = "invalid_body") -> Problem:
    """400 for a body of another shape than the documented one; says where and why."""
    text = str(error)
    found = _PATH.match(text)
    path, reason = (found["path"].removeprefix("$."), found["reason"]) if found else ("$", text)
    field = FieldError(path=path, reason=reason)
    return Problem(400, name, f"the body has not the documented shape: {text}", errors=[field])


def answer_problem(_request: Request[Any, Any, Any], problem: Problem) -> Response[bytes]:
    """A Problem as HTTP."""
    return _response(problem.status, problem.name, problem.detail, problem.errors, problem.headers)


def answer_refusal(_request: Request[Any, Any, Any], refusal: Refusal) -> Response[bytes]:
    """A refusal of the domain as HTTP; its name is the problem's type."""
    errors = list(getattr(refusal, "errors", []))
    return _response(_STATUS_BY_KIND[refusal.status], refusal.name, str(refusal), errors)


def answer_overloaded(_request: Request[Any, Any, Any], error: Overloaded | Unavailable) -> Response[bytes]:
    """503: nothing was acknowledged, try again."""
    name = "overloaded" if isinstance(error, Overloaded) else "database_unavailable"
    return _response(503, name, str(type(error).__doc__), headers={"Retry-After": RETRY_AFTER_SECONDS})


def answer_replaced(_request: Request[Any, Any, Any], error: OtherLayoutError) -> Response[bytes]:
    """503: what this server would read may mean something else than it seems; another one may answer."""
    return _response(503, "other_version", str(error), headers={"Retry-After": RETRY_AFTER_SECONDS})


def answer_archive(_request: Request[Any, Any, Any], error: ArchiveError) -> Response[bytes]:
    """503 that names the file of the archive that is missing or was changed."""
    _log.error("%s", error)
    return _response(503, "archive_unavailable", str(error))


def answer_http_exception(_request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What the framework refuses by itself: no such path, wrong method, bad query, body too large."""
    errors = [
        FieldError(path=str(entry.get("key", "$")), reason=str(entry.get("message", "not usable")))
        for entry in (error.extra if isinstance(error.extra, list) else [])
        if isinstance(entry, dict)
    ]
    phrase = HTTPStatus(error.status_code).phrase
    name = phrase.lower().replace(" ", "_")
    detail = error.detail if error.status_code < 500 else phrase  # noqa: PLR2004
    if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        name, detail = "body_too_large", "the body is larger than the server takes"
    headers = {key: value for key, value in (error.headers or {}).items() if key.lower() != "content-type"}
    return _response(error.status_code, name, detail or phrase, errors, headers)


def answer_defect(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """500 for a defect of ours: the log has the trace, the answer has none."""
    if isinstance(error, psycopg.OperationalError | PoolTimeout):
        _log.error("the database did not answer %s %s: %s", request.method, request.url.path, error)
        return answer_overloaded(request, Unavailable())
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _response(500, "internal_error", "this is a defect of the server; its log says more")


def _response(
    status: int,
    name: str,
    detail: str,
    errors: list[FieldError] | None = None,
    headers: dict[str, str] | None = None,
) -> Response[bytes]:
    body = ProblemBody(
        type=f"urn:prooflog:problem:{name}",
        title=name.replace("_", " "),
        status=status,
        detail=detail,
        errors=errors or [],
    )
    return Response(msgspec.json.encode(body), status_code=status, media_type=MEDIA_TYPE, headers=headers)
