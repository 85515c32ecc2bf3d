"""Why was this counted, on its page: by visitor, event, key and position."""

import html
import re
from uuid import uuid4

import httpx
import pytest

from app.find_results import as_position
from projections.explain import EVENTS_MAX
from tests.app.http_project import HttpProject, Json, conversion, event, impression, open_project
from tests.app.test_dashboard import address, visitor, words

__all__ = ["visitor"]


@pytest.fixture
async def experiment(project: HttpProject) -> Json:
    """An experiment that ann saw once and bob in both variants."""
    experiment = await project.running()
    await project.accepted(impression(experiment, 1, "ann"), impression(experiment, 1, "ann"))
    await project.accepted(impression(experiment, 0, "bob"), impression(experiment, 1, "bob"))
    chosen = {"experimentId": experiment["id"], "variantId": experiment["variants"][1]["id"]}
    other = {**chosen, "variantId": str(uuid4())}
    await project.accepted(
        conversion("ann"),
        conversion("ann", eventData={**chosen, "variantId": experiment["variants"][0]["id"]}),
        conversion("ann", eventData=other),
        event(visitorId="ann", eventType="conversion", timestamp=event()["timestamp"] - 86_400_000),
        event(visitorId="ann"),
        conversion("bob"),
        conversion("eve"),
    )
    await project.server_event(idempotencyKey="order-1", visitor={"id": "ann"}, **chosen)
    await project.server_event(idempotencyKey="order-2", **chosen)
    await project.results(experiment)
    return experiment


async def ask(visitor: httpx.AsyncClient, experiment: Json, text: str) -> str:
    """What the page says about something entered."""
    page = await visitor.get(f"{address(experiment)}/why", params={"q": text})
    assert page.status_code == 200
    return words(page).partition("Look up")[2]


async def test_a_visitor_has_an_exposure_a_window_and_a_rule_for_each_event(
    visitor: httpx.AsyncClient, experiment: Json
) -> None:
    """Position, plan with its epoch, and for every event whether it counts and why."""
    said = await ask(visitor, experiment, "ann")
    assert said.startswith(" Taken for a visitor.")
    assert re.search(
        r"First shown Bold When \S+ \S+ UTC by the client's clock In the log position 5, received", said
    )
    assert "Window 720 hours, until" in said
    assert "Counted as one visitor of that variant" in said
    assert re.search(r"Epoch 1 of 1, since \S+ \S+ UTC : Control 50, Bold 50; 100 % of visitors", said)
    yes = said.count("“conversion”: yes, for “Bold”")
    noes = re.findall(r"no, (\w+)", said)
    assert (yes, sorted(noes)) == (2, ["before_exposure", "contradicts_exposure", "unknown_variant"])
    assert "happened after the first exposure and within 720 hours of it." in said
    assert "Names the experiment and the variant" in said
    assert "The event names a variant that its experiment does not have." in said


async def test_further_variants_and_strangers(visitor: httpx.AsyncClient, experiment: Json) -> None:
    """Who saw several variants is left out, with both; who saw none has events that count for nothing."""
    said = await ask(visitor, experiment, "bob")
    assert "Counted as multiple exposure" in said
    assert re.search(r"Control, first \S+ \S+ UTC position 7, .* Bold, first \S+ \S+ UTC position 8,", said)
    assert "no, multiple_exposures" in said
    said = await ask(visitor, experiment, "eve")
    assert "Never exposed to this experiment." in said
    assert "no, not_exposed" in said


async def test_an_event_is_found_by_key_id_and_position(
    visitor: httpx.AsyncClient, project: HttpProject, experiment: Json
) -> None:
    """Each leads to its visitor, or stands for itself; what is no goal event says what it is."""
    said = await ask(visitor, experiment, "order-1")
    assert "Taken for an idempotency key. The event is conversion “purchase” at position 16," in said
    assert "from visitor ann" in said
    answer = await project.server_event(idempotencyKey="order-2")
    id_ = answer.json().get("eventId") or (await ask(visitor, experiment, "order-2"))
    said = await ask(visitor, experiment, "order-2")
    assert "This event has no visitor, so nobody was exposed." in said
    assert "“conversion”: yes, for “Bold”" in said
    assert isinstance(id_, str)
    for position, text in [
        ("5", "It is an exposure: see above."),
        ("#6", "It is a repeated impression"),
        ("13", "No goal of this experiment counts such events."),
        ("4", "It is a change of the project or of an experiment"),
    ]:
        assert text in await ask(visitor, experiment, position)
    for nothing, text in [
        ("nobody", "No visitor, event or idempotency key of this project is known by it."),
        (str(uuid4()), "No visitor has this id, and no event that is remembered."),
        ("999", "The log has no event at this position"),
        ("\0'; --", "No visitor, event or idempotency key"),
        ("ffffffff-ffff-7fff-bfff-ffffffffffff", "no event that is remembered"),
    ]:
        assert text in await ask(visitor, experiment, nothing)


