"""Whatever arrives: a clear refusal, never a 500, nothing else lost, and the projections go on."""

import itertools
import json
from datetime import UTC, datetime
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from syrupy.assertion import SnapshotAssertion

from app.event_rows import DATA_DEPTH_MAX
from tests.app.conftest import Site
from tests.app.http_project import (
    API,
    HttpProject,
    Json,
    by_name,
    conversion,
    event,
    experiment_body,
    impression,
    reasons,
)
from tests.app.wire_shape import wire

SERVER_EVENT: Json = {"eventType": "conversion", "eventName": "purchase"}
ROUTES = ("/track", "/server-events", "/experiments")
REVENUE = {
    "name": "revenue",
    "eventType": "conversion",
    "kind": "value",
    "valueField": "amount",
    "role": "primary",
}
BOUGHT = {"name": "bought", "eventType": "conversion", "kind": "conversion"}
LONE = "\\ud800"  # half of a surrogate pair, as JSON writes it
WRONG = (None, True, 7, 1.5, "text", [], {})
FIELDS = {
    "eventType": str,
    "eventName": (str, type(None)),
    "eventData": (dict, type(None)),
    "pathname": str,
    "fullUrl": str,
    "referrer": (str, type(None)),
    "sessionId": str,
    "visitorId": str,
    "timestamp": (),  # none of the numbers above is near today
    "utm": (dict, type(None)),
}


@pytest.mark.parametrize("route", ROUTES)
async def test_a_body_that_is_no_json_object_is_refused(
    project: HttpProject, snapshot: SnapshotAssertion, route: str
) -> None:
    """Empty, cut short, not UTF-8, of another type, or a string that no text can hold: 400 says which."""
    bodies = {
        "empty": b"",
        "cut short": b'{"projectId": "',
        "trailing": b"{} {}",
        "not UTF-8": b'{"a": "\xff"}',
        "byte order mark": b"\xef\xbb\xbf{}",
        "control character": b'{"a": "\x00"}',
        "NaN": b'{"eventType": NaN, "projectId": NaN, "name": NaN}',
        "null": b"null",
        "list": b"[]",
        "number": b"1e999",
        "lone surrogate": b'{"%s": 1}' % LONE.encode(),
        "deep": b"[" * 100_000,
        "deep key": b'{"a": ' + b'{"a": ' * 10_000 + b"1" + b"}" * 10_001,
    }
    for name, body in bodies.items():
        assert wire(await project.call("POST", route, content=body)) == snapshot(name=name)


async def test_events_must_be_a_list(project: HttpProject, snapshot: SnapshotAssertion) -> None:
    """Missing, null, an object, or there twice where the body cannot be read as a whole."""
    answers = [wire(await project.track_raw(events)) for events in (b"null", b"{}", b'"x"', b"5")]
    twice = b'[{"visitorId": "%s"}], "events": [{}]' % LONE.encode()
    answers.append(wire(await project.track_raw(twice)))
    assert answers == snapshot


async def test_a_field_of_the_wrong_type_costs_its_event_only(project: HttpProject) -> None:
    """Every field, every type: the good events between the bad ones are kept, and each bad one is named."""
    bad = [
        (name, event(**{name: value}))
        for name, right in FIELDS.items()
        for value in WRONG
        if not isinstance(value, right)
    ]
    bad += [(name, without(event(), name)) for name in ("eventType", "pathname", "fullUrl", "timestamp")]
    bad += [(f"utm.{name}", event(utm={name: 7})) for name in ("source", "medium", "campaign", "term", "content")]
    batch = [each for _, wrong in bad for each in (wrong, event())]
    answer = (await project.track(*batch)).json()
    assert [entry["index"] for entry in answer["rejected"]] == list(range(0, len(batch), 2))
    assert answer["accepted"] == len(bad)
    for (name, _), entry in zip(bad, answer["rejected"], strict=True):
        assert name in entry["reason"]


async def test_what_is_no_event_costs_itself_only(project: HttpProject, snapshot: SnapshotAssertion) -> None:
    """Anything may stand in the list."""
    assert wire(await project.track(None, 5, "x", [], {}, event(), [event()])) == snapshot


