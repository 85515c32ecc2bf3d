"""Experiments over HTTP: created, changed, started, paused, resumed and stopped, and every no has a name."""

import asyncio
from collections import Counter
from typing import Any

import psycopg
import pytest
from syrupy.assertion import SnapshotAssertion

from tests.app.http_project import HttpProject, Json, experiment_body
from tests.app.wire_shape import wire

STEPS = ("start", "pause", "resume", "stop")
STATES = {
    "draft": (),
    "running": ("start",),
    "paused": ("start", "pause"),
    "stopped": ("start", "stop"),
}
PURCHASE = {"eventType": "conversion", "eventName": "purchase"}
GOALS = [
    {"name": "purchase", **PURCHASE, "kind": "conversion", "role": "primary"},
    {"name": "views", "eventType": "pageview", "kind": "count"},
    {"name": "revenue", "eventType": "conversion", "kind": "value", "valueField": "amount", "role": "guardrail"},
]  # fmt: skip


async def test_a_created_experiment_is_answered_as_it_stands(
    project: HttpProject, snapshot: SnapshotAssertion
) -> None:
    """Ids, status draft, and everything that was sent."""
    body = experiment_body(goals=GOALS, hypothesis="Bold sells", attributionWindowHours=48)
    assert wire(await project.call("POST", "/experiments", json=body)) == snapshot


async def test_what_is_not_said_has_a_default(project: HttpProject, snapshot: SnapshotAssertion) -> None:
    """Name, type and variants are enough; unknown keys are ignored."""
    variants = [{"name": "a", "weight": 1, "isControl": True, "colour": 1}, {"name": "b", "weight": 2.5}]
    body = {"name": "Short", "type": "css", "variants": variants, "id": "mine", "status": "running"}
    assert wire(await project.call("POST", "/experiments", json=body)) == snapshot


async def test_experiments_are_read_one_by_one_and_all_together(
    project: HttpProject, snapshot: SnapshotAssertion
) -> None:
    """The one changed last comes first."""
    first = await project.create(name="First")
    second = await project.create(name="Second")
    first = await project.step(first, "start")
    assert (await project.call("GET", f"/experiments/{first['id']}")).json() == first
    every = await project.call("GET", "/experiments")
    assert every.json() == {"experiments": [first, second]}
    assert wire(every) == snapshot


async def test_a_whole_life_is_told_by_its_states(project: HttpProject) -> None:
    """draft, running, paused, running, stopped; start and end are remembered."""
    experiment = await project.create()
    states = [experiment["status"]]
    for name in ("start", "pause", "resume", "stop"):
        experiment = await project.step(experiment, name)
        states.append(experiment["status"])
    assert states == ["draft", "running", "paused", "running", "stopped"]
    assert experiment["createdAt"] < experiment["startedAt"] < experiment["stoppedAt"]


async def test_every_forbidden_step_is_refused_by_its_name(
    project: HttpProject, snapshot: SnapshotAssertion
) -> None:
    """All states, all steps: 200, or 409 with the named reason; a refused step changes nothing."""
    told: dict[str, Any] = {}
    for state, way in STATES.items():
        for name in (*STEPS, "patch"):
            experiment = await project.create()
            for step in way:
                experiment = await project.step(experiment, step)
            answer = await attempt(project, experiment, name)
            body = answer.json()
            told[f"{name} when {state}"] = wire(answer)["body"] if answer.status_code == 409 else body["status"]
            if answer.status_code == 409:
                assert (await project.call("GET", f"/experiments/{experiment['id']}")).json() == experiment
    assert told == snapshot


async def attempt(project: HttpProject, experiment: Json, name: str) -> Any:
    """A step of the lifecycle, or a patch that is harmless in itself."""
    path = f"/experiments/{experiment['id']}"
    if name == "patch":
        return await project.call("PATCH", path, json={"name": "Renamed"})
    return await project.call("POST", f"{path}/{name}")


