"""`prooflog serve` in processes of its own: started, stopped, killed."""

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import uuid
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from app import services, templates
from tests.projections.log_of_events import browser_event
from tests.running_server import running_server


def test_a_fresh_installation_serves_a_demo_with_simulated_visitors(tmp_path) -> None:
    """With the embedded PostgreSQL: says where everything is, and visitors are counted as they arrive."""
    with running_server(None, tmp_path) as server:
        deadline = time.monotonic() + 300  # a machine with other work; an idle one needs seconds
        counted = [0, 0]
        while sum(counted) < 1_000 and server.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
            counted = [arm["visitors"] for arm in server.results()["variants"]]
        token = (tmp_path / "admin-token").read_text().strip()

    told = server.output
    assert sum(counted) >= 1_000, told
    assert min(counted) > 400  # six standard deviations below an even split
    for word in (f"{server.url}/dashboard", "/demo", "/schema", token, "stopped"):
        assert word in told
    assert stat.S_IMODE((tmp_path / "admin-token").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "demo.json").stat().st_mode) == 0o600


def test_the_second_start_is_quick_and_leaves_no_process_behind(tmp_path) -> None:
    """Started again, it answers after less than two seconds of work, and PostgreSQL ends with the server.

    Processor time, and the least of three starts, since other tests share the machine and its caches: on an idle
    one it is most of the wait.
    """
    with running_server(None, tmp_path, "--no-demo"):
        pass
    used_seconds = []
    while len(used_seconds) < 3 and min(used_seconds, default=2.0) >= 2:
        with running_server(None, tmp_path, "--no-demo") as server:
            assert httpx.get(f"{server.url}/readyz").status_code == 200
            used = psutil.Process(server.process.pid).cpu_times()
            used_seconds.append(used.user + used.system)

    assert min(used_seconds) < 2
    assert not (tmp_path / "postgres" / "postmaster.pid").exists()


def test_what_results_need_is_loaded_behind_the_first_answers(database_url, tmp_path) -> None:
    """Scipy takes a quarter of a start and no answer but results needs it: it comes a second later, unasked."""

    def holds_scipy(process: psutil.Process) -> bool:
        return any("scipy" in Path(file.path).parts for file in process.memory_maps())

    with running_server(database_url, tmp_path, "--no-demo") as server:
        process = psutil.Process(server.process.pid)
        assert not holds_scipy(process)
        deadline = time.monotonic() + 30
        while not holds_scipy(process) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert holds_scipy(process)


