"""The demo shop: its page, and the backend that reports paid orders as a customer's would."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency

from app.decoding import decode_server_event
from app.demo import PAGE, Demo, read_demo
from app.http.backend import decode_body
from app.problems import Problem
from app.script import render_demo
from app.services import Services

ASSIGNMENTS_MAX = 20


class _Assignment(msgspec.Struct, rename="camel"):
    experiment_id: str
    variant_id: str


class _Order(msgspec.Struct, rename="camel"):
    visitor_id: str
    amount: float
    assignments: list[_Assignment] = []


@get(PAGE, include_in_schema=False)
async def demo_page(request: Request[Any, Any, Any], services: NamedDependency[Services]) -> Response[bytes]:
    """A shop page with the running experiment."""
    demo = await _demo(services)
    origin = str(request.base_url).rstrip("/")
    script_url = f"{origin}/api/analytics/script.js?projectId={demo.project_id}"
    body = render_demo(str(demo.project_id), script_url)
    return Response(body, media_type="text/html", headers={"Cache-Control": "no-store"})


@post(f"{PAGE}/orders", include_in_schema=False, status_code=201)
async def demo_order(request: Request[Any, Any, Any], services: NamedDependency[Services]) -> Response[bytes]:
    """Report a paid order for each experiment whose assignment the page forwarded."""
    demo = await _demo(services)
    order = await decode_body(request, _Order)
    now = datetime.now(UTC)
    project = await services.projects.get(services.pool, demo.project_id)
    assignments: list[_Assignment | None] = [*order.assignments[:ASSIGNMENTS_MAX]]
    events = [
        decode_server_event(
            _server_event(order, assignment), now, services.horizon, lambda ip: project.hash_address(ip, now)
        )
        for assignment in assignments or [None]
    ]
    await services.writer.write(demo.project_id, events)
    return Response(b'{"paid": true}', media_type="application/json", status_code=201)


def _server_event(order: _Order, assignment: _Assignment | None) -> bytes:
    return msgspec.json.encode(
        {
            "eventType": "conversion",
            "eventName": "order_paid",
            "visitor": {"id": order.visitor_id},
            "page": PAGE,
            "properties": {"amount": order.amount},
            "experimentId": assignment.experiment_id if assignment else None,
            "variantId": assignment.variant_id if assignment else None,
        }
    )


async def _demo(services: Services) -> Demo:
    demo = await asyncio.to_thread(read_demo, services.settings.data_dir)
    if demo is None:
        raise Problem(404, "no_demo", "this server was started without its demo (`prooflog demo` makes one)")
    return demo