async def test_of_ten_starts_at_once_one_starts_it(project: HttpProject) -> None:
    """The others hear that it runs already, and the log holds one start."""
    experiment = await project.create()
    answers = await asyncio.gather(*(attempt(project, experiment, "start") for _ in range(10)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 9}
    names = {answer.json()["type"] for answer in answers if answer.status_code == 409}
    assert names == {"urn:prooflog:problem:experiment_already_running"}


async def test_changes_at_once_are_all_made(project: HttpProject) -> None:
    """Each is decided against what the one before it left."""
    experiment = await project.running()
    path = f"/experiments/{experiment['id']}"
    answers = await asyncio.gather(
        *(project.call("PATCH", path, json={"trafficPercentage": 10 + number}) for number in range(5))
    )
    assert [answer.status_code for answer in answers] == [200] * 5
    after = (await project.call("GET", path)).json()
    assert after["version"] == experiment["version"] + 5


async def test_weights_and_traffic_change_mid_run_and_earlier_ones_are_remembered(
    project: HttpProject, connection: psycopg.AsyncConnection, snapshot: SnapshotAssertion
) -> None:
    """Each allocation is an epoch; a patch that changes nothing opens none."""
    experiment = await project.running()
    path = f"/experiments/{experiment['id']}"
    control, bold = (variant["id"] for variant in experiment["variants"])
    weights = {"variants": [{"id": bold, "weight": 80}, {"id": control, "weight": 20}]}
    for patch in (weights, {"trafficPercentage": 50}, {"trafficPercentage": 50, "name": "Renamed"}, weights):
        answer = await project.call("PATCH", path, json=patch)
        assert answer.status_code == 200, answer.text
    assert wire(answer) == snapshot
    epochs = answer.json()["epochs"]
    assert [(epoch["weights"], epoch["trafficPercentage"]) for epoch in epochs] == [
        ({control: 50, bold: 50}, 100),
        ({control: 20, bold: 80}, 100),
        ({control: 20, bold: 80}, 50),
    ]
    facts = await connection.execute(
        "select event_type from event_log where experiment_id is not null order by position"
    )
    assert [name for (name,) in await facts.fetchall()] == [
        "experiment_created",
        "experiment_started",
        "variant_weights_changed",
        "traffic_percentage_changed",
        "experiment_details_changed",
    ]


async def test_a_draft_changes_in_everything(project: HttpProject, snapshot: SnapshotAssertion) -> None:
    """Variants with an id keep what the patch leaves out, without one they are new."""
    experiment = await project.create()
    patch = {
        "name": "Renamed",
        "hypothesis": "x",
        "type": "layout",
        "targetUrl": "/shoes",
        "urlMatchType": "starts_with",
        "trafficPercentage": 12.5,
        "attributionWindowHours": 1,
        "goals": GOALS,
        "variants": [
            {"id": experiment["variants"][0]["id"], "weight": 10},
            {"name": "New", "weight": 20, "changes": []},
        ],
    }
    assert wire(await project.call("PATCH", f"/experiments/{experiment['id']}", json=patch)) == snapshot


@pytest.mark.parametrize(
    "patch",
    [
        {"targetUrl": "/other", "urlMatchType": "contains"},
        {"goals": GOALS},
        {"attributionWindowHours": 1},
        {"variants": [{"name": "c", "weight": 1, "isControl": True}, {"name": "d", "weight": 1}]},
        {"trafficPercentage": 101},
    ],
)
async def test_once_started_what_a_result_means_cannot_change(
    project: HttpProject, snapshot: SnapshotAssertion, patch: Json
) -> None:
    """409 names the fields; a value that is not valid is still 400."""
    experiment = await project.running()
    assert wire(await project.call("PATCH", f"/experiments/{experiment['id']}", json=patch)) == snapshot


def with_variant(**fields: Any) -> Json:
    """A body whose second variant has other fields."""
    body = experiment_body()
    body["variants"][1] |= fields
    return body


def with_change(**fields: Any) -> Json:
    """A body whose second variant makes another change."""
    return with_variant(changes=[{"selector": "h1", "changeType": "text", "value": "x", **fields}])


INVALID = {
    "nothing": {},
    "wrong types": experiment_body(name=7),
    "unknown type": experiment_body(type="javascript"),
    "unknown match": experiment_body(urlMatchType="regex"),
    "no name": experiment_body(name=" "),
    "no page": experiment_body(targetUrl=""),
    "traffic": experiment_body(trafficPercentage=100.1),
    "negative traffic": experiment_body(trafficPercentage=-1),
    "huge traffic": experiment_body(trafficPercentage=10**400),
    "window": experiment_body(attributionWindowHours=0),
    "one variant": experiment_body(variants=[{"name": "a", "weight": 1, "isControl": True}]),
    "no control": experiment_body(variants=[{"name": "a", "weight": 1}, {"name": "b", "weight": 1}]),
    "two controls": with_variant(isControl=True),
    "no weight": with_variant(weight=0),
    "negative weight": with_variant(weight=-3),
    "weight as text": with_variant(weight="50"),
    "twice the same name": with_variant(name="Control"),
    "unknown change": with_change(changeType="javascript"),
    "style without property": with_change(changeType="style"),
    "property": with_change(changeType="style", property="color: red; x"),
    "value as number": with_change(value=7),
    "NUL": with_change(value="a\0b"),
    "long value": with_change(value="x" * 20_001),
    "goal without kind": experiment_body(goals=[{"name": "g", "eventType": "e"}]),
    "value goal without field": experiment_body(
        goals=[{"name": "g", "eventType": "e", "kind": "value", "role": "primary"}]
    ),
    "no primary goal": experiment_body(goals=[{"name": "g", "eventType": "e", "kind": "count"}]),
    "goals named alike": experiment_body(goals=[GOALS[0], GOALS[0]]),
}


async def test_what_is_not_valid_is_refused_with_paths(project: HttpProject, snapshot: SnapshotAssertion) -> None:
    """All that is wrong at once, each with its place in the body; nothing is created."""
    for name, body in INVALID.items():
        assert wire(await project.call("POST", "/experiments", json=body)) == snapshot(name=name)
    assert (await project.call("GET", "/experiments")).json() == {"experiments": []}


async def test_a_selector_that_does_not_parse_is_refused(
    project: HttpProject, snapshot: SnapshotAssertion
) -> None:
    """Also one that the parser itself stumbles over."""
    bad = ("", "h1 >", "h1 {", "[", "a:nope(1)", "li:nth-child(2n+)", ":not(" * 150 + "a" + ")" * 150)
    for number, selector in enumerate(bad):
        answer = await project.call("POST", "/experiments", json=with_change(selector=selector))
        assert wire(answer) == snapshot(name=f"selector {number}")
    for selector in ("h1", "#a > .b ~ c, d[e='f' i]", "div:has(> img):not(:first-child)", "li:nth-child(2n+1)"):
        answer = await project.call("POST", "/experiments", json=with_change(selector=selector))
        assert answer.status_code == 201, selector


async def test_html_is_sanitised_when_it_is_written(
    project: HttpProject, connection: psycopg.AsyncConnection
) -> None:
    """What runs is gone from the answer, from what pages get, and from the log; text values stay as sent."""
    nasty = '<b onclick="x()">Hi</b><script>alert(1)</script><a href="javascript:x()">a</a>'
    html = {"selector": "h1", "changeType": "html", "value": nasty}
    text = {"selector": "h2", "changeType": "text", "value": nasty}
    created = await project.create(variants=with_variant(changes=[html, text])["variants"])
    patch = {"variants": [{"id": v["id"], "changes": [html, text]} for v in created["variants"]]}
    patched = await project.call("PATCH", f"/experiments/{created['id']}", json=patch)
    await project.step(created, "start")
    [active] = (await project.active()).json()["experiments"]
    for changes in (
        created["variants"][1]["changes"],
        patched.json()["variants"][0]["changes"],
        active["variants"][1]["changes"],
    ):
        assert changes[0]["value"] == '<b>Hi</b><a rel="noopener noreferrer">a</a>'
        assert changes[1]["value"] == nasty
    rows = await connection.execute(
        "select change ->> 'value' from event_log,"
        " json_array_elements(event_data -> 'variants') variant, json_array_elements(variant -> 'changes') change"
        " where event_type like 'experiment%' and change ->> 'changeType' = 'html'"
    )
    stored = [value for (value,) in await rows.fetchall()]
    assert stored
    assert all("script" not in value and "onclick" not in value for value in stored)


async def test_long_and_deep_input_is_refused_without_taking_long(project: HttpProject) -> None:
    """Cleaning deep HTML and compiling long selectors take far more than linear time, so length comes first."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for change in (
        {"changeType": "html", "value": "<div>" * 190_000},
        {"selector": ":not(" * 90_000 + "a" + ")" * 90_000},
        {"selector": "(" * 900_000},
    ):
        answer = await project.call("POST", "/experiments", json=with_change(**change))
        assert (answer.status_code, answer.json()["type"]) == (400, "urn:prooflog:problem:invalid_experiment")
    assert loop.time() - began < 5


async def test_what_is_not_there_is_404(project: HttpProject, snapshot: SnapshotAssertion) -> None:
    """An unknown experiment, an id that is none, a step that does not exist."""
    experiment = await project.create()
    unknown = "0b7b1f9e-0000-4000-8000-000000000000"
    calls = [
        ("GET", f"/experiments/{unknown}"),
        ("GET", "/experiments/nonsense"),
        ("PATCH", f"/experiments/{unknown}"),
        ("POST", f"/experiments/{unknown}/start"),
        ("POST", "/experiments/nonsense/start"),
        ("POST", f"/experiments/{experiment['id']}/launch"),
    ]
    for method, path in calls:
        body = b"{}" if method == "PATCH" else None
        assert wire(await project.call(method, path, content=body)) == snapshot