async def test_pages_are_compiled_behind_the_first_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of results took 0.4 s the first time; a second after the start every template is ready."""
    monkeypatch.setattr(services, "WARM_UP_AFTER_SECONDS", 0.0)
    templates._environment.cache_clear()  # noqa: SLF001  (as a new process has it)
    await services._warm_up()  # noqa: SLF001
    environment, asked = templates._environment(), []  # noqa: SLF001
    monkeypatch.setattr(environment, "compile", lambda source, *_: asked.append(source))
    names = environment.list_templates(extensions=["html"])
    assert {"experiment.html", "login.html"} < set(names)
    for name in names:
        environment.get_template(name)
    assert asked == []


async def test_what_is_loaded_behind_the_first_answers_takes_short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer asks for the interpreter ten times and more; each time it waited 5 ms, 0.2 s in all."""
    turns: list[float] = []
    usual = sys.getswitchinterval()
    monkeypatch.setattr(services, "WARM_UP_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(services.special, "load", lambda: turns.append(sys.getswitchinterval()))
    monkeypatch.setattr(services.templates, "load", lambda: turns.append(sys.getswitchinterval()))
    await services._warm_up()  # noqa: SLF001
    assert turns == pytest.approx([services.WARM_UP_TURN_SECONDS] * 2)
    assert sys.getswitchinterval() == pytest.approx(usual)


@pytest.mark.parametrize(("trusted", "scheme"), [("", "https"), ("10.0.0.0/8", "http")])
def test_a_proxy_is_believed_when_it_is_named(database_url, tmp_path, trusted: str, scheme: str) -> None:
    """By default one on this machine; from another address its word does nothing but make the cookie stricter."""
    settings = {"PROOFLOG_ADMIN_TOKEN": "letters-and-numbers", "PROOFLOG_TRUSTED_PROXIES": trusted}
    with running_server(database_url, tmp_path, "--no-demo", **settings) as server:
        admin = {"Authorization": "Bearer letters-and-numbers"}
        made = httpx.post(f"{server.url}/api/analytics/projects", json={"name": "Shop"}, headers=admin).json()
        forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.9", "Host": "shop.example"}
        parameters = {"projectId": made["projectId"]}
        script = httpx.get(f"{server.url}/api/analytics/script.js", params=parameters, headers=forwarded)
        login = httpx.post(
            f"{server.url}/dashboard/login", data={"token": "letters-and-numbers"}, headers=forwarded
        )
    assert f'"baseUrl":"{scheme}://shop.example"' in script.text
    assert "; Secure" in login.headers["set-cookie"]


def test_a_server_that_was_killed_leaves_a_database_that_the_next_one_stops(tmp_path) -> None:
    """After kill -9 PostgreSQL stays up; the next start attaches to it and ends it when it stops."""
    with running_server(None, tmp_path, "--no-demo", ends_well=False) as server:
        server.process.kill()
        server.process.wait()
    assert (tmp_path / "postgres" / "postmaster.pid").exists()

    with running_server(None, tmp_path, "--no-demo") as server:
        assert httpx.get(f"{server.url}/readyz").status_code == 200

    assert not (tmp_path / "postgres" / "postmaster.pid").exists()


def test_ctrl_c_ends_well(database_url, tmp_path) -> None:
    """SIGINT, as Ctrl-C sends it, ends the server with exit code 0 and no trace."""
    with running_server(database_url, tmp_path, "--no-demo") as server:
        server.process.send_signal(signal.SIGINT)
        server.process.wait(timeout=10)

    assert "Traceback" not in server.output


def test_a_port_that_is_taken_is_named(database_url, tmp_path) -> None:
    """The message says which address and which setting; nothing is left running."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        environment = {
            **os.environ,
            "PROOFLOG_PORT": port,
            "PROOFLOG_DATABASE_URL": database_url,
            "PROOFLOG_DATA_DIR": str(tmp_path),
        }
        command = [sys.executable, "-m", "app", "serve", "--no-demo"]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30)

    assert ended.returncode == 1
    assert port in ended.stderr
    assert "PROOFLOG_PORT" in ended.stderr


def test_a_database_that_does_not_answer_is_named(tmp_path) -> None:
    """One line says what is wrong, not a trace."""
    environment = {
        **os.environ,
        "PROOFLOG_PORT": "0",
        "PROOFLOG_DATABASE_URL": "postgresql://127.0.0.1:9/none",
        "PROOFLOG_DATA_DIR": str(tmp_path),
    }
    command = [sys.executable, "-m", "app", "serve", "--no-demo"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30)

    assert ended.returncode == 1
    assert "database" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_several_processes_serve_one_socket_and_survive_the_loss_of_one(database_url, tmp_path) -> None:
    """With two HTTP processes and a projecting one, a killed process is replaced and requests go on."""
    with running_server(database_url, tmp_path, "--no-demo", PROOFLOG_WORKERS="2") as server:
        _await_ready(server.url)
        project = _new_project(server.url, tmp_path)
        for _ in range(5):
            assert _track(server.url, project)["accepted"] == 1
        children = subprocess.run(
            ["/usr/bin/pgrep", "-P", str(server.process.pid), "-f", "app process"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        os.kill(int(children[0]), signal.SIGKILL)
        answers = [_track(server.url, project, tries=20)["accepted"] for _ in range(20)]

    assert len(children) == 2
    assert answers == [1] * 20


def test_children_end_with_a_parent_that_was_killed(database_url, tmp_path) -> None:
    """After kill -9 of the parent its processes stop by themselves, and the port is free again."""
    with running_server(database_url, tmp_path, "--no-demo", ends_well=False, PROOFLOG_WORKERS="2") as server:
        _await_ready(server.url)
        server.process.kill()
        server.process.wait()
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            try:
                httpx.get(f"{server.url}/healthz", timeout=1)
            except httpx.HTTPError:
                break
            time.sleep(0.1)
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"{server.url}/healthz", timeout=1)


@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_acknowledged_is_lost_when_the_server_is_killed_under_load(
    database_url, tmp_path, seed
) -> None:
    """Kill -9 in the middle of requests: every acknowledged event is in the log once, positions are dense."""
    acknowledged: set[str] = set()
    with running_server(database_url, tmp_path, "--no-demo", ends_well=False) as server:
        project = _new_project(server.url, tmp_path)
        async with httpx.AsyncClient(base_url=server.url) as client:
            loading = [asyncio.create_task(_load(client, project, acknowledged)) for _ in range(8)]
            while len(acknowledged) <= 50 * seed:
                assert not all(load.done() for load in loading)
                await asyncio.sleep(0.01)
            server.process.kill()
            await asyncio.gather(*loading)

    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "select position, visitor_id from event_log where project_id = %s and source = 'browser'", (project,)
        ).fetchall()
        first, last, count = connection.execute(
            "select min(position), max(position), count(*) from event_log where project_id = %s", (project,)
        ).fetchone()
    visitors = [visitor for _, visitor in rows]
    assert acknowledged <= set(visitors)
    assert len(visitors) == len(set(visitors))
    assert (first, last) == (1, count)


async def _load(client: httpx.AsyncClient, project: str, acknowledged: set[str]) -> None:
    while True:
        visitors = [str(uuid.uuid4()) for _ in range(5)]
        events = [browser_event(visitorId=visitor, timestamp=int(time.time() * 1000)) for visitor in visitors]
        try:
            answer = await client.post("/api/analytics/track", json={"projectId": project, "events": events})
        except httpx.HTTPError:
            return
        assert answer.json() == {"accepted": 5, "duplicates": 0, "rejected": []}
        acknowledged.update(visitors)


def _await_ready(url: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/readyz", timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    raise AssertionError("never ready")


def _new_project(url: str, data_dir) -> str:
    headers = {"Authorization": f"Bearer {(data_dir / 'admin-token').read_text().strip()}"}
    answer = httpx.post(f"{url}/api/analytics/projects", headers=headers, json={"name": "load"})
    assert answer.status_code == 201
    return json.loads(answer.text)["projectId"]


def _track(url: str, project: str, tries: int = 1) -> dict:
    event = browser_event(visitorId=str(uuid.uuid4()), timestamp=int(time.time() * 1000))
    for _ in range(tries):
        try:
            return httpx.post(f"{url}/api/analytics/track", json={"projectId": project, "events": [event]}).json()
        except httpx.HTTPError:
            time.sleep(0.1)
    raise AssertionError("never answered")
