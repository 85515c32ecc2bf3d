"""Results by segment: who is in which, what is adjusted, and what a late exposure moves."""

import html
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from app.database import connect
from app.result_breakdown import VALUES_MAX, Breakdown, breakdown_of
from app.settings import Settings
from projections.breakdown import SegmentOutcomes, Segments, SegmentVisitors
from projections.generations import live_schema, rebuild
from projections.queries import queries
from projections.results import read_live_of
from tests.app.http_project import HttpProject, Json, conversion, event, impression, open_client, open_project
from tests.app.test_dashboard import address, visitor, words
from tests.app.test_results_of import BUYS, IDS, counted, found
from tests.app.test_visitor_agent import IPHONE, WINDOWS

__all__ = ["visitor"]

Rows = dict[str | None, tuple[tuple[int, int], tuple[int, int]]]


def broken_down(rows: Rows, epoch: int = 1) -> Breakdown:
    """(visitors, converters) of control and variant by value."""
    plan = counted({1: [(1, 0), (1, 0)]}).plan
    arms = [(value, id_, *arm) for value, pair in rows.items() for id_, arm in zip(IDS, pair, strict=False)]
    segments = Segments(
        [SegmentVisitors(value, id_, epoch, n) for value, id_, n, _ in arms],
        [SegmentOutcomes(value, id_, epoch, s, s, Decimal(s), Decimal(s)) for value, id_, _, s in arms],
    )
    return breakdown_of(plan, BUYS, "device", segments, 0.05)


def test_a_segment_compares_its_own_visitors() -> None:
    """As the whole would, had it only these; p-values are adjusted for their number."""
    rows: Rows = {"phone": ((2000, 200), (2000, 300)), "desktop": ((900, 90), (900, 91)), None: ((9, 1), (9, 1))}
    made = broken_down(rows)
    assert [segment.value for segment in made.segments] == ["phone", "desktop", None]
    phone = made.segments[0]
    [comparison] = found(counted({1: [(2000, 200), (2000, 300)]})).goals[0].comparisons
    valid = comparison.always_valid
    lift = phone.lifts[IDS[1]]
    assert lift.lift == pytest.approx((valid.relative.estimate, valid.relative.low, valid.relative.high))
    assert lift.p == pytest.approx(2 * valid.p_value)
    assert phone.arms[IDS[1]] == (2000, 300, 0.15)
    assert made.comparisons == 2
    assert made.segments[2].lifts[IDS[1]] == ((0.0, None, None), None)


def test_many_values_are_cut_off_and_stand_together() -> None:
    """So many segments at most, the largest first; nobody is lost."""
    rows: Rows = {f"value {n}": ((100 + n, 10), (100 + n, 12)) for n in range(50)}
    made = broken_down(rows)
    assert len(made.segments) == VALUES_MAX
    assert (made.segments[0].value, made.segments[-1].others) == ("value 49", 31)
    assert _total(made, IDS[0]) == sum(n for (n, _), _ in rows.values())
    assert broken_down({}).segments == []


def _total(made: Breakdown, variant: UUID) -> int:
    return sum(segment.arms[variant].visitors for segment in made.segments)


async def test_the_page_breaks_a_goal_down(visitor: httpx.AsyncClient, project: HttpProject) -> None:
    """By browser, referrer and campaign of the first exposure; an earlier one that arrives late moves it."""
    experiment = await project.running()
    await _visit(project, experiment, IPHONE, ["a", "b"], referrer="https://search.example/?q=x")
    await _visit(project, experiment, WINDOWS, ["c"], utm={"source": "mail", "campaign": "autumn"})
    await _visit(project, experiment, WINDOWS, ["a"], referrer="https://news.example/")
    await project.track(conversion("a"), conversion("c"))
    shown = impression(experiment, 1, "b", timestamp=event()["timestamp"] - 3_600_000, pathname="/earlier")
    await project.track(shown, headers={"User-Agent": WINDOWS})
    await project.results(experiment)
    assert await _segments(visitor, experiment, "device") == ["desktop 1 / 2", "phone 1 / 1"]
    assert await _segments(visitor, experiment, "os") == ["Windows 1 / 2", "iOS 1 / 1"]
    assert await _segments(visitor, experiment, "referrer") == ["not known 1 / 2", "search.example 1 / 1"]
    assert await _segments(visitor, experiment, "utm_campaign") == ["not known 1 / 2", "autumn 1 / 1"]
    assert await _segments(visitor, experiment, "country") == ["not known 2 / 3"]
    page = await visitor.get(address(experiment), params={"by": "device"})
    assert "Many segments are many chances to be wrong" in words(page)
    plain = words(await visitor.get(address(experiment), params={"by": "colour"}))
    assert "Choose what to break “conversion” down by." in plain


async def test_a_past_moment_is_broken_down_as_it_was(visitor: httpx.AsyncClient, project: HttpProject) -> None:
    """Before a late exposure moved a visitor who had bought; all links and forms keep moment and dimension."""
    experiment = await project.running()
    await _visit(project, experiment, IPHONE, ["a", "b"])
    await project.track(conversion("a"), conversion("b"))
    then = (await project.results(experiment))["asOf"]["position"]
    now = await visitor.get(address(experiment), params={"by": "device"})
    exactly = re.search(r'id="exactly" href="([^"]+)"', now.text)
    shown = impression(experiment, 1, "b", timestamp=event()["timestamp"] - 3_600_000, pathname="/earlier")
    await project.track(shown, headers={"User-Agent": WINDOWS})
    await _visit(project, experiment, WINDOWS, ["c"])
    await project.results(experiment)
    assert await _segments(visitor, experiment, "device") == ["desktop 1 / 2", "phone 1 / 1"]
    assert await _segments(visitor, experiment, "device", asOf=then) == ["phone 2 / 2"]
    assert await _segments(visitor, experiment, "os", asOf=then) == ["iOS 2 / 2"]
    assert exactly is not None
    past = await visitor.get(html.unescape(exactly[1]))
    assert (_rows(past), 'aria-current="true">device' in past.text) == (["phone 2 / 2"], True)
    assert past.text.count('<input type="hidden" name="by" value="device">') == 2
    assert f"?asOf={then}&amp;by=browser" in past.text


