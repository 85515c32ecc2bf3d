"""GET /experiments/active: what runs now, in the documented shape and nothing else."""

import asyncio
import gzip
import re
from typing import Any

import httpx
import msgspec
import psycopg
import pytest
from syrupy.assertion import SnapshotAssertion

from app import active_experiments, experiments
from app.experiments import read_experiments
from domain.experiment import Experiment
from tests.app.http_project import API, HttpProject, event, experiment_body
from tests.app.wire_shape import wire

CHANGES = [
    {"selector": "h1", "changeType": "text", "value": "Buy now"},
    {"selector": "#price", "changeType": "html", "value": "<b>9.90</b>"},
    {"selector": ".cta", "changeType": "style", "property": "background-color", "value": "green"},
    {"selector": ".cta", "changeType": "class", "value": "big"},
    {"selector": "body", "changeType": "css", "value": ".cta { color: red }"},
]


async def test_a_running_experiment_has_the_documented_shape(
    project: HttpProject, snapshot: SnapshotAssertion
) -> None:
    """All five change types, cache headers and an ETag."""
    variants = experiment_body()["variants"]
    variants[1]["changes"] = CHANGES
    await project.running(variants=variants, hypothesis="secret", goals=[], attributionWindowHours=24)
    assert wire(await project.active()) == snapshot


async def test_no_key_is_added_to_the_documented_ones(project: HttpProject) -> None:
    """Goals, hypothesis, status and epochs stay ours; `property` is there only where it is set."""
    variants = experiment_body()["variants"]
    variants[1]["changes"] = CHANGES
    await project.running(variants=variants)
    body = (await project.active()).json()
    assert set(body) == {"experiments"}
    [experiment] = body["experiments"]
    assert set(experiment) == {
        "id", "name", "type", "targetUrl", "urlMatchType", "trafficPercentage", "variants",
    }  # fmt: skip
    for variant in experiment["variants"]:
        assert set(variant) == {"id", "name", "isControl", "weight", "changes"}
    assert experiment["variants"][1]["changes"] == CHANGES


