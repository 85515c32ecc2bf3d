"""Projects and secret keys: made with the admin token, shown once, replaced without a gap."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import psycopg
from syrupy.assertion import SnapshotAssertion

from app.database import connect
from app.projects import ProjectCache
from tests.app.everything_stored import everything_stored
from tests.app.http_project import ADMIN, API, HttpProject, open_project
from tests.app.wire_shape import wire

DAY = timedelta(hours=24)


async def test_a_new_project_is_answered_with_its_keys(
    client: httpx.AsyncClient, snapshot: SnapshotAssertion
) -> None:
    """The public UUID and the secret key, whose prefix a scanner can recognise."""
    answer = await client.post(f"{API}/projects", json={"name": "Shop"}, headers=ADMIN)
    assert wire(answer) == snapshot
    assert answer.json()["secretKey"].startswith("prooflog_sk_")


async def test_only_the_admin_makes_projects(client: httpx.AsyncClient, snapshot: SnapshotAssertion) -> None:
    """No token, another token, another scheme, and a secret key."""
    project = await open_project(client)
    for headers in ({}, {"Authorization": "Bearer no"}, {"Authorization": "Basic x"}, project.auth):
        answer = await client.post(f"{API}/projects", json={"name": "Shop"}, headers=headers)
        assert wire(answer) == snapshot(name="refused")


async def test_a_project_that_is_not_valid_is_refused_with_paths(
    client: httpx.AsyncClient, snapshot: SnapshotAssertion
) -> None:
    """Names and origins have limits, and an origin is no address of a page."""
    bodies = (
        {},
        {"name": "  "},
        {"name": "x" * 201},
        {"name": "a\0b"},
        {"name": "Shop", "allowedOrigins": "https://shop.example"},
        {"name": "Shop", "allowedOrigins": ["https://shop.example/", "shop.example", "*", "https://a\0b", ""]},
        {"name": "Shop", "allowedOrigins": ["https://shop.example"] * 101},
    )
    for body in bodies:
        assert wire(await client.post(f"{API}/projects", json=body, headers=ADMIN)) == snapshot


async def test_rotation_replaces_the_key_with_a_day_of_grace(
    project: HttpProject, snapshot: SnapshotAssertion
) -> None:
    """The new key works, the old one still does, and the answer says until when."""
    before = datetime.now(UTC)
    answer = await project.call("POST", "/secret-keys/rotate")
    assert wire(answer) == snapshot
    until = datetime.fromisoformat(answer.json()["previousKeysValidUntil"])
    assert before + DAY <= until <= datetime.now(UTC) + DAY
    renewed = HttpProject(project.client, project.project_id, answer.json()["secretKey"])
    assert [(await each.server_event()).status_code for each in (project, renewed)] == [201, 201]


async def test_every_older_key_ends_a_day_after_its_own_replacement(
    project: HttpProject, connection: psycopg.AsyncConnection
) -> None:
    """A second rotation gives the second key its day and does not lengthen the first key's."""
    second = HttpProject(project.client, project.project_id, await rotated(project))
    await connection.execute(
        "update secret_key set valid_until = now() + interval '1 hour' where valid_until is not null"
    )
    third = HttpProject(project.client, project.project_id, await rotated(second))
    rows = await connection.execute("select valid_until - now() from secret_key order by issued_at")
    first, middle, newest = [left for (left,) in await rows.fetchall()]
    assert first <= timedelta(hours=1) < timedelta(hours=23) < middle <= DAY
    assert newest is None
    assert [(await each.server_event()).status_code for each in (project, second, third)] == [201] * 3
    await connection.execute("update secret_key set valid_until = now() where valid_until is not null")
    assert [(await each.server_event()).status_code for each in (project, second, third)] == [403, 403, 201]


async def test_a_key_that_was_replaced_by_itself_may_not_rotate_when_it_has_ended(
    project: HttpProject, connection: psycopg.AsyncConnection
) -> None:
    """An expired key is good for nothing, least of all for a new one."""
    await rotated(project)
    await connection.execute("update secret_key set valid_until = now() where valid_until is not null")
    assert (await project.call("POST", "/secret-keys/rotate")).status_code == 403