async def test_segments_hold_what_was_just_sent_and_are_read_once(
    visitor: httpx.AsyncClient, project: HttpProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page waits until tallies have come so far, and reads them only where something has come."""
    monkeypatch.setattr("app.find_results.FRESHNESS_WAIT_SECONDS", 30)
    experiment = await project.running()
    reads: list[UUID] = []

    def counting(*asked: Any) -> Any:
        reads.extend(asked[2])
        return read_live_of(*asked)

    monkeypatch.setattr("app.find_results.read_live_of", counting)
    for number, seen in enumerate(("a", "b", "c"), 1):
        await _visit(project, experiment, IPHONE, [seen])
        for _ in range(2):
            assert await _segments(visitor, experiment, "device") == [f"phone 0 / {number}"]
        assert len(reads) == number
    assert await _segments(visitor, experiment, "os") == ["iOS 0 / 3"]
    assert len(reads) == 4


async def test_what_a_rebuild_has_mended_is_read_anew(
    visitor: httpx.AsyncClient, project: HttpProject, database_url: str, connection: psycopg.AsyncConnection[Any]
) -> None:
    """A breakdown that was looked at while tallies were wrong is no longer shown."""
    experiment = await project.running()
    await _visit(project, experiment, IPHONE, ["a", "b"])
    await project.results(experiment)
    broken = SQL("update {}.visitor_exposure set multiple = true").format(
        Identifier(await live_schema(connection))
    )
    await connection.execute(broken)
    assert await _segments(visitor, experiment, "device") == []

    async with await connect(database_url) as rebuilding, await connect(database_url) as keeping:
        assert await rebuild(rebuilding, keeping)

    assert await _segments(visitor, experiment, "device") == ["phone 0 / 2"]


async def test_a_breakdown_that_takes_too_long_is_given_up_in_words(
    visitor: httpx.AsyncClient, project: HttpProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one read that grows with visitors holds up nobody for long."""
    experiment = await project.running()
    position = (await project.results(experiment))["asOf"]["position"]
    await project.track(impression(experiment, 0, "a"))
    await project.results(experiment)
    slow = {"limit": "set local statement_timeout = '20ms'", "counted": "select pg_sleep(10)"}
    with monkeypatch.context() as patched:
        patched.setattr("projections.breakdown.queries", lambda file: queries(file) | slow)
        for when in ({}, {"asOf": position}):
            page = await visitor.get(address(experiment), params={"by": "device", **when})
            assert (page.status_code, "so many visitors cannot be broken down" in words(page)) == (503, True)
    page = await visitor.get(address(experiment), params={"by": "device", "asOf": position})
    assert page.status_code == 200


async def _visit(
    project: HttpProject, experiment: Json, agent: str, names: Iterable[str], **fields: object
) -> None:
    seen = [impression(experiment, 1, name, **fields) for name in names]
    answer = await project.track(*seen, headers={"User-Agent": agent})
    assert answer.json()["accepted"] == len(seen)


async def _segments(visitor: httpx.AsyncClient, experiment: Json, by: str, **when: Any) -> list[str]:
    return _rows(await visitor.get(address(experiment), params={"by": by, **when}))


def _rows(page: httpx.Response) -> list[str]:
    """Each value with the converters and visitors of the variant."""
    table = page.text.partition('class="cards segments"')[2].partition("</table>")[0]
    bodies = [words(httpx.Response(200, text=body)) for body in table.split("<tbody>")[1:]]
    return [
        f"{body.partition(' Control ')[0]} {' '.join(body.partition(' Bold ')[2].split()[:3])}" for body in bodies
    ]


async def test_only_exposures_say_where_they_come_from(database_url: str, connection) -> None:
    """Device, browser, system and the country that a named header gives; never the text or the address."""
    async with open_client(database_url, Settings(country_header="X-Country")) as client:
        project = await open_project(client)
        experiment = await project.running()
        headers = {"User-Agent": IPHONE, "X-Country": "nl", "CF-IPCountry": "DE"}
        await project.track(impression(experiment, 0, "a"), event(visitorId="a"), headers=headers)
        await project.track(impression(experiment, 0, "b"), headers={**headers, "Content-Encoding": "identity"})
        body = {"eventType": "experiment_impression", "visitor": {"id": "s", "userAgent": WINDOWS}}
        chosen = {"experimentId": experiment["id"], "variantId": experiment["variants"][0]["id"]}
        await project.server_event(body, **chosen)
    rows = await connection.execute(
        "select visitor_id, event_type, context from event_log where source <> 'management' order by position"
    )
    known = {"device": "phone", "browser": "Safari", "os": "iOS", "country": "NL"}
    assert await rows.fetchall() == [
        ("a", "experiment_impression", known),
        ("a", "pageview", None),
        ("b", "experiment_impression", known),
        ("s", "experiment_impression",
         {"userAgent": WINDOWS, "device": "desktop", "browser": "Chrome", "os": "Windows"}),
    ]  # fmt: skip