async def test_unknown_keys_are_ignored(project: HttpProject) -> None:
    """A newer script may send more, at any level."""
    body = {
        "projectId": project.project_id,
        "events": [event(colour="red", utm={"source": "x", "id": 7})],
        "sentAt": {"a": [1]},
    }
    answer = await project.client.post(f"{API}/track", content=json.dumps(body))
    assert answer.json()["accepted"] == 1
    assert (await project.server_event(colour="red", visitor={"id": "v", "age": 7})).status_code == 201
    assert (await project.create(colour="red"))["name"] == "Headline"


async def test_too_long_texts_cost_their_event_only(project: HttpProject) -> None:
    """Each text has a limit, in characters and not in bytes."""
    limits = {
        "eventType": 100,
        "eventName": 200,
        "pathname": 2048,
        "fullUrl": 8192,
        "referrer": 8192,
        "sessionId": 256,
        "visitorId": 256,
    }
    for name, limit in limits.items():
        answer = await project.track(event(**{name: "✿" * limit}), event(**{name: "✿" * (limit + 1)}))
        assert answer.json()["accepted"] == 1
        assert [entry["index"] for entry in answer.json()["rejected"]] == [1]


async def test_a_nul_or_half_a_surrogate_pair_costs_its_event_only(project: HttpProject) -> None:
    """In every text, and in eventData as key, value and deep inside; its neighbours are kept."""
    good = json.dumps(event(eventName="text that only looks like \\u0000 and \\ud800"))
    for nasty in ("\\u0000", LONE, "\\udc00", "\\ud800\\ud800"):
        texts = [name for name, right in FIELDS.items() if right in (str, (str, type(None)))]
        bad = [json.dumps(event(**{name: "a@b"})).replace("@", nasty) for name in texts]
        bad += [
            json.dumps(event(eventData=data)).replace("@", nasty)
            for data in ({"a@": 1}, {"a": "@"}, {"a": {"b": ["@"]}}, {"experimentId": "@"})
        ]
        bad.append(json.dumps(event(utm={"source": "@"})).replace("@", nasty))
        for broken in bad:
            fresh = json.dumps(event())
            answer = (await project.track_raw(f"[{fresh}, {broken}, {json.dumps(event())}]".encode())).json()
            assert answer["accepted"] == 2
            [entry] = answer["rejected"]
            assert entry["index"] == 1
            assert ("NUL" if nasty == "\\u0000" else "surrogate") in entry["reason"]
    assert (await project.track_raw(f"[{good}]".encode())).json()["accepted"] == 1


async def test_deep_nesting_costs_its_event_only(project: HttpProject) -> None:
    """At whatever depth a decoder gives up, and whatever its siblings are, the neighbours are kept."""
    deep_ones = [899, *range(900, 1000, 9), 5_000, 9_500, 100_000]
    for depth, key in itertools.product(deep_ones, ("data", "experimentId")):
        nested = "[" * depth + "]" * depth
        deep = holding(nested, event(eventData={key: "@"}))
        answer = await project.track_raw(f"[{json.dumps(event())}, {deep}, {json.dumps(event())}]".encode())
        assert answer.status_code == 202
        body = answer.json()
        assert body["accepted"] + len(body["rejected"]) == 3
        assert [each["index"] for each in body["rejected"]] == ([1] if depth + 1 > DATA_DEPTH_MAX else [])
        assert all(each["reason"].endswith("is nested too deeply") for each in body["rejected"])
        sent = SERVER_EVENT | {"idempotencyKey": f"{depth} {key}", "properties": {key: "@"}}
        single = await project.server_event(holding(nested, sent))
        assert single.status_code == (400 if depth + 1 > DATA_DEPTH_MAX else 201)


async def test_brackets_that_lie_in_no_other_or_in_texts_are_no_depth(project: HttpProject) -> None:
    """As many as one likes beside each other, and what texts hold, behind escaped quotation marks too."""
    texts = ["[" * 2_000, '"' + "[" * 2_000, "\\" + "{" * 2_000]
    for value in ([[]] * 2_000, *texts, texts):
        await project.accepted(event(eventData={"a": value}, visitorId=str(len(str(value)))))


HUGE = ("1e999", "-1e999", "1e400000", "9" * 400, "-" + "9" * 400, "9" * 5_000, "1" + "0" * 25, "1e308", "5e-324")


async def test_a_time_that_is_none_costs_its_event_only(project: HttpProject) -> None:
    """1970, 9999, negative, text, and numbers that no clock shows; the reason says so."""
    times = ("0", "-1", "-62135596800000", "253402300799000", '"2026-01-01T00:00:00Z"', '"1"', "null", *HUGE)
    for time in times:
        bad = holding(time, event(timestamp="@"))
        answer = await project.track_raw(f"[{json.dumps(event())}, {bad}, {json.dumps(event())}]".encode())
        assert (answer.status_code, answer.json()["accepted"]) == (202, 2), time
        [entry] = answer.json()["rejected"]
        assert entry["index"] == 1
        assert "timestamp" in entry["reason"]