async def test_html_is_sanitised_when_it_is_read_too(
    project: HttpProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an older list let through does not reach pages that are open, and ask here what runs."""
    variants = experiment_body()["variants"]
    variants[1]["changes"] = [{"selector": "p", "changeType": "html", "value": "<b onclick=x()>Buy</b>"}]
    with monkeypatch.context() as before:
        before.setattr(experiments, "sanitize_html", lambda value: value)
        await project.running(variants=variants)
    [experiment] = (await project.active()).json()["experiments"]
    assert experiment["variants"][1]["changes"][0]["value"] == "<b>Buy</b>"


async def test_a_project_without_experiments_has_an_empty_list(
    project: HttpProject, snapshot: SnapshotAssertion
) -> None:
    """No experiment is no error."""
    assert wire(await project.active()) == snapshot


async def test_only_what_runs_is_listed(project: HttpProject) -> None:
    """A draft, a paused and a stopped experiment are not, a resumed one is; their order lasts."""
    await project.create(name="draft")
    paused = await project.running(name="paused")
    stopped = await project.running(name="stopped")
    resumed = await project.running(name="resumed")
    await project.running(name="running")
    await project.step(paused, "pause")
    await project.step(stopped, "stop")
    await project.step(await project.step(resumed, "pause"), "resume")
    first = names(await project.active())
    assert sorted(first) == ["resumed", "running"]
    assert names(await project.active()) == first


async def test_a_change_shows_at_once_on_the_server_that_made_it(project: HttpProject) -> None:
    """Start, new weights, pause, resume and stop are seen by the next request, cache or not."""
    experiment = await project.create()
    assert names(await project.active()) == []
    await project.step(experiment, "start")
    assert names(await project.active()) == ["Headline"]
    await project.call("PATCH", f"/experiments/{experiment['id']}", json={"trafficPercentage": 30})
    assert (await project.active()).json()["experiments"][0]["trafficPercentage"] == 30
    await project.step(experiment, "pause")
    assert names(await project.active()) == []
    await project.step(experiment, "resume")
    assert names(await project.active()) == ["Headline"]
    await project.step(experiment, "stop")
    assert names(await project.active()) == []


async def test_an_answer_that_was_read_before_a_change_does_not_outlive_it(
    project: HttpProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that overlaps with the pause may still see what ran; the one after it may not."""
    experiment = await project.running()
    read, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(*arguments: Any, **options: Any) -> list[Experiment]:
        found = await read_experiments(*arguments, **options)
        read.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(active_experiments, "read_experiments", slowly)
    overlapping = asyncio.create_task(project.active())
    await read.wait()
    await project.step(experiment, "pause")
    go_on.set()
    await overlapping
    assert names(await project.active()) == []


async def test_every_answer_names_what_runs(project: HttpProject) -> None:
    """The script, the list and what acknowledges events say the same, until something changes."""
    experiment = await project.running()
    script = await project.client.get(f"{API}/script.js", params={"projectId": project.project_id})
    (inlined,) = re.findall(r'"version":"([0-9a-f]+)"', script.text)
    assert inlined == version(await project.active()) == version(await project.track(event()))
    zipped = gzip.compress(project.track_body(msgspec.json.encode([event()])))
    answer = await project.client.post(f"{API}/track", content=zipped, headers={"content-encoding": "gzip"})
    assert version(answer) == inlined
    assert "experiments-version" in answer.headers["access-control-expose-headers"]
    await project.step(experiment, "stop")
    assert version(await project.active()) == version(await project.track(event())) != inlined


async def test_events_are_acknowledged_though_what_runs_cannot_be_read(
    project: HttpProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither an error of the database nor one that does not answer costs more than the name of what runs."""

    async def failing(*_: Any, **__: Any) -> list[Experiment]:
        raise psycopg.OperationalError("gone")

    async def hanging(*_: Any, **__: Any) -> list[Experiment]:
        await asyncio.Event().wait()
        return []

    for broken in (failing, hanging):
        monkeypatch.setattr(active_experiments, "read_experiments", broken)
        answer = await project.track(event())
        assert answer.status_code == 202
        assert answer.json() == {"accepted": 1, "duplicates": 0, "rejected": []}
        assert version(answer) is None


async def test_those_who_ask_together_wait_for_one_answer(
    project: HttpProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second that ends under load costs one query."""
    reads = 0

    async def counted(*arguments: Any, **options: Any) -> list[Experiment]:
        nonlocal reads
        reads += 1
        return await read_experiments(*arguments, **options)

    monkeypatch.setattr(active_experiments, "read_experiments", counted)
    await asyncio.gather(*(project.active() for _ in range(20)))
    assert reads == 1


async def test_who_knows_the_answer_already_gets_304(project: HttpProject, snapshot: SnapshotAssertion) -> None:
    """By its ETag, a weak one, one of several, or any; no longer when something changed."""
    experiment = await project.running()
    etag = (await project.active()).headers["etag"]
    for tag in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = await project.active(headers={"if-none-match": tag})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    assert wire(answer) == snapshot
    assert (await project.active(headers={"if-none-match": '"other"'})).status_code == 200
    await project.step(experiment, "pause")
    changed = await project.active(headers={"if-none-match": etag})
    assert (changed.status_code, changed.headers["etag"] != etag) == (200, True)


async def test_without_a_project_there_is_no_answer(
    client: httpx.AsyncClient, snapshot: SnapshotAssertion
) -> None:
    """400 for an id that is none and for no id, 404 for one that nobody has."""
    for query in ("", "?projectId=", "?projectId=shop", "?projectId=0b7b1f9e-0000-4000-8000-000000000000"):
        assert wire(await client.get(f"{API}/experiments/active{query}")) == snapshot


def names(answer: httpx.Response) -> list[str]:
    """The names of the experiments in an answer."""
    return [experiment["name"] for experiment in answer.json()["experiments"]]


def version(answer: httpx.Response) -> str | None:
    """What an answer says of the running experiments."""
    return answer.headers.get("experiments-version")