async def test_another_project_is_none_of_its_business(visitor: httpx.AsyncClient, experiment: Json) -> None:
    """Visitors and events of other projects are not found; an unknown experiment is no page."""
    other = await open_project(visitor, "Other")
    elsewhere = await other.running()
    await other.results(elsewhere)
    assert "Never exposed" not in await ask(visitor, elsewhere, "ann")
    assert (await visitor.get(f"/dashboard/experiments/{uuid4()}/why")).status_code == 404
    assert (await visitor.get(f"{address(experiment)}/why")).status_code == 200


async def test_events_of_a_busy_visitor_have_pages(
    visitor: httpx.AsyncClient, project: HttpProject, experiment: Json
) -> None:
    """Links lead on and back to the first; an event that is asked for begins the list if no first one does."""
    await project.accepted(impression(experiment, 1, "zed"), *[conversion("zed") for _ in range(EVENTS_MAX + 10)])
    await project.results(experiment)
    first = await visitor.get(f"{address(experiment)}/why", params={"q": "zed"})
    assert "The first events" not in first.text
    [on] = re.findall(r'rel="next" href="([^"#]+)', first.text)
    second = await visitor.get(html.unescape(on))
    assert "Later events" not in second.text
    assert [len(_positions(page.text)) for page in (first, second)] == [EVENTS_MAX, 10]
    assert not {*_positions(first.text)} & {*_positions(second.text)}
    [back] = re.findall(r'rel="first" href="([^"#]+)', second.text)
    assert _positions((await visitor.get(html.unescape(back))).text) == _positions(first.text)

    late = _positions(second.text)[4]
    asked = await visitor.get(f"{address(experiment)}/why", params={"q": late})
    assert _positions(asked.text) == _positions(second.text)[4:]
    assert asked.text.count('aria-current="true"') == 1
    early = await visitor.get(f"{address(experiment)}/why", params={"q": _positions(first.text)[4]})
    assert _positions(early.text) == _positions(first.text)
    elsewhere = await visitor.get(f"{address(experiment)}/why", params={"q": late, "from": "1"})
    assert "It stands on another page of the list" in words(elsewhere)
    assert _positions(elsewhere.text) == _positions(first.text)
    for wrong in ("-1", "x", "9" * 30):
        page = await visitor.get(f"{address(experiment)}/why", params={"q": "zed", "from": wrong})
        assert _positions(page.text) == _positions(first.text)


async def test_an_event_that_no_list_has_leaves_the_list_as_it_is(
    visitor: httpx.AsyncClient, project: HttpProject, experiment: Json
) -> None:
    """A repeated impression is told for what it is; one of an unknown variant is listed, if on another page."""
    await project.accepted(impression(experiment, 1, "zed"), *[conversion("zed") for _ in range(EVENTS_MAX + 1)])
    strange = impression(experiment, 1, "zed")
    strange["eventData"]["variantId"] = str(uuid4())
    await project.accepted(impression(experiment, 1, "zed"), strange)
    end = (await project.results(experiment))["asOf"]["position"]
    first = await visitor.get(f"{address(experiment)}/why", params={"q": "zed"})
    repeated = await visitor.get(f"{address(experiment)}/why", params={"q": end - 1})
    assert "It is a repeated impression of a variant that was seen before" in words(repeated)
    assert _positions(repeated.text) == _positions(first.text)
    unknown = await visitor.get(f"{address(experiment)}/why", params={"q": end})
    assert _positions(unknown.text) == [str(end)]
    assert "no, unknown_variant" in words(unknown)
    elsewhere = await visitor.get(f"{address(experiment)}/why", params={"q": end, "from": 1})
    assert "It stands on another page of the list" in words(elsewhere)
    assert "repeated impression" not in words(elsewhere)


async def test_where_a_list_begins_does_not_change_who_is_asked_for(
    visitor: httpx.AsyncClient, experiment: Json
) -> None:
    """Behind the last event of a visitor there is none, and still it is a visitor."""
    page = await visitor.get(f"{address(experiment)}/why", params={"q": "eve", "from": "500"})
    assert "Taken for a visitor." in words(page)
    assert "None from position 500 on." in words(page)


@pytest.mark.parametrize(
    ("text", "position"),
    [("7", 7), ("007", 7), ("1,234", 1234), ("12,345,678", 12345678)]
    + [(text, None) for text in ("", "1,2", "1,23,456", "1234,567", ",123", "-1", "1.5", "٣", "9" * 19)],
)
def test_a_position_is_written_with_commas_or_without(text: str, position: int | None) -> None:
    """As pages write it or as exports do; an idempotency key with a comma is none."""
    assert as_position(text) == position


def _positions(page: str) -> list[str]:
    return re.findall(r'<td data-label="Position" class="num"><span [^>]*>([\d,]+)<', page)