async def test_the_horizon_is_thirty_days_back_and_a_day_ahead(
    project: HttpProject, snapshot: SnapshotAssertion
) -> None:
    """An event outside is refused and never clamped, since a retry would be clamped to another time."""
    day, now = 86_400_000, event()["timestamp"]
    times = (now - 30 * day - 600_000, now - 30 * day + 600_000, now + day - 600_000, now + day + 600_000)
    assert wire(await project.track(*(event(timestamp=time) for time in times))) == snapshot


async def test_of_duplicate_keys_the_last_one_counts(project: HttpProject) -> None:
    """As JavaScript reads them; in an event, around it, and in its data."""
    doubled = json.dumps(event(visitorId="last")).replace('"visitorId"', '"visitorId": "first", "visitorId"')
    experiment = await project.running(goals=[REVENUE, BOUGHT])
    await project.accepted(impression(experiment, 1, "last"))
    data = '{"amount": "x", "amount": 3}'
    bought = holding(data, conversion("last", eventData="@"))
    assert (await project.track_raw(f"[{doubled}, {bought}]".encode())).json()["accepted"] == 2
    assert by_name(await project.results(experiment))["Bold"]["value"]["sum"] == 3
    repeated = b"[5]" + b', "events": [' + json.dumps(event()).encode() + b"]"
    assert (await project.track_raw(repeated)).json() == {"accepted": 1, "duplicates": 0, "rejected": []}


AMOUNTS = (
    *HUGE,
    '"1e999"',
    '"' + "9" * 10_000 + '"',
    '"NaN"',
    '"Infinity"',
    '""',
    '"5 "',
    '"5\\n"',
    '"0x10"',
    '"\uff11\uff12"',
    "true",
    "[1]",
    '{"a": 1}',
    "null",
    "[" * 900 + "]" * 900,
)


@pytest.mark.parametrize("source", ["browser", "server"])
async def test_no_amount_makes_the_projections_stand_still(project: HttpProject, source: str) -> None:
    """A value goal meets everything that JSON can hold; what is no number is told, and what comes after counts."""
    experiment = await project.running(goals=[REVENUE, BOUGHT])
    visitors = [f"v{number}" for number in range(len(AMOUNTS))]
    await project.accepted(impression(experiment, 1, "good"), *(impression(experiment, 1, v) for v in visitors))
    for visitor, amount in zip(visitors, AMOUNTS, strict=True):
        if source == "browser":
            sent = holding(amount, conversion(visitor, eventData={"amount": "@"}))
            answer = await project.track_raw(f"[{sent}]".encode())
            assert answer.json()["accepted"] == 1, amount
        else:
            sent = holding(amount, SERVER_EVENT | {"visitor": {"id": visitor}, "properties": {"amount": "@"}})
            assert (await project.server_event(sent)).status_code == 201, amount
    await project.accepted(conversion("good", eventData={"amount": 7}))
    found = await project.results(experiment)
    bold = by_name(found)["Bold"]
    assert (bold["value"]["sum"], bold["converters"]) == (7, 1)
    assert reasons(found) == {"value_not_usable": len(AMOUNTS)}
    assert by_name(found, 1)["Bold"]["converters"] == len(AMOUNTS) + 1


@pytest.mark.parametrize("field", ["9" * 200, "-1", "a.b", "a'b\"c\\", "%s", "✿", "$", "{}", "0"])
async def test_any_name_of_a_value_is_found(project: HttpProject, field: str) -> None:
    """The name of the value is data: no name is a path, a number or SQL."""
    experiment = await project.running(goals=[REVENUE | {"valueField": field}])
    await project.accepted(
        impression(experiment, 1, "ann"),
        conversion("ann", eventData={field: 2, "0": [1], "a": {"b": 9}} | {field: 2}),
    )
    assert by_name(await project.results(experiment))["Bold"]["value"]["sum"] == 2


