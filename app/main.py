"""Builds the HTTP application: routes, services, error map."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Request, Response, get
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.response import Redirect

from app import problems
from app.http.backend import backend_router
from app.http.browser import allow_any_origin, browser_router, take_plain_batches
from app.http.dashboard import dashboard_router
from app.http.dashboard.pages import HOME, as_page
from app.http.demo import demo_order, demo_page
from app.http.health import healthz, metrics, readyz
from app.http.openapi import openapi_assets, openapi_config
from app.http.results import results
from app.json_body import BODY_BYTES_MAX
from app.log_writer import Overloaded, Unavailable
from app.problems import Problem
from app.services import Services, open_services
from app.settings import Settings
from domain.refusals import Refusal
from projections.archived_log import ArchiveError
from projections.generations import OtherLayoutError

VERSION = "0.1.0"


def create_app(settings: Settings, database_url: str, admin_token: str, *, with_worker: bool = True) -> Litestar:
    """The application over a migrated database."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with open_services(settings, database_url, admin_token, with_worker=with_worker) as services:
            app.state.services = services
            yield

    app = Litestar(
        route_handlers=[
            browser_router,
            backend_router,
            dashboard_router,
            front_door,
            results,
            healthz,
            readyz,
            metrics,
            demo_page,
            demo_order,
            openapi_assets(),
        ],
        lifespan=[lifespan],
        dependencies={"services": Provide(_services, sync_to_thread=False)},
        middleware=[allow_any_origin],
        exception_handlers={
            Problem: problems.answer_problem,
            Refusal: problems.answer_refusal,
            Overloaded: problems.answer_overloaded,
            Unavailable: problems.answer_overloaded,
            ArchiveError: problems.answer_archive,
            OtherLayoutError: problems.answer_replaced,
            HTTPException: _answer_http_exception,
            Exception: problems.answer_defect,
        },
        openapi_config=openapi_config(VERSION),
        request_max_body_size=BODY_BYTES_MAX,
        logging_config=None,
    )
    app.asgi_handler = take_plain_batches(app.asgi_handler)
    return app


@get("/", include_in_schema=False)
async def front_door() -> Response[Any]:
    """Who opens the server's address in a browser wants the dashboard."""
    return Redirect(HOME, status_code=303)


def _answer_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """As a page where the dashboard has none: what no route takes does not come to its own handlers."""
    answer = problems.answer_http_exception
    return (as_page(answer) if f"{request.url.path}/".startswith(f"{HOME}/") else answer)(request, error)


def _services(state: State) -> Services:
    services: Services = state.services
    return services


logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
