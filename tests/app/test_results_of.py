"""results_of: counts in, the documented shape out, without a database."""

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest

from app.result_tallies import Sums
from app.results import Asked, digest_of, results_of
from app.results_shape import Lag, Results
from domain.experiment import Epoch, Experiment, Goal, Variant
from projections.conversions import Outcomes
from projections.exposures import Visitors
from projections.results import Counted, Days

NOW = datetime(2026, 11, 24, tzinfo=UTC)
IDS = [uuid.UUID(int=n) for n in (1, 2, 3)]
BUYS = Goal(name="buys", event_type="buy", kind="conversion", role="primary")
SPENDS = Goal(name="spends", event_type="buy", kind="value", value_field="amount", role="guardrail")
VIEWS = Goal(name="views", event_type="view", kind="count")

Counts = dict[int, list[tuple[int, int]]]


def counted(epochs: Counts, *goals: Goal, weights: dict[int, list[float]] | None = None, **plan: Any) -> Counted:
    """An experiment whose epochs have (visitors, converters) by variant; each converter spends 10."""
    arms = len(epochs[1])
    ids = IDS[:arms]
    variants = tuple(Variant(id=id_, name="ABC"[n], is_control=n == 0, weight=1) for n, id_ in enumerate(ids))
    shares = weights or {number: [1.0] * arms for number in epochs}
    experiment = Experiment(
        id=uuid.UUID(int=9), name="Button", type="copy", target_url="", url_match_type="all",
        traffic_percentage=100, variants=variants, goals=goals or (BUYS,), hypothesis=None,
        attribution_window_hours=720, version=1, created_at=NOW, changed_at=NOW, stopped_at=None,
        **{"status": "running", "started_at": NOW - timedelta(days=5), **plan},
        epochs=tuple(
            Epoch(
                number=number, started_at=NOW, traffic_percentage=100,
                weights={str(id_): share for id_, share in zip(ids, shares[number], strict=True)},
            )
            for number in epochs
        ),
    )  # fmt: skip
    visitors = [
        Visitors(id_, number, n, 0)
        for number, counts in epochs.items()
        for id_, (n, _) in zip(ids, counts, strict=True)
    ]
    outcomes = [
        Outcomes(goal.name, id_, number, converters, converters, *_values(goal, converters))
        for goal in experiment.goals
        for number, counts in epochs.items()
        for id_, (_, converters) in zip(ids, counts, strict=True)
    ]
    days = Days((NOW - timedelta(days=5)).date(), NOW.date(), 6)
    return Counted(7, experiment, visitors, {}, outcomes, [], days)


def _values(goal: Goal, converters: int) -> tuple[Decimal, Decimal]:
    each = Decimal(10) if goal.kind == "value" else Decimal(1)
    return converters * each, converters * each * each


def found(taken: Counted, **asked: Any) -> Results:
    """Results of these counts as of now."""
    return results_of(taken, NOW, Lag(0, 0.0), Asked(**asked))


def test_weights_that_changed_make_up_no_lift() -> None:
    """90/10 at 5 %, then 50/50 at 10 %: pooled that is +35 %, each epoch in itself it is nothing."""
    epochs = {1: [(9000, 450), (1000, 50)], 2: [(5000, 500), (5000, 500)]}

    results = found(counted(epochs, weights={1: [90, 10], 2: [50, 50]}), method="fixed")

    [comparison] = results.goals[0].comparisons
    assert comparison.absolute.estimate == pytest.approx(0.0, abs=1e-12)
    assert comparison.relative.estimate == pytest.approx(0.0, abs=1e-12)
    assert comparison.verdict == "inconclusive"
    assert comparison.method is not None
    assert comparison.method.startswith("Epochs compared each in itself")
    assert results.sample_ratio.healthy
    assert [arm.rate for arm in results.goals[0].variants] == [950 / 14_000, 550 / 6_000]


