"""What load balancers, Prometheus and readers of the API docs ask for."""

import httpx
import psycopg
import pytest
from syrupy.assertion import SnapshotAssertion

from app import log_writer
from tests.app.http_project import API, HttpProject, event
from tests.app.wire_shape import wire


async def test_a_well_server_says_so(client: httpx.AsyncClient, snapshot: SnapshotAssertion) -> None:
    """The process lives, and its database answers."""
    assert [wire(await client.get(path)) for path in ("/healthz", "/readyz")] == snapshot


async def test_metrics_count_what_the_log_holds(project: HttpProject) -> None:
    """Prometheus text with the log's length and the lag of each project."""
    await project.accepted(event(), event())
    answer = await project.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    label = f'{{project="{project.project_id}"}}'
    assert f"prooflog_log_events_total{label} 4.0" in lines  # two facts made the project
    assert "prooflog_events_written_total 2.0" in lines
    assert any(line.startswith(f"prooflog_projection_lag_events{label} ") for line in lines)


async def test_the_interface_describes_itself(client: httpx.AsyncClient) -> None:
    """OpenAPI 3.1 with every route of the interface, and a page to read it."""
    described = (await client.get("/schema/openapi.json")).json()
    assert described["openapi"].startswith("3.1")
    routes = {f"{method.upper()} {path}" for path, methods in described["paths"].items() for method in methods}
    assert routes >= {
        f"GET {API}/script.js",
        f"POST {API}/track",
        f"POST {API}/server-events",
        f"GET {API}/experiments/active",
        f"POST {API}/projects",
        f"POST {API}/secret-keys/rotate",
        f"POST {API}/experiments",
        f"GET {API}/experiments",
        f"GET {API}/experiments/{{experiment_id}}",
        f"PATCH {API}/experiments/{{experiment_id}}",
        f"POST {API}/experiments/{{experiment_id}}/{{step}}",
        f"GET {API}/experiments/{{experiment_id}}/results",
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
    }
    asked = described["paths"][f"{API}/experiments/{{experiment_id}}/results"]["get"]["parameters"]
    assert {each["name"] for each in asked if each["in"] == "query"} == {
        "asOf",
        "goal",
        "method",
        "plannedVisitors",
        "guardrailMargin",
    }
    assert (await client.get("/schema")).headers["content-type"].startswith("text/html")


async def test_what_is_not_there_is_a_problem_detail_too(
    client: httpx.AsyncClient, snapshot: SnapshotAssertion
) -> None:
    """No such path, no such method."""
    for method, path in (("GET", "/nowhere"), ("GET", f"{API}/track"), ("DELETE", f"{API}/experiments")):
        assert wire(await client.request(method, path)) == snapshot


async def test_a_database_that_is_gone_is_no_defect_of_ours(
    project: HttpProject,
    database_url: str,
    postgres: str,
    monkeypatch: pytest.MonkeyPatch,
    snapshot: SnapshotAssertion,
) -> None:
    """503 with Retry-After where the database is needed, and healthz answers all the same."""
    monkeypatch.setattr(log_writer, "GIVE_UP_SECONDS", 0)
    sent = event()
    await project.accepted(event())
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    with psycopg.connect(postgres, autocommit=True) as server:
        server.execute(f"alter database {name} allow_connections false")
        server.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
        try:
            assert (await project.client.get("/healthz")).status_code == 200
            assert wire(await project.track(sent)) == snapshot(name="track")
            assert wire(await project.client.get("/readyz")) == snapshot(name="readyz")
        finally:
            server.execute(f"alter database {name} allow_connections true")
    for _ in range(10):  # the pool tries again after a pause
        if (await project.client.get("/readyz")).status_code == 200:
            break
    await project.accepted(sent)


async def test_connections_that_the_database_ended_cost_nobody_their_answer(
    project: HttpProject, database_url: str, postgres: str
) -> None:
    """As after a restart of it: the pool notices before it lends one."""
    assert (await project.client.get("/readyz")).status_code == 200
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    ended = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s"
    with psycopg.connect(postgres, autocommit=True) as server:
        server.execute(ended, [name])
    for _ in range(3):
        answer = await project.call("GET", "/experiments")
        assert answer.status_code == 200, answer.text


async def test_a_defect_tells_nothing_of_itself(
    project: HttpProject, monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion
) -> None:
    """500 as a problem detail, without a trace, an SQL text or a secret."""

    async def broken(*_: object) -> None:
        raise ValueError("select secret from secret_key")

    monkeypatch.setattr(log_writer.LogWriter, "write", broken)
    assert wire(await project.track(event())) == snapshot
