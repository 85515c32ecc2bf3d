"""GET /experiments/{id}/results: who saw what, who converted, and what is not known, now and as of then."""

import asyncio
import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from syrupy.assertion import SnapshotAssertion

from app import replays
from app.database import connect
from app.http.auth import COOKIE
from app.kept import Kept
from projections.generations import live_schema, rebuild
from tests.app.http_project import (
    API,
    HttpProject,
    Json,
    by_name,
    conversion,
    event,
    impression,
    log_in,
    open_client,
    open_project,
    reasons,
)
from tests.app.wire_shape import wire

PURCHASE = {"eventType": "conversion", "eventName": "purchase"}
GOALS = [
    {"name": "purchase", **PURCHASE, "kind": "conversion", "role": "primary"},
    {"name": "orders", **PURCHASE, "kind": "count"},
    {"name": "revenue", **PURCHASE, "kind": "value", "valueField": "amount"},
]  # fmt: skip
HOUR_MS = 3_600_000
FRESH = 60_000


def ago(milliseconds: int) -> int:
    """A time that long ago, in epoch milliseconds."""
    return int(time.time() * 1000) - milliseconds


def chosen(experiment: Json, variant: int) -> Json:
    """What a backend forwards of an assignment."""
    return {"experimentId": experiment["id"], "variantId": experiment["variants"][variant]["id"]}


async def shop(project: HttpProject) -> Json:
    """An experiment with a little of everything in its log: 6 visitors a variant, 1 and 3 of whom buy."""
    experiment = await project.running(goals=GOALS)
    await project.accepted(
        *(
            impression(experiment, variant, f"{variant}-{n}", timestamp=ago(FRESH) + 2 * n + variant)
            for variant in (0, 1)
            for n in range(6)
        )
    )
    buyers = ("0-0", "1-0", "1-1", "1-2")
    await project.accepted(*(conversion(name, eventData={"amount": 10}) for name in buyers))
    await project.server_event(visitor={"id": "1-0"}, properties={"amount": 2.5})
    return experiment


async def test_results_have_this_shape(project: HttpProject, snapshot: SnapshotAssertion) -> None:
    """Counts as they are; of the statistics, which numbers are there."""
    experiment = await shop(project)
    await project.server_event(experimentId=str(uuid.uuid4()), variantId=str(uuid.uuid4()))
    await project.results(experiment)
    assert wire(await project.ask_results(experiment), measures=True) == snapshot


async def test_visitors_converters_and_values_are_counted(project: HttpProject) -> None:
    """Distinct visitors, distinct converters, every conversion, the sum and its mean per visitor."""
    found = await project.results(await shop(project))
    assert [variant["visitors"] for variant in found["variants"]] == [6, 6]
    assert [variant["impressions"] for variant in found["variants"]] == [6, 6]
    for goal in range(3):
        bold = by_name(found, goal)["Bold"]
        assert (bold["converters"], bold["conversions"]) == (3, 4)
    purchase, revenue = by_name(found, 0), by_name(found, 2)
    assert (purchase["Control"]["rate"], purchase["Bold"]["rate"]) == (1 / 6, 3 / 6)
    assert revenue["Bold"]["value"] == {"sum": 32.5, "mean": 32.5 / 6}
    assert purchase["Bold"]["value"] is None
    assert found["lag"] == {"events": 0, "seconds": 0.0}


async def test_one_goal_may_be_asked_for(project: HttpProject, snapshot: SnapshotAssertion) -> None:
    """Only that goal comes back; one that does not exist is refused."""
    experiment = await shop(project)
    whole = await project.results(experiment)
    one = await project.results(experiment, goal="revenue")
    assert one["goals"] == [whole["goals"][2]]
    assert one["digest"] != whole["digest"]
    assert wire(await project.ask_results(experiment, goal="nope")) == snapshot


