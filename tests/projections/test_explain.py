"""Why was this counted: the answers about all visitors add up to the tallies, for any log."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from hypothesis import given

from app.database import connect
from domain.events import ExperimentDetailsChanged, Fact
from domain.experiment import Goal
from projections.catch_up import create_staging, use_schema
from projections.conversions import judge
from projections.explain import EVENTS_MAX, JUDGEMENTS_MAX, Visitor, event_at, explain, search_event
from projections.generations import catch_up_live, live_schema
from tests.projections.any_log import for_any_log
from tests.projections.log_of_events import START, Seen, new_project, plan, write
from tests.projections.oracle import Expected
from tests.projections.test_tallies import PLANS, logs


@for_any_log(examples=10)
@given(log=logs())
def test_answers_about_all_visitors_add_up_to_the_tallies(database_url, log) -> None:
    """Exposures, conversions by goal and variant, and reasons: as the oracle counts them from the whole log."""
    asyncio.run(_check(database_url, log))


async def _check(url: str, log: list[Seen | Fact]) -> None:
    async with await connect(url) as connection:
        project_id = await new_project(connection)
        await write(connection, project_id, *log)
        await catch_up_live(connection, project_id)
        events = [await event_at(connection, project_id, at) for at in range(1, len(log) + 1)]
        units = {event.unit_id for event in events if event is not None and event.source != "management"}
        for tested in PLANS:
            found = [await explain(connection, project_id, tested.experiment_id, unit) for unit in sorted(units)]
            _assert_expected([each for each in found if each], Expected(log, tested.experiment_id))
        await _find_each(connection, project_id, [event for event in events if event is not None])


def _assert_expected(found: list[Visitor], expected: Expected) -> None:
    exposed = {
        each.unit_id: (each.exposure.variant_id, each.exposure.exposed_at, each.epoch, each.multiple)
        for each in found
        if each.exposure is not None
    }
    assert exposed == expected.exposed
    for each in found:
        seen = _impressions(expected, each.unit_id)
        assert (len({event.variant for _, event in seen}) > 1) == each.multiple
        if each.exposure is not None:
            assert each.exposure == min(_placed(seen), key=lambda placed: (placed[1], placed[0], placed[2]))
        firsts = {
            variant: min((event.occurred_at, at) for at, event in seen if event.variant == variant)
            for variant in {event.variant for _, event in seen if each.multiple}
        }
        assert {variant: (time, at) for variant, time, at in each.variants} == firsts
    conversions = Counter(
        (outcome.goal, outcome.variant_id)
        for each in found
        for event in each.events
        for outcome in event.outcomes
        if outcome.reason is None
    )
    assert conversions == Counter({key: n for key, n in expected.conversions.items() if n})
    reasons: Counter[str] = Counter()
    for each in found:
        for event in each.events:
            named = {outcome.reason for outcome in event.outcomes if outcome.reason} | {event.reason} - {None}
            assert bool(named) or any(outcome.reason is None for outcome in event.outcomes) or not event.counts
            reasons.update(str(reason) for reason in named if reason)
    assert reasons == expected.reasons


def _impressions(expected: Expected, visitor: str) -> list[tuple[int, Seen]]:
    return [
        (at, event)
        for at, event in enumerate(expected.log, 1)
        if isinstance(event, Seen)
        and at > expected.created_at
        and event.event_type == "experiment_impression"
        and event.visitor == visitor
        and event.experiment == expected.plan.experiment_id
        and event.variant in expected.variants
    ]


def _placed(seen: Iterable[tuple[int, Seen]]) -> list[tuple[Any, datetime, int]]:
    return [(event.variant, event.occurred_at, at) for at, event in seen]


async def _find_each(connection: Any, project_id: Any, events: list[Any]) -> None:
    """An event of now is found by its id; the others lie too far from their time of receipt."""
    assert [event.position for event in events] == list(range(1, len(events) + 1))
    for event in events[:3]:
        position = await search_event(connection, project_id, event.event_id)
        assert position in {None, event.position}


async def test_an_event_is_found_by_its_id(connection) -> None:
    """From the time in its id on; an id of another time or none is not, and costs a bounded search."""
    project_id, tested = await new_project(connection), plan()
    await write(connection, project_id, tested.created(), tested.started())
    await create_staging(connection)
    late = Seen("ann", 0, experiment=tested.experiment_id, variant=tested.variants[0].id)
    await write(connection, project_id, *[late] * 3)
    for position in range(1, 6):
        event = await event_at(connection, project_id, position)
        assert event is not None
        assert event.received_at <= datetime.now(UTC)
        assert await search_event(connection, project_id, event.event_id) == position
    assert await event_at(connection, project_id, 6) is None


async def test_a_busy_visitor_is_listed_in_parts(connection) -> None:
    """Each part begins where the one before says that it goes on."""
    project_id, tested = await new_project(connection), plan()
    await write(connection, project_id, tested.created(), tested.started())
    bought = Seen("ann", 2, "conversion", "purchase")
    seen = Seen("ann", 1, experiment=tested.experiment_id, variant=tested.variants[0].id)
    await write(connection, project_id, *[bought] * (2 * EVENTS_MAX + 1), seen)
    await catch_up_live(connection, project_id)
    first, parts = 0, []
    while first is not None:
        found = await explain(connection, project_id, tested.experiment_id, "ann", first_position=first)
        assert found is not None
        assert found.first_position == first
        assert all(outcome.reason is None for event in found.events for outcome in event.outcomes[:2])
        assert {len(event.outcomes) for event in found.events} == {len(tested.goals)}
        parts.append([event.position for event in found.events])
        first = found.goes_on_at
    assert [len(part) for part in parts] == [EVENTS_MAX, EVENTS_MAX, 1]
    assert [position for part in parts for position in part] == list(range(3, 3 + 2 * EVENTS_MAX + 1))


async def test_events_that_many_goals_count_are_listed_in_smaller_parts(connection) -> None:
    """A part has no more than so many judgements, and one event at least."""
    project_id = await new_project(connection)
    goals = tuple(Goal(name=f"goal {n}", event_type="conversion", kind="count") for n in range(50))
    tested = plan()._replace(goals=goals)
    seen = Seen("ann", 1, experiment=tested.experiment_id, variant=tested.variants[0].id)
    bought = Seen("ann", 2, "conversion", "purchase")
    await write(connection, project_id, tested.created(), tested.started(), seen, *[bought] * 5)
    await catch_up_live(connection, project_id)
    found = await explain(connection, project_id, tested.experiment_id, "ann")
    assert found is not None
    assert [len(event.outcomes) for event in found.events] == [50] * (JUDGEMENTS_MAX // 50)
    assert found.goes_on_at == found.events[-1].position + 1


async def test_only_events_of_a_range_are_judged(connection) -> None:
    """Of a visitor with thousands of events a page judges those that it lists."""
    project_id, tested = await new_project(connection), plan()
    bought = Seen("ann", 2, "conversion", "purchase")
    seen = Seen("ann", 1, experiment=tested.experiment_id, variant=tested.variants[0].id)
    await write(connection, project_id, tested.created(), tested.started(), *[bought] * 9, seen)
    await catch_up_live(connection, project_id)
    async with connection.transaction():
        await use_schema(connection, await live_schema(connection))
        judged = await judge(connection, project_id, tested.experiment_id, "ann", 4, 7)
    assert {each.position for each in judged} == {5, 6, 7}


async def test_an_event_from_before_a_plan_began_anew_is_judged_by_nobody(connection) -> None:
    """A draft whose window changes starts from nothing: what named it before counts for no goal."""
    project_id, tested = await new_project(connection), plan()
    chosen = {"experiment": tested.experiment_id, "variant": tested.variants[0].id}
    bought = Seen("ann", 2, "conversion", "purchase", **chosen)
    changed = ExperimentDetailsChanged(
        at=START, actor="test", experiment_id=tested.experiment_id, attribution_window_hours=5
    )
    seen = Seen("ann", 1, **chosen)
    await write(connection, project_id, tested.created(), seen, bought, changed, tested.started(), bought)
    await catch_up_live(connection, project_id)
    found = await explain(connection, project_id, tested.experiment_id, "ann")
    assert found is not None
    assert [(event.position, event.counts, len(event.outcomes)) for event in found.events] == [
        (3, False, 0),
        (6, True, len(tested.goals)),
    ]