@pytest.mark.parametrize(
    "wanted", ["1e999", "9" * 5_000, "7", "[]", "{}", "true", '""', "null", '"nonsense"', '"\\u0041"']
)
async def test_an_experiment_id_that_is_none_is_kept_and_told(project: HttpProject, wanted: str) -> None:
    """An impression that names nothing known counts under a reason, and stops nobody."""
    experiment = await project.running()
    data = {"experimentId": "@", "variantId": "@"}
    sent = holding(wanted, event(eventType="experiment_impression", eventData=data))
    assert (await project.track_raw(f"[{sent}, {json.dumps(event())}]".encode())).json()["accepted"] == 2
    assert reasons(await project.results(experiment)) == {"unknown_experiment": 1}


NASTY = st.sampled_from(
    [
        b"null", b"true", b"-1", b"1e999", b"9" * 400, b"1.5", b'""', b'"\\u0000"', b'"\\ud800"', b'"\xff"', b"[]",
        b"{}", b"[[[[", b"}", b"]", b",", b":", b'"', b"\\", b"\x00", b"NaN", b'"2026-01-01"', b"{{", b"[" * 1200,
        b'"events":[', b'"projectId":', b'"x":1,', b"\xf0\x9f\x98\x80", b" " * 50, b"",
    ]
)  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def mutilated(draw: st.DrawFn) -> bytes:
    """A good body of one of the routes with one to three things wrong: in its structure, or in its bytes."""
    server_event = SERVER_EVENT | MORE
    track = {
        "projectId": "@",
        "events": [event(utm={"source": "x"}, eventData={"amount": 1, "experimentId": "x"}), event()],
    }
    body: Any = draw(st.sampled_from([track, server_event, EXPERIMENT]))
    body = json.loads(json.dumps(body))
    if draw(st.booleans()):
        for _ in range(draw(st.integers(1, 3))):
            replace_somewhere(body, draw)
        return json.dumps(body).encode("utf-8", "surrogatepass")
    text = json.dumps(body).encode()
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.sampled_from([0, 0, 1, 2, 10, 100])))
        text = text[:start] + draw(NASTY) + text[end:]
    return text


MORE: Json = {
    "timestamp": datetime.now(UTC).isoformat(),
    "idempotencyKey": "k",
    "visitor": {"id": "v", "ip": "203.0.113.7", "userAgent": "x"},
    "page": "/",
    "properties": {"amount": 1},
    "experimentId": "0b7b1f9e-0000-4000-8000-000000000000",
    "variantId": "0b7b1f9e-0000-4000-8000-000000000000",
}
EXPERIMENT: Json = experiment_body(goals=[REVENUE, BOUGHT], hypothesis="x", attributionWindowHours=1)


def replace_somewhere(body: Any, draw: st.DrawFn) -> None:
    """Put anything in place of anything inside a JSON value."""
    place = body
    while isinstance(place, dict | list) and place:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and draw(st.integers(0, 3)):
            place = place[key]
            continue
        place[key] = draw(ANYTHING)
        return


def test_whatever_is_wrong_with_a_body_the_answer_is_a_refusal_that_can_be_read(site: Site) -> None:
    """Below 500, a problem detail when it refuses, and afterwards good events are still taken and counted."""
    project = site.project
    experiment = site.run(start_one, project)

    @settings(max_examples=50, suppress_health_check=list(HealthCheck))
    @given(body=mutilated())
    def any_body(body: bytes) -> None:
        for route in ROUTES:
            content = body.replace(b"@", project.project_id.encode())
            answer = site.run(post, project, route, content)
            assert answer.status_code < 500, answer.text
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == "application/problem+json"
                assert set(answer.json()) <= {"type", "title", "status", "detail", "errors"}
                assert answer.json()["status"] == answer.status_code

    any_body()
    site.run(project.accepted, impression(experiment, 1, "last"))
    site.run(project.accepted, conversion("last", eventData={"amount": 7}))
    assert by_name(site.run(project.results, experiment))["Bold"]["value"]["sum"] == 7


async def start_one(project: HttpProject) -> Json:
    """An experiment whose goal needs a number, running."""
    return await project.running(goals=[REVENUE, BOUGHT])


async def post(project: HttpProject, route: str, content: bytes) -> Any:
    """Send bytes to a route with the secret key."""
    return await project.call("POST", route, content=content)


def holding(text: str, body: Json) -> str:
    """A body as JSON text, with other text wherever it says "@"."""
    return json.dumps(body).replace('"@"', text)


def without(whole: Json, name: str) -> Json:
    """An event that lacks a field."""
    return {key: value for key, value in whole.items() if key != name}