async def test_the_regime_may_be_asked_for(project: HttpProject, snapshot: SnapshotAssertion) -> None:
    """Always valid unless `fixed` is wanted; another one is refused."""
    experiment = await shop(project)
    regimes = [
        (await project.results(experiment, **query))["goals"][0]["comparisons"][0]["regime"]
        for query in ({}, {"method": "always_valid"}, {"method": "fixed"})
    ]
    assert regimes == ["always_valid", "always_valid", "fixed"]
    assert wire(await project.ask_results(experiment, method="magic")) == snapshot


async def test_what_does_not_exist_is_null_and_says_why(project: HttpProject, snapshot: SnapshotAssertion) -> None:
    """Before anybody came there is no rate, no ratio and no verdict, and never a 0 or 1 in their place."""
    experiment = await project.running(goals=GOALS)
    found = await project.results(experiment)
    assert wire(await project.ask_results(experiment), measures=True) == snapshot
    assert found["sampleRatio"]["healthy"] is None
    assert found["sampleRatio"]["reason"]
    for goal in found["goals"]:
        assert [variant["rate"] for variant in goal["variants"]] == [None, None]
        assert all(variant["reason"] for variant in goal["variants"])
        [comparison] = goal["comparisons"]
        assert comparison["verdict"] == "not_enough_data"
        assert comparison["pValue"] is None
        parts = [comparison[part] for part in ("absolute", "relative", "alwaysValid", "bayes")]
        for part in [comparison["alwaysValid"].pop("relative"), *parts]:
            assert part.pop("reason")
            assert set(part.values()) == {None}


