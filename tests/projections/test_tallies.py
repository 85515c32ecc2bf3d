"""Tallies from the log = tallies step by step = the oracle, in whatever order events arrive."""

import asyncio
import uuid
from typing import Any

import hypothesis.strategies as st
from hypothesis import example, given

from app.database import connect
from domain.events import Fact
from projections.catch_up import TEMPORARY, catch_up, create_staging, create_temporary
from projections.comparison import compare
from projections.generations import live_schema
from projections.results import read_live
from projections.steps import forget_calls
from tests.projections.any_log import for_any_log
from tests.projections.compare import assert_expected
from tests.projections.log_of_events import Seen, new_project, plan, write
from tests.projections.oracle import Expected

PLANS = (plan(1), plan(2, variants=3, window_hours=2))
STRANGER = uuid.UUID(int=999)

visitors = st.sampled_from(["ann", "bob", "cid"])
# The last ones around midnight (UTC): tallies go by day.
minutes = st.one_of(st.integers(-90, 240), st.integers(690, 750))


@st.composite
def impressions(draw: st.DrawFn) -> Seen:
    """An impression, now and then of a variant or experiment that does not exist."""
    chosen = draw(st.sampled_from(PLANS))
    variant = draw(st.sampled_from([*(arm.id for arm in chosen.variants), chosen.variants[0].id, STRANGER]))
    experiment = draw(st.sampled_from([chosen.experiment_id] * 9 + [STRANGER]))
    referrer = draw(st.sampled_from([None, "https://search.example/", "https://news.example/?page=2"]))
    return Seen(draw(visitors), draw(minutes), experiment=experiment, variant=variant, referrer=referrer)


@st.composite
def conversions(draw: st.DrawFn) -> Seen:
    """A conversion or another event, with or without an experiment, a visitor, a usable amount."""
    chosen = draw(st.sampled_from(PLANS))
    explicit = draw(st.booleans())
    return Seen(
        draw(st.one_of(st.none(), visitors, visitors, visitors)),
        draw(minutes),
        event_type=draw(st.sampled_from(["conversion"] * 5 + ["pageview"])),
        event_name=draw(st.sampled_from(["purchase", "purchase", "signup", None])),
        experiment=draw(st.sampled_from([chosen.experiment_id] * 5 + [STRANGER, None])) if explicit else None,
        variant=draw(st.sampled_from([*(arm.id for arm in chosen.variants), STRANGER])) if explicit else None,
        data=draw(st.sampled_from(AMOUNTS)),
    )


AMOUNTS = [
    None,
    "{}",
    '{"amount": 10}',
    '{"amount": 0.1}',
    '{"amount": -2.5e1}',
    '{"amount": "49.90"}',
    '{"amount": true}',
    '{"amount": 1e300}',
    '{"amount": 999999999999999}',
    '{"amount": {"amount": 1}}',
]


@st.composite
def logs(draw: st.DrawFn) -> list[Seen | Fact]:
    """A log: experiments begin, change their weights and may end among the visitors' events."""
    first, second = PLANS
    events: list[Any] = draw(st.lists(st.one_of(impressions(), conversions()), min_size=1, max_size=30))
    facts: list[Fact] = [first.created(), first.started(), second.created(), second.started(10)]
    facts += draw(
        st.sampled_from([[], [first.reweighted(60, 9, 1)], [first.reweighted(30, 1, 9), first.stopped(90)]])
    )
    # Half of them begin with both experiments at work, or few conversions would count.
    latest = draw(st.sampled_from([0, len(events)]))
    places = sorted(draw(st.lists(st.integers(0, latest), min_size=4, max_size=4)))
    places += sorted(
        draw(st.lists(st.integers(places[-1], len(events)), min_size=len(facts) - 4, max_size=len(facts) - 4))
    )
    for place, fact in reversed(list(zip(places, facts, strict=True))):
        events.insert(place, fact)
    return events


# A step that changes no exposure, but has a segment that nobody came from before.
SEEN_AGAIN = [
    PLANS[0].created(),
    PLANS[0].started(),
    *(
        Seen("ann", 10, experiment=PLANS[0].experiment_id, variant=PLANS[0].variants[0].id, referrer=referrer)
        for referrer in (None, "https://news.example/")
    ),
    PLANS[1].created(),
]


# An earlier exposure of a buyer comes late, and from elsewhere: of ann, and of bob, who buys again.
MOVED = [
    PLANS[0].created(),
    PLANS[0].started(),
    *(
        entry
        for name, minute in (("ann", 10), ("bob", 10), ("ann", 5), ("bob", 6))
        for entry in (
            Seen(
                name,
                minute,
                experiment=PLANS[0].experiment_id,
                variant=PLANS[0].variants[0].id,
                referrer=f"https://{minute}.example/",
            ),
            *([Seen(name, 20 + minute, "conversion", "purchase")] if (name, minute) != ("ann", 5) else []),
        )
    ),
    PLANS[1].created(),
]


# What an outcome says of its unit's exposure, against what stands there.
CONTRADICTING = """
    select o.*, x.* from {schema}.visitor_outcome o
    left join {schema}.visitor_exposure x
        on x.project_id = o.project_id and x.experiment_id = o.experiment_id and x.visitor_id = o.unit_id
    where o.project_id = %s
      and ((o.segment is null) <> (x.visitor_id is null) or x.multiple
           or (o.variant_id, o.epoch, o.segment) <> (x.variant_id, x.epoch, x.segment))
"""


@for_any_log(examples=8)
@example(log=SEEN_AGAIN, steps=[1], again=False)
@example(log=MOVED, steps=[1], again=False)
@given(log=logs(), steps=st.lists(st.integers(1, 12), min_size=1, max_size=4), again=st.booleans())
def test_tallies_follow_from_the_log_however_it_is_cut_into_steps(database_url, log, steps, again) -> None:
    """Live tallies in steps of any size equal those of one replay, and both equal the oracle.

    A call of a step's statements leaves out what has nothing to do; the replay runs each of them.
    """
    asyncio.run(_check(database_url, log, steps, again=again))


async def _check(url: str, log: list[Seen | Fact], steps: list[int], *, again: bool) -> None:
    async with await connect(url) as live, await connect(url) as replaying:
        project_id = await new_project(live)
        await create_staging(live)
        schema = await live_schema(live)
        for number, entry in enumerate(log):
            await write(live, project_id, entry)
            events_max = steps[number % len(steps)]
            if (number + 1) % events_max == 0:
                await _catch_up(live, project_id, schema, events_max)
        await _catch_up(live, project_id, schema, 1_000)
        if again:
            await _catch_up(live, project_id, schema, 1_000)
        for tested in PLANS:
            found = await read_live(live, project_id, tested.experiment_id)
            assert found is not None
            variants = [variant.id for variant in tested.variants]
            assert_expected(found, Expected(log, tested.experiment_id), tested.goals, variants)
        contradicting = await live.execute(CONTRADICTING.format(schema=schema), (project_id,))
        assert await contradicting.fetchall() == []
        await create_temporary(replaying)
        forget_calls(replaying)
        await _catch_up(replaying, project_id, TEMPORARY, 1_000)
        assert await compare(replaying, project_id, schema, TEMPORARY) == []


async def _catch_up(connection, project_id, schema, events_max) -> None:
    while True:
        progress = await catch_up(connection, project_id, schema, events_max=events_max)
        if progress.position >= progress.head:
            return