def test_epochs_of_one_split_are_one() -> None:
    """Another share of traffic, or weights written otherwise, does not change how variants are compared."""
    epochs = {1: [(5000, 500), (5000, 560)], 2: [(5000, 500), (5000, 540)]}

    apart = found(counted(epochs, weights={1: [1, 1], 2: [50, 50]}))
    whole = found(counted({1: [(10_000, 1000), (10_000, 1100)]}))

    assert apart.goals == whole.goals


def test_a_winner_is_shipped_in_a_plain_sentence() -> None:
    """A primary that improves and a guardrail within its margin: ship, and say which."""
    results = found(counted({1: [(50_000, 5_000), (50_000, 5_800)]}, BUYS, SPENDS))

    assert results.decision is not None
    assert (results.decision.action, results.decision.variant_id) == ("ship", IDS[1])
    assert results.decision.sentence == "Ship “B”: it improves “buys”."
    assert [goal.decision.action for goal in results.goals if goal.decision] == ["ship", "ship"]
    assert [goal.margin for goal in results.goals] == [None, 0.05]


def test_a_guardrail_that_may_be_worse_keeps_it_running() -> None:
    """Without room for any loss, a guardrail must be shown not to lose at all."""
    taken = counted({1: [(5_000, 500), (5_000, 640)]}, BUYS, msgspec.structs.replace(VIEWS, role="guardrail"))
    taken.outcomes[:] = [
        row if row.goal == "buys" else row._replace(value_sum=Decimal(500), value_squares=Decimal(500))
        for row in taken.outcomes
    ]

    results = found(taken)

    assert results.decision is not None
    assert results.decision.action == "keep_running"
    assert results.decision.reasons == ["Guardrail “views” may still fall by 5 %."]


def test_an_uneven_split_is_unhealthy() -> None:
    """No decision while visitors do not arrive as the weights promise."""
    results = found(counted({1: [(10_000, 1_000), (9_000, 1_500)]}))

    assert results.decision is not None
    assert results.decision.action == "unhealthy"
    assert "proportions" in results.decision.reasons[0]


def test_more_converters_than_visitors_are_unhealthy() -> None:
    """Ids that the browser never reported leave no rate, no verdict and no decision."""
    results = found(counted({1: [(100, 20), (100, 130)]}))

    assert results.decision is not None
    assert results.decision.action == "unhealthy"
    assert results.goals[0].comparisons[0].verdict == "not_enough_data"


def test_an_undecided_experiment_says_how_much_longer() -> None:
    """After five days, at the pace so far."""
    results = found(counted({1: [(10_000, 1_000), (10_000, 1_080)]}))

    assert results.decision is not None
    assert results.decision.action == "keep_running"
    assert results.decision.days_left is not None
    assert 5 < results.decision.days_left < 50


def test_the_pace_is_that_of_the_days_on_which_visitors_came() -> None:
    """A week that is sent at once was a week; days of a pause bring nobody, and make it no slower."""
    undecided = counted({1: [(10_000, 1_000), (10_000, 1_080)]})

    def days_left(started_days_ago: float, first_days_ago: int, last_days_ago: int, with_visitors: int) -> int:
        first, last = ((NOW - timedelta(days=ago)).date() for ago in (first_days_ago, last_days_ago))
        plan = msgspec.structs.replace(undecided.plan, started_at=NOW - timedelta(days=started_days_ago))
        taken = undecided._replace(plan=plan, days=Days(first, last, with_visitors))
        decision = found(taken).decision
        assert decision is not None
        assert decision.days_left is not None
        return decision.days_left

    all_week = days_left(7, 7, 0, 8)
    assert abs(days_left(0, 7, 0, 8) - all_week) <= all_week // 7
    assert days_left(47, 47, 0, 8) == all_week
    assert days_left(40, 40, 33, 8) == pytest.approx(all_week, rel=0.2)
    assert days_left(3.5, 3, 0, 4) < all_week * 0.6
    assert found(undecided._replace(days=None)).decision.days_left is None
    paused = undecided._replace(days=Days((NOW - timedelta(days=5)).date(), NOW.date(), 4))
    assert "more days with visitors if" in found(paused).decision.sentence
    assert "more days if" in found(undecided).decision.sentence