async def test_the_results_of_a_position_never_change(
    project: HttpProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was answered live at a position or its time is answered again, to the byte, whatever came later."""
    monkeypatch.setattr(Kept, "get", lambda _self, _key: None)  # all is derived again each time
    experiment = await project.running(goals=GOALS)
    await project.results(experiment)
    asked = [await project.ask_results(experiment)]
    path = f"/experiments/{experiment['id']}"
    for number in range(4):
        await project.accepted(
            impression(experiment, number % 2, f"v{number}"),
            conversion(f"v{number}", eventData={"amount": 0.1 * number}),
        )
        await project.results(experiment)
        asked.append(await project.ask_results(experiment))
        await project.call("PATCH", path, json={"trafficPercentage": 50 + number})
        await project.results(experiment)
        asked.append(await project.ask_results(experiment))
    await project.step(experiment, "stop")
    for live in asked:
        as_of = live.json()["asOf"]
        for when in (str(as_of["position"]), as_of["time"], as_of["time"].replace("Z", "+00:00")):
            again = await project.ask_results(experiment, asOf=when)
            assert again.content == live.content, when
    assert len({live.json()["digest"] for live in asked}) == len(asked)


async def test_before_its_creation_an_experiment_is_not_there(
    project: HttpProject, snapshot: SnapshotAssertion
) -> None:
    """404 at positions and times before it, and a draft right after."""
    first = (await project.create())["createdAt"]
    experiment = await project.running()
    position = (await project.results(experiment))["asOf"]["position"]
    for when in ("0", str(position - 2), "2020-01-01", first):
        answer = await project.ask_results(experiment, asOf=when)
        assert answer.status_code == 404, when
    assert wire(answer) == snapshot
    unknown = await project.ask_results({"id": str(uuid.uuid4())}, asOf="1")
    assert unknown.json()["type"] == "urn:prooflog:problem:experiment_not_found"
    then = (await project.ask_results(experiment, asOf=str(position - 1))).json()
    assert (then["status"], then["asOf"]["position"]) == ("draft", position - 1)


async def test_a_rebuild_mends_past_moments_that_a_server_has_told(
    project: HttpProject, database_url: str
) -> None:
    """What was told before, of tables that somebody had changed, is not told again."""
    experiment = await project.running()
    await project.accepted(impression(experiment, 0, "ann"), impression(experiment, 1, "bob"))
    right = await project.results(experiment)
    position = str(right["asOf"]["position"])
    async with await connect(database_url) as builder, await connect(database_url) as keeper:
        live = await live_schema(builder)
        await builder.execute(f"update {live}.variant_tally set visitors = visitors + 100")
        wrong = (await project.ask_results(experiment, asOf=position)).json()
        assert wrong["variants"][0]["visitors"] == 101
        assert len(await rebuild(builder, keeper)) == 1
    mended = (await project.ask_results(experiment, asOf=position)).json()
    assert (mended["variants"], mended["digest"]) == (right["variants"], right["digest"])


async def test_a_moment_that_is_none_is_refused(project: HttpProject, snapshot: SnapshotAssertion) -> None:
    """400 beyond the end of the log, for what is neither a time nor a position, and for the future."""
    experiment = await project.running()
    position = (await project.results(experiment))["asOf"]["position"]
    answer = await project.ask_results(experiment, asOf=str(position + 1))
    assert wire(answer) == snapshot(name="beyond the end")
    for when in ("", "-1", "1.5", "now", "9" * 30, "2026-13-01", "\0", "٣", "1e3"):
        answer = await project.ask_results(experiment, asOf=when)
        assert wire(answer) == snapshot(name="garbage")
    for when in ("2999-01-01", "9999-12-31T23:59:59-14:00"):
        answer = await project.ask_results(experiment, asOf=when)
        assert (answer.status_code, answer.json()["detail"]) == (400, "asOf lies in the future")


async def test_a_position_is_taken_as_pages_write_it(project: HttpProject) -> None:
    """With commas between thousands it is the same moment; commas elsewhere are no position."""
    experiment = await project.running()
    for _ in range(10):
        await project.accepted(*(impression(experiment, 0, "v1") for _ in range(100)))
    await project.results(experiment)
    plain, written = [await project.ask_results(experiment, asOf=when) for when in ("1000", "1,000")]
    assert (written.status_code, written.content) == (200, plain.content)
    for when, detail in (("999,999", "is beyond the end of the log"), ("1,00", "is neither an ISO 8601 time")):
        answer = await project.ask_results(experiment, asOf=when)
        assert (answer.status_code, detail in answer.json()["detail"]) == (400, True)


async def test_a_moment_just_now_is_answered_once_it_is_settled(project: HttpProject) -> None:
    """A time that commits in flight could still change waits for them; asked again it is the same."""
    experiment = await project.running()
    await project.accepted(impression(experiment, 0, "v1"))
    moment = datetime.now(UTC)
    await project.accepted(impression(experiment, 1, "v2"))

    asked = [await project.ask_results(experiment, asOf=moment.isoformat()) for _ in range(2)]

    assert datetime.now(UTC) - moment >= timedelta(seconds=2)
    assert asked[0].content == asked[1].content
    assert [variant["visitors"] for variant in asked[0].json()["variants"]] == [1, 0]


async def test_every_reason_to_count_an_event_for_no_variant_is_told(project: HttpProject) -> None:
    """One event for each reason, and each is counted once."""
    experiment = await project.running(goals=GOALS, attributionWindowHours=1)
    bought = {"eventData": {"amount": 1}}
    await project.accepted(
        impression(experiment, 0, "ann", timestamp=ago(FRESH)),
        impression(experiment, 0, "bob", timestamp=ago(FRESH)),
        impression(experiment, 1, "bob", timestamp=ago(FRESH) + 1),
        impression(experiment, 0, "cid", timestamp=ago(3 * HOUR_MS)),
        impression(experiment, 1, "dan", timestamp=ago(FRESH)),
        impression(experiment, 1, "eve", timestamp=ago(FRESH)),
        conversion("bob", **bought),  # multiple_exposures
        conversion("cid", **bought),  # outside_window
        conversion("dan", timestamp=ago(2 * FRESH), **bought),  # before_exposure
        conversion("eve"),  # value_not_usable, for the goal that needs a value
        conversion("zoe", **bought),  # not_exposed
    )
    somebody = {"visitor": {"id": "backend"}, "properties": {"amount": 1}}
    other = str(uuid.uuid4())
    for fields in (
        {"experimentId": other, "variantId": other},  # unknown_experiment
        {**chosen(experiment, 0), "variantId": other},  # unknown_variant
        {**chosen(experiment, 1), "visitor": {"id": "ann"}},  # contradicts_exposure
        {**chosen(experiment, 0), "eventType": "refund"},  # no_matching_goal
    ):
        assert (await project.server_event(somebody | fields)).status_code == 201
    found = await project.results(experiment)
    assert reasons(found) == dict.fromkeys(
        (
            "unknown_experiment",
            "unknown_variant",
            "contradicts_exposure",
            "multiple_exposures",
            "before_exposure",
            "outside_window",
            "not_exposed",
            "no_matching_goal",
            "value_not_usable",
        ),
        1,
    )
    assert all(entry["explanation"] for entry in found["unattributed"])
    assert [by_name(found)[name]["converters"] for name in ("Control", "Bold")] == [0, 1]


async def test_an_exposure_that_arrives_after_its_conversion_still_counts_it(project: HttpProject) -> None:
    """What counts is when things happened, not when they arrived."""
    experiment = await project.running(goals=GOALS)
    bought_at = ago(FRESH)
    await project.accepted(conversion("ann", eventData={"amount": 5}, timestamp=bought_at))
    assert reasons(await project.results(experiment)) == {"not_exposed": 1}
    await project.accepted(impression(experiment, 1, "ann", timestamp=bought_at - 1000))
    found = await project.results(experiment)
    assert reasons(found) == {}
    assert by_name(found)["Bold"]["converters"] == 1


async def test_a_visitor_of_two_variants_is_counted_apart(project: HttpProject) -> None:
    """In neither arm's visitors nor converters, but in the first one's multiple exposures."""
    experiment = await project.running(goals=GOALS)
    await project.accepted(
        impression(experiment, 1, "ann"),
        conversion("ann", eventData={"amount": 5}),
        impression(experiment, 0, "ann"),
    )
    found = await project.results(experiment)
    counts = {
        variant["name"]: (variant["visitors"], variant["multipleExposures"]) for variant in found["variants"]
    }
    assert counts == {"Control": (0, 0), "Bold": (0, 1)}
    assert by_name(found)["Bold"]["converters"] == 0
    assert reasons(found) == {"multiple_exposures": 1}


async def test_a_backend_may_convert_an_id_that_the_browser_never_reported(project: HttpProject) -> None:
    """With an explicit variant one converter per distinct id, however often it converts."""
    experiment = await project.running(goals=GOALS)
    await project.accepted(*(impression(experiment, 1, f"v{n}") for n in range(4)))
    for visitor in ("user-1", "user-1", "user-2"):
        await project.server_event(visitor={"id": visitor}, properties={"amount": 1}, **chosen(experiment, 1))
    bold = by_name(await project.results(experiment))["Bold"]
    assert (bold["visitors"], bold["converters"], bold["conversions"], bold["rate"]) == (4, 2, 3, 0.5)


async def test_without_a_visitor_id_every_event_is_a_converter(project: HttpProject) -> None:
    """Nobody can tell them apart, so that none is dropped."""
    experiment = await project.running(goals=GOALS)
    await project.accepted(*(impression(experiment, 1, f"v{n}") for n in range(4)))
    for _ in range(3):
        await project.server_event(properties={"amount": 1}, **chosen(experiment, 1))
    bold = by_name(await project.results(experiment))["Bold"]
    assert (bold["converters"], bold["conversions"]) == (3, 3)


async def test_results_hold_what_was_just_acknowledged(project, monkeypatch) -> None:
    """Whoever reports and asks at once sees it: tallies are waited for, and then read again."""
    monkeypatch.setattr("app.find_results.FRESHNESS_WAIT_SECONDS", 30)
    experiment = await project.running()
    await project.results(experiment)
    for number in range(1, 6):
        await project.track(impression(experiment, 0, f"visitor {number}"))
        results = (await project.ask_results(experiment)).json()
        assert (results["variants"][0]["visitors"], results["lag"]["events"]) == (number, 0)


async def test_more_converters_than_visitors_are_reported_and_not_hidden_in_a_rate(
    project: HttpProject,
) -> None:
    """The surplus is told, the rate and the mean are null, and there is no verdict."""
    experiment = await project.running(goals=GOALS)
    await project.accepted(impression(experiment, 0, "a"), impression(experiment, 1, "b"))
    for number in range(3):
        await project.server_event(
            visitor={"id": f"user-{number}"}, properties={"amount": 1}, **chosen(experiment, 1)
        )
    found = await project.results(experiment)
    bold = by_name(found)["Bold"]
    assert (bold["visitors"], bold["converters"], bold["surplusConverters"], bold["rate"]) == (1, 3, 2, None)
    assert by_name(found, 2)["Bold"]["value"] == {"sum": 3.0, "mean": None}
    [comparison] = found["goals"][0]["comparisons"]
    assert comparison["verdict"] == "not_enough_data"
    assert "More ids converted" in comparison["reason"]


async def test_one_purchase_counts_for_every_experiment_that_the_visitor_saw(project: HttpProject) -> None:
    """Without a named experiment a conversion is attributed to each, and a retry adds nothing."""
    experiments = [await project.running(name=name, goals=GOALS) for name in ("one", "two")]
    await project.accepted(*(impression(each, 1, "ann", timestamp=ago(FRESH) + i) for i, each in enumerate(experiments)))  # noqa: E501  # fmt: skip
    bought = conversion("ann", eventData={"amount": 5})
    await project.accepted(bought)
    assert (await project.track(bought)).json()["duplicates"] == 1
    for each in experiments:
        bold = by_name(await project.results(each))["Bold"]
        assert (bold["converters"], bold["conversions"]) == (1, 1)


async def test_page_views_between_change_nothing(project: HttpProject) -> None:
    """Events that no goal counts are kept and cost no reason."""
    experiment = await project.running(goals=GOALS)
    await project.accepted(event(), event(eventType="scroll", eventData={"depth": 25}))
    assert (await project.results(experiment))["unattributed"] == []


async def test_who_is_logged_in_to_the_dashboard_reads_results(project: HttpProject) -> None:
    """The admin of every project, a user and a key of theirs; anybody else's cookie is as good as nothing."""
    experiment = await project.running()
    await project.results(experiment)
    other = await open_project(project.client, "Elsewhere")
    path = f"{API}/experiments/{experiment['id']}/results"
    admin = await log_in(project.client)
    own = await log_in(project.client, token=project.secret_key)
    foreign = await log_in(project.client, token=other.secret_key)
    for browser, status in ((admin, 200), (own, 200), (foreign, 404), (project.client, 401)):
        assert (await browser.get(path)).status_code == status
    for cookie in ("", "a.b", "\xff.\xff", str(admin.cookies[COOKIE])[:-1]):
        header = f"{COOKIE}={cookie}".encode("latin-1")
        assert (await project.client.get(path, headers={"cookie": header})).status_code == 401


async def test_a_login_finds_no_experiment_that_does_not_exist(project: HttpProject) -> None:
    """404, for a known and for an unreadable id."""
    admin = await log_in(project.client)
    for wanted in (uuid.uuid4(), "nonsense"):
        assert (await admin.get(f"{API}/experiments/{wanted}/results")).status_code == 404


async def test_an_experiment_that_projections_have_not_reached_is_not_called_unknown(database_url) -> None:
    """It answers 503 with Retry-After until it is counted: 404 would say that it does not exist."""
    async with open_client(database_url, with_worker=False) as client:
        project = await open_project(client)
        experiment = await project.running()

        answer = await project.ask_results(experiment)

        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["type"] == "urn:prooflog:problem:not_counted_yet"


async def test_results_are_not_read_from_tables_of_another_version(project: HttpProject, connection) -> None:
    """A server that a newer one is about to replace takes events in, and refuses results it might read wrongly."""
    experiment = await project.running()
    await project.accepted(impression(experiment, 0, "v1"))
    before = await project.results(experiment)
    first = await project.results(experiment, asOf=before["asOf"]["position"] - 1)
    await connection.execute("update projection_generation set layout = layout + 1")

    admin = await log_in(project.client)
    await project.accepted(impression(experiment, 1, "v2"))
    # A session for past moments that has tables already, and what is kept, of which nothing became wrong.
    for query, status in (({}, 503), ({"asOf": 3}, 503), ({"asOf": first["asOf"]["position"]}, 200)):
        answer = await project.ask_results(experiment, **query)
        assert answer.status_code == status
        if status == 503:
            assert answer.headers["retry-after"] == "1"
            assert answer.json()["type"] == "urn:prooflog:problem:other_version"
    for page in ("", "?by=device", "?asOf=2", "/why?q=v1"):
        answer = await admin.get(f"/dashboard/experiments/{experiment['id']}{page}")
        assert answer.status_code == 503
        assert "a newer version of prooflog: replace this server" in answer.text
    assert (await project.client.get("/readyz")).status_code == 200

    await connection.execute("update projection_generation set layout = layout - 1")
    again = await project.results(experiment)
    assert sum(each["visitors"] for each in again["variants"]) == 2


async def test_replays_wait_for_each_other_and_few_may_wait(project: HttpProject, monkeypatch) -> None:
    """Past moments are derived one after another; beyond the few that wait the answer is 503."""
    monkeypatch.setattr(replays, "REPLAYS_WAITING_MAX", 3)
    experiment = await project.running()
    await project.accepted(impression(experiment, 0, "v1"))
    await project.results(experiment)

    answers = await asyncio.gather(*(project.ask_results(experiment, asOf="4") for _ in range(20)))

    found = [answer.status_code for answer in answers]
    assert set(found) == {200, 503}
    assert found.count(200) >= 3
    assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 503)


