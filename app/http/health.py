"""Whether the server is well, for load balancers and Prometheus."""

import psycopg
from litestar import Response, get
from litestar.di import NamedDependency
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.problems import Problem
from app.services import Services
from projections.generations import ProjectStatus, status


@get("/healthz", summary="Whether the process answers", tags=["operations"])
async def healthz() -> dict[str, str]:
    """Always ok while the process lives."""
    return {"status": "ok"}


@get("/readyz", summary="Whether requests can be served", tags=["operations"])
async def readyz(services: NamedDependency[Services]) -> dict[str, str]:
    """Ok while the database answers; 503 otherwise."""
    try:
        async with services.pool.connection(timeout=2) as connection:
            await connection.execute("select 1")
    except (psycopg.Error, OSError):
        raise Problem(
            503, "database_unavailable", "the database does not answer", headers={"Retry-After": "1"}
        ) from None
    return {"status": "ready"}


@get("/metrics", summary="Prometheus metrics", tags=["operations"], media_type="text/plain")
async def metrics(services: NamedDependency[Services]) -> Response[bytes]:
    """Counters and gauges of this process, and the lag of every project."""
    async with services.pool.connection() as connection:
        projects = await status(connection)
    registry = CollectorRegistry()
    registry.register(_Metrics(services, projects))
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")


class _Metrics(Collector):
    def __init__(self, services: Services, projects: list[ProjectStatus]) -> None:
        self._services = services
        self._projects = projects

    def collect(self) -> list[Metric]:
        writer = self._services.writer
        lag = GaugeMetricFamily(
            "prooflog_projection_lag_events", "Events in the log that are not counted yet", labels=["project"]
        )
        log = CounterMetricFamily("prooflog_log_events", "Events in the log", labels=["project"])
        for project in self._projects:
            lag.add_metric([str(project.project_id)], project.head - project.position)
            log.add_metric([str(project.project_id)], project.head)
        return [
            CounterMetricFamily("prooflog_commits", "Commits of this process", value=writer.commits),
            CounterMetricFamily(
                "prooflog_events_written", "Events that this process appended", value=writer.events_written
            ),
            GaugeMetricFamily(
                "prooflog_queued_events", "Events that wait for their commit", value=writer.queued_events
            ),
            lag,
            log,
        ]
