"""What people take along: results and events as files."""

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO
from typing import cast, get_args
from uuid import UUID

from litestar import Response, get
from litestar.params import FromPath
from litestar.response import Stream

from app.database import connect
from app.export import Format, event_parts, export_results, head_of
from app.find_results import as_position
from app.http.dashboard.access import require_experiment, require_role
from app.http.dashboard.pages import SECURITY_HEADERS, AnyRequest, services_of
from app.http.dashboard.settings import PROJECT, parse_project
from app.http.results import find_results
from app.problems import Problem
from app.services import Services

_MEDIA_TYPES: dict[Format, str] = {
    "csv": "text/csv; charset=utf-8",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}


@get("/experiments/{experiment_id:str}/export", include_in_schema=False)
async def export_of_results(request: AnyRequest, experiment_id: FromPath[str]) -> Response[bytes]:
    """The results of an experiment in a `format`, at the `asOf` and by the `method` of the page."""
    project_id, wanted = await require_experiment(request, experiment_id, "viewer")
    return await results_file(request, project_id, wanted)


async def results_file(request: AnyRequest, project_id: UUID, experiment_id: UUID) -> Response[bytes]:
    """A row for each goal and variant, as a file."""
    form, query = _format(request), request.query_params
    results = await find_results(
        services_of(request),
        project_id,
        experiment_id,
        as_of=query.get("asOf", "").strip() or None,
        method=query.get("method", "") or "always_valid",
    )
    target = BytesIO()
    await asyncio.to_thread(export_results, results, form, target)
    name = f"results-{experiment_id}-{results.as_of.position}.{form}"
    return Response(target.getvalue(), media_type=_MEDIA_TYPES[form], headers=_headers(name))


@get(f"{PROJECT}/events", include_in_schema=False)
async def export_of_events(request: AnyRequest, project_id: FromPath[str]) -> Stream:
    """The events of a project in a `format`, up to the position `asOf` or to the end of the log.

    Events name visitors and what they did one by one, so this takes an editor.
    """
    wanted = parse_project(project_id)
    require_role(request, wanted, "editor")
    form, asked = _format(request), request.query_params.get("asOf", "").strip()
    services = services_of(request)
    async with services.pool.connection() as connection:
        head = await head_of(connection, wanted)
    until = _position(asked, head) if asked else head
    parts = _event_parts(services, wanted, form, until)
    # What is refused, or missing in the archive, is told before the file begins.
    first = await anext(parts)

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for part in parts:
            yield part

    return Stream(whole(), media_type=_MEDIA_TYPES[form], headers=_headers(f"events-{wanted}-{until}.{form}"))


async def _event_parts(services: Services, project_id: UUID, form: Format, until: int) -> AsyncIterator[bytes]:
    archive = services.settings.archive_dir
    async with services.event_exports.turn(), await connect(services.database_url) as connection:
        async for _, part in event_parts(connection, project_id, form, until, archive):
            yield part


def _format(request: AnyRequest) -> Format:
    form = request.query_params.get("format", "csv")
    if form not in get_args(Format):
        raise Problem(400, "invalid_query", "format is none of csv, ndjson and parquet")
    return cast("Format", form)


def _position(text: str, head: int) -> int:
    position = as_position(text)
    if position is None:
        raise Problem(400, "invalid_query", "asOf is no position of the log")
    if position > head:
        raise Problem(400, "invalid_query", "asOf is beyond the end of the log")
    return position


def _headers(name: str) -> dict[str, str]:
    return {
        **SECURITY_HEADERS,
        "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="{name}"',
    }