async def test_a_past_moment_is_derived_once(project: HttpProject, monkeypatch) -> None:
    """Who asks for it again, or at the same time, gets the same bytes without another replay."""
    derived, read_pasts = [], replays.read_pasts

    def counted(*given):
        derived.append(given)
        return read_pasts(*given)

    monkeypatch.setattr(replays, "read_pasts", counted)
    experiment, other = await project.running(), await project.running(name="Other")
    await project.accepted(impression(experiment, 0, "v1"), impression(experiment, 1, "v2"))
    last = (await project.results(experiment))["asOf"]["position"]

    at_once = await asyncio.gather(*(project.ask_results(experiment, asOf=last - 1) for _ in range(4)))
    again = await project.ask_results(experiment, asOf=last - 1)

    assert len({answer.content for answer in (*at_once, again)}) == 1
    assert len(derived) == 1
    await project.ask_results(experiment, asOf=last - 2)
    await project.ask_results(other, asOf=last - 1)
    assert len(derived) == 3


async def test_a_horizon_and_a_margin_may_be_stated(project: HttpProject) -> None:
    """`plannedVisitors` belongs to group_sequential, `guardrailMargin` is a share; nonsense is refused."""
    experiment = await shop(project)
    asked = {"method": "group_sequential", "plannedVisitors": 1000, "guardrailMargin": 0.1}
    found = await project.results(experiment, **asked)
    assert found["goals"][0]["comparisons"][0]["regime"] == "group_sequential"
    assert found["goals"][0]["comparisons"][0]["groupSequential"]["reason"]
    assert found["decision"]["action"] == "keep_running"
    for query, path in (
        ({"method": "group_sequential"}, "plannedVisitors"),
        ({"plannedVisitors": 0}, "plannedVisitors"),
        ({"guardrailMargin": 1}, "guardrailMargin"),
        ({"guardrailMargin": "nan"}, "guardrailMargin"),
    ):
        answer = await project.ask_results(experiment, **query)
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, path)
