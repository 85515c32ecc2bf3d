"""The series over time: days without a gap, and a last day that is the result itself."""

from datetime import date, timedelta
from decimal import Decimal

import pytest

from app.result_series import Series, series_of
from domain.experiment import Goal
from projections.conversions import DayOutcomes, Outcomes
from projections.exposures import DayVisitors
from projections.results import ByDay, Counted
from tests.app.test_results_of import BUYS, IDS, SPENDS, Counts, counted, found

FIRST = date(2026, 11, 1)


def by_day(whole: Counted, goal: Goal, days: int) -> Counted:
    """The same counts, dealt to so many days as evenly as they go, with a day without anybody in between."""

    def dealt(n: int) -> list[tuple[date, int]]:
        return [(FIRST + timedelta(days=2 * at), n // days + (at < n % days)) for at in range(days)]

    visitors = [
        DayVisitors(row.variant_id, row.epoch, day, n, 0)
        for row in whole.visitors
        for day, n in dealt(row.visitors)
    ]
    each = Decimal(10) if goal.kind == "value" else Decimal(1)
    outcomes = [
        DayOutcomes(Outcomes(goal.name, row.variant_id, row.epoch, n, n, n * each, n * each * each), day)
        for row in whole.outcomes
        if row.goal == goal.name
        for day, n in dealt(row.converters)
    ]
    return whole._replace(by_day=ByDay(goal, visitors, outcomes))


def series(whole: Counted, alpha: float = 0.05) -> Series:
    """A series that is there."""
    made = series_of(whole, alpha)
    assert made is not None
    return made


@pytest.mark.parametrize("goal", [BUYS, SPENDS], ids=lambda goal: goal.kind)
@pytest.mark.parametrize(
    ("epochs", "weights"),
    [
        ({1: [(4000, 400), (4000, 480), (4000, 390)]}, None),
        ({1: [(9000, 450), (1000, 60)], 2: [(5000, 500), (5000, 590)]}, {1: [90, 10], 2: [50, 50]}),
    ],
)
def test_the_last_day_is_the_result(goal: Goal, epochs: Counts, weights: dict[int, list[float]] | None) -> None:
    """Estimate and always-valid limits of each variant, of rates and of means, also where weights changed."""
    whole = counted(epochs, BUYS, SPENDS, weights=weights)
    made = series(by_day(whole, goal, 5))
    assert made.days == [FIRST + timedelta(days=n) for n in range(9)]
    [result] = [each for each in found(whole).goals if each.name == goal.name]
    for comparison in result.comparisons:
        last, valid = made.lifts[comparison.variant_id][-1], comparison.always_valid.relative
        assert last == pytest.approx((valid.estimate, valid.low, valid.high), rel=1e-12)
    for variant in result.variants:
        assert sum(made.visitors[variant.variant_id]) == variant.visitors


def test_days_cumulate() -> None:
    """A day without anybody repeats the one before; the band narrows as visitors come."""
    made = series(by_day(counted({1: [(4000, 400), (4000, 480)]}), BUYS, 3))
    lifts = made.lifts[IDS[1]]
    assert lifts[0] == lifts[1] != lifts[2]
    assert made.visitors[IDS[0]] == [1334, 0, 1333, 0, 1333]
    widths = [lift.high - lift.low for lift in lifts[::2]]
    assert widths == sorted(widths, reverse=True)


def test_too_early_shows_what_is_seen_without_limits() -> None:
    """And nobody yet is no lift at all; without any visitor there is no series."""
    made = series(by_day(counted({1: [(20, 2), (20, 4)]}), BUYS, 2))
    assert made.lifts[IDS[1]][-1] == (1.0, None, None)
    assert series(by_day(counted({1: [(20, 0), (20, 0)]}), BUYS, 1)).lifts[IDS[1]][-1] == (None, None, None)
    nobody = by_day(counted({1: [(20, 2), (20, 4)]}), BUYS, 1)
    assert series_of(nobody._replace(by_day=ByDay(BUYS, [], [])), 0.05) is None