async def test_the_database_holds_a_hash_of_each_key_and_no_key(
    project: HttpProject, connection: psycopg.AsyncConnection
) -> None:
    """Neither the key nor its secret part is in any table, the log included; a hint for people is."""
    keys = [project.secret_key, await rotated(project)]
    await project.results(await project.running())
    text = await everything_stored(connection)
    for key in keys:
        secret = key.rpartition(project.project_id.replace("-", "") + "_")[2]
        assert len(secret) == 43
        assert secret not in text
        assert f"prooflog_sk_…{key[-4:]}" in text


async def test_no_route_takes_another_projects_experiment(
    project: HttpProject, snapshot: SnapshotAssertion
) -> None:
    """With its own key a project reads and changes nothing of its neighbour, nor learns that it is there."""
    experiment = await project.running()
    stranger = await open_project(project.client, "Stranger")
    path = f"/experiments/{experiment['id']}"
    calls = [
        ("GET", path),
        ("PATCH", path),
        *(("POST", f"{path}/{step}") for step in ("start", "pause", "resume", "stop")),
        ("GET", f"{path}/results"),
        ("GET", f"{path}/results?asOf=1"),
    ]
    for method, target in calls:
        body = b'{"name": "Mine"}' if method == "PATCH" else None
        assert wire(await stranger.call(method, target, content=body)) == snapshot(name="not there")
    assert (await stranger.call("GET", "/experiments")).json() == {"experiments": []}
    assert (await stranger.active()).json() == {"experiments": []}
    assert (await project.call("GET", path)).json() == experiment


async def test_every_route_for_backends_asks_for_the_key(
    project: HttpProject, snapshot: SnapshotAssertion
) -> None:
    """Without one the answer is 401, before anything else is looked at."""
    path = f"/experiments/{(await project.running())['id']}"
    calls = [
        ("POST", "/server-events"),
        ("POST", "/secret-keys/rotate"),
        ("POST", "/experiments"),
        ("GET", "/experiments"),
        ("GET", path),
        ("PATCH", path),
        ("POST", f"{path}/stop"),
        ("GET", f"{path}/results"),
    ]
    for method, target in calls:
        answer = await project.client.request(method, f"{API}{target}", content=b"not json")
        assert wire(answer) == snapshot(name="no key")


async def test_an_event_that_names_a_neighbours_experiment_does_not_count_there(project: HttpProject) -> None:
    """To the project that sends it the experiment is unknown; the neighbour sees nothing."""
    experiment = await project.running()
    stranger = await open_project(project.client, "Stranger")
    own = await stranger.running()
    chosen = {"experimentId": experiment["id"], "variantId": experiment["variants"][0]["id"]}
    await stranger.server_event(visitor={"id": "v"}, **chosen)
    assert [entry["reason"] for entry in (await stranger.results(own))["unattributed"]] == ["unknown_experiment"]
    assert (await project.results(experiment))["unattributed"] == []


async def rotated(project: HttpProject) -> str:
    """A new secret key of the project."""
    answer = await project.call("POST", "/secret-keys/rotate")
    assert answer.status_code == 201
    return answer.json()["secretKey"]


async def test_rotations_at_once_leave_one_key_without_an_end(
    project: HttpProject, connection: psycopg.AsyncConnection
) -> None:
    """However many rotate at the same time, only the last key is not about to expire."""
    answers = await asyncio.gather(*(project.call("POST", "/secret-keys/rotate") for _ in range(12)))

    assert {answer.status_code for answer in answers} == {201}
    rows = await (await connection.execute("select valid_until from secret_key order by issued_at")).fetchall()
    assert len(rows) == 13
    assert sum(valid_until is None for (valid_until,) in rows) == 1


async def test_requests_that_wait_for_the_same_project_share_one_look_up(
    project: HttpProject, database_url
) -> None:
    """However many come at once, they need one connection; a project that changed is read again."""
    cache, taken = ProjectCache(), []

    class _Connections:
        @asynccontextmanager
        async def connection(self):
            taken.append(1)
            async with await connect(database_url) as connection:
                yield connection

    project_id = UUID(project.project_id)
    found = await asyncio.gather(*(cache.get(_Connections(), project_id) for _ in range(50)))
    assert {known.project_id for known in found} == {project_id}
    assert len(taken) == 1

    reading = asyncio.create_task(cache.get(_Connections(), project_id))
    cache.forget(project_id)
    await reading
    await cache.get(_Connections(), project_id)
    assert len(taken) == 2
