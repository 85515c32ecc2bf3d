"""Attribution at its edges: ties, ends of windows, the moments at which experiments change."""

import uuid
from datetime import timedelta

import pytest

from app.results import Asked, digest_of
from projections.catch_up import catch_up, create_staging
from projections.generations import live_schema
from projections.results import Counted, read_live
from tests.projections.log_of_events import START, Seen, new_project, plan, write

EXPERIMENT = plan(window_hours=1)
A, B = (variant.id for variant in EXPERIMENT.variants)


def shown(visitor: str, minute: int, variant: uuid.UUID = A) -> Seen:
    """An impression of the experiment."""
    return Seen(visitor, minute, experiment=EXPERIMENT.experiment_id, variant=variant)


def bought(visitor: str | None, minute: int, variant: uuid.UUID | None = None) -> Seen:
    """A purchase, naming the experiment when it names a variant."""
    experiment = EXPERIMENT.experiment_id if variant else None
    data = '{"amount": 1}'
    return Seen(visitor, minute, "conversion", "purchase", experiment=experiment, variant=variant, data=data)


@pytest.fixture
def counted(connection):
    """Write a log of the started experiment and count it: event by event, and at once in another project."""

    async def count(*entries) -> Counted:
        await create_staging(connection)
        schema = await live_schema(connection)
        found = []
        for events_max in (1, 1_000):
            project_id = await new_project(connection)
            await write(connection, project_id, EXPERIMENT.created(), EXPERIMENT.started(), *entries)
            while (progress := await catch_up(connection, project_id, schema, events_max=events_max)).head:
                if progress.position >= progress.head:
                    break
            found.append(await read_live(connection, project_id, EXPERIMENT.experiment_id))
        [one_by_one, at_once] = found
        assert one_by_one is not None
        assert at_once is not None
        assert digest_of(one_by_one, Asked()) == digest_of(at_once, Asked())
        return one_by_one

    return count


@pytest.mark.parametrize(
    ("minute", "reason"), [(9, "before_exposure"), (10, None), (69, None), (70, "outside_window")]
)
async def test_the_window_begins_with_the_exposure_and_ends_before_its_length(counted, minute, reason) -> None:
    """A conversion at the exposure's own instant counts; one exactly a window later does not."""
    found = await counted(shown("ann", 10), bought("ann", minute))

    assert converters(found) == ({A: 1} if reason is None else {})
    assert dict(found.unattributed) == ({} if reason is None else {reason: 1})


@pytest.mark.parametrize("variant", [A, None])
@pytest.mark.parametrize(
    ("event_type", "event_name", "goals"),
    [
        ("conversion", "purchase", ["conversions", "purchase", "revenue"]),
        ("conversion", "signup", ["conversions"]),
        ("conversion", None, ["conversions"]),
        ("pageview", "purchase", []),
    ],
)
async def test_a_goal_counts_events_of_its_type_and_of_its_name_if_it_has_one(
    counted, variant, event_type, event_name, goals
) -> None:
    """Whether the event names the experiment or not; one that no goal counts is no conversion."""
    named = EXPERIMENT.experiment_id if variant else None
    done = Seen("ann", 2, event_type, event_name, experiment=named, variant=variant, data='{"amount": 1}')

    found = await counted(shown("ann", 1), done)

    assert sorted(row.goal for row in found.outcomes if row.converters) == goals
    assert dict(found.unattributed) == ({} if goals or named is None else {"no_matching_goal": 1})


async def test_two_variants_in_one_instant_are_multiple_exposures_of_the_smaller_id(counted) -> None:
    """The tie is decided by id, so the order of arrival does not matter."""
    for first, second in ((A, B), (B, A)):
        found = await counted(shown("ann", 1, first), shown("ann", 1, second), bought("ann", 2))
        assert exposed(found) == [(A, 0, 1)]
        assert dict(found.unattributed) == {"multiple_exposures": 1}


async def test_a_second_variant_that_arrives_later_takes_the_visitor_out(counted) -> None:
    """A later impression of another variant makes the visitor one of several, without moving the first."""
    found = await counted(shown("ann", 1, A), bought("ann", 2), shown("ann", 5, B))

    assert exposed(found) == [(A, 0, 1)]
    assert converters(found) == {}


async def test_an_exposure_at_the_instant_of_a_change_of_weights_belongs_to_the_new_epoch(counted) -> None:
    """An epoch begins with its own instant."""
    found = await counted(EXPERIMENT.reweighted(30, 9, 1), shown("ann", 29), shown("bob", 30), shown("cid", 31))

    assert {row.epoch: row.visitors for row in found.visitors} == {1: 1, 2: 2}


async def test_impressions_count_on_the_day_of_the_client(counted, connection) -> None:
    """An impression from before midnight that arrives after it belongs to the day before."""
    await counted(shown("ann", 0), shown("ann", 24 * 60))

    row = await (
        await connection.execute(
            f"select array_agg(distinct day order by day) from {await live_schema(connection)}.impression_tally"
        )
    ).fetchone()
    assert row == ([START.date(), START.date() + timedelta(days=1)],)


async def test_a_clock_that_is_wrong_makes_no_day(counted) -> None:
    """A day has a fiftieth of the visitors of the busiest one at least; one without anybody is left out."""
    day = 24 * 60
    seen = [shown(f"a{number}", 0) for number in range(60)] + [shown(f"b{number}", 3 * day) for number in range(2)]
    found = await counted(*seen, shown("early", -5 * day), shown("late", 6 * day))

    assert found.days == (START.date(), START.date() + timedelta(days=3), 2)


async def test_strangers_count_as_not_exposed_only_while_the_experiment_runs(counted) -> None:
    """Conversions of visitors who never saw it are told from its start to its stop."""
    found = await counted(bought("x", 1), bought("y", 2), EXPERIMENT.stopped(10), bought("z", 11))

    assert dict(found.unattributed) == {"not_exposed": 2}


async def test_a_stranger_who_is_exposed_later_is_a_stranger_no_more(counted) -> None:
    """Events judged not_exposed move to their real reason when the exposure arrives, also after the stop."""
    found = await counted(
        bought("ann", 5), EXPERIMENT.stopped(10), bought("ann", 12), shown("ann", 8), bought("bob", 9)
    )

    assert dict(found.unattributed) == {"before_exposure": 1}
    assert converters(found) == {A: 1}


async def test_an_id_without_exposure_converts_once_in_each_variant_that_is_named(counted) -> None:
    """Explicit conversions of an id that was never exposed are believed, one converter per variant and id."""
    found = await counted(bought("user", 1, A), bought("user", 2, A), bought("user", 3, B), bought(None, 4, B))

    assert converters(found) == {A: 1, B: 2}


async def test_an_exposure_that_arrives_settles_explicit_conversions(counted) -> None:
    """Once the id is known to have seen A, what was said of B contradicts it."""
    found = await counted(bought("ann", 1, A), bought("ann", 2, B), shown("ann", 3, A))

    assert converters(found) == {A: 1}
    assert dict(found.unattributed) == {"contradicts_exposure": 1}


def converters(found: Counted) -> dict[uuid.UUID, int]:
    """Converters of the purchase goal by variant."""
    return {row.variant_id: row.converters for row in found.outcomes if row.goal == "purchase" and row.converters}


def exposed(found: Counted) -> list[tuple[uuid.UUID, int, int]]:
    """Visitors and multiple exposures by variant, where there are any."""
    rows = [(row.variant_id, row.visitors, row.multiple_exposures) for row in found.visitors]
    return [row for row in rows if any(row[1:])]