def test_a_stated_horizon_gives_narrower_limits_until_it_is_passed() -> None:
    """The same tallies: undecided always-valid, better by the group sequential limits, nothing past them."""
    taken = counted({1: [(10_000, 1_000), (10_000, 1_120)]})

    always = found(taken).goals[0].comparisons[0]
    until = found(taken, method="group_sequential", planned_visitors=22_000).goals[0].comparisons[0]
    past = found(taken, method="group_sequential", planned_visitors=19_000)

    assert (always.verdict, until.verdict) == ("inconclusive", "better")
    assert always.group_sequential is None
    assert until.group_sequential is not None
    assert until.always_valid == always.always_valid
    assert past.goals[0].comparisons[0].verdict == "inconclusive"
    assert "planned number" in past.goals[0].comparisons[0].reason


def test_several_variants_and_primaries_share_the_error() -> None:
    """Two treatments are a family and two primaries halve the level; secondaries have a q-value."""
    epochs = {1: [(10_000, 1_000), (10_000, 1_090), (10_000, 1_020)]}
    second = msgspec.structs.replace(BUYS, name="buys again")

    results = found(counted(epochs, BUYS, second, VIEWS), method="fixed")

    alone = found(counted({1: epochs[1][:2]}), method="fixed").goals[0].comparisons[0]
    one = results.goals[0].comparisons[0]
    assert (alone.alpha, one.alpha, results.goals[2].comparisons[0].alpha) == (0.05, 0.025, 0.05)
    assert ("95 %" in alone.reason, "97.5 %" in one.reason) == (True, True)
    assert one.correction is not None
    assert one.p_value is not None
    assert alone.p_value is not None
    assert alone.p_value < one.p_value < 2 * alone.p_value
    assert (alone.verdict, one.verdict) == ("better", "inconclusive")
    assert [row.q_value is not None for row in results.goals[2].comparisons] == [True, True]
    assert one.q_value is None


def test_the_digest_is_the_same_on_every_machine() -> None:
    """It rests on nothing that was computed in floating point. Another one here needs another version there."""
    taken = counted({1: [(100, 10), (103, 12)]}, BUYS, SPENDS)
    assert found(taken).digest == "sha256:b4730cec9e59a37ad2bc3485e04899cbf4f2b4c0c25d7f4f511a39947543fbbf"


def test_the_digest_covers_what_was_asked() -> None:
    """A horizon and a margin change it; not stating them leaves it as it was before they could be stated."""
    taken = counted({1: [(100, 10), (100, 12)]})

    digests = [
        found(taken).digest,
        found(taken, planned_visitors=1_000).digest,
        found(taken, guardrail_margin=0.01).digest,
        found(taken, method="fixed").digest,
    ]

    assert len(set(digests)) == 4
    assert msgspec.json.encode(found(taken)) == msgspec.json.encode(found(taken))


def test_the_digest_tells_sums_apart_to_the_last_digit() -> None:
    """Squares of amounts have eighteen decimals: more digits than decimal arithmetic keeps unless told to."""
    told = counted({1: [(10, 5), (10, 5)]}, SPENDS)

    def digest(squares: str) -> str:
        outcomes = [row._replace(value_squares=Decimal(squares)) for row in told.outcomes]
        return digest_of(told._replace(outcomes=outcomes), Asked())

    exact = "12345678901234.123456789012345678"
    assert digest(exact) == digest(exact + "00")
    assert digest(exact) != digest(exact[:-1] + "9")


def test_sums_of_values_lose_no_digit() -> None:
    """Decimals add up exactly however long they are, and a mean is rounded once, as that of a fraction."""
    large, small = Sums(3, 3, Decimal(10**24), Decimal(10**48)), Sums(1, 1, Decimal("1e-9"), Decimal("1e-18"))

    both = large.plus(small)

    assert both.value - large.value == small.value
    assert Fraction(both.squares) == 10**48 + Fraction(1, 10**18)
    assert Sums(value=Decimal("0.1")).mean(3) == float(Fraction(1, 30))
