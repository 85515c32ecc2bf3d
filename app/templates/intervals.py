"""Where the marks of a goal's interval bars stand: one scale for all variants, so that zero is one line."""

from typing import NamedTuple
from uuid import UUID

from app.results_shape import ComparisonResult, GoalResult

WIDTH = 220
_MARGIN = 10
# A label at an end of the scale needs this much room beside the one at zero.
_LABEL_ROOM = 70


class Bar(NamedTuple):
    """One interval; the numbers are its difference, the x its marks, None where a limit is unbounded."""

    estimate: float
    low: float | None
    high: float | None
    estimate_x: float
    low_x: float | None
    high_x: float | None


class Bars(NamedTuple):
    """The bars of a goal by variant, the place of zero, and the labels of the scale's ends where they fit."""

    width: int
    zero_x: float
    low_label: float | None
    high_label: float | None
    by_variant: dict[UUID, Bar]


def interval_bars(goal: GoalResult) -> Bars:
    """The differences from the control with the limits of the regime asked for, ready to draw."""
    found = [(comparison, _interval(comparison)) for comparison in goal.comparisons]
    known = [(comparison, interval) for comparison, interval in found if interval is not None]
    marks = [0.0, *(mark for _, interval in known for mark in interval if mark is not None)]
    low, high = min(marks), max(marks)
    unit = (WIDTH - 2 * _MARGIN) / (high - low) if high > low else 0.0

    def place(mark: float) -> float:
        return round(_MARGIN + (mark - low) * unit, 1) if unit else WIDTH / 2

    zero_x = place(0.0)
    return Bars(
        width=WIDTH,
        zero_x=zero_x,
        low_label=low if zero_x >= _LABEL_ROOM else None,
        high_label=high if unit and WIDTH - zero_x >= _LABEL_ROOM else None,
        by_variant={
            comparison.variant_id: Bar(
                estimate,
                lower,
                upper,
                place(estimate),
                None if lower is None else place(lower),
                None if upper is None else place(upper),
            )
            for comparison, (estimate, lower, upper) in known
        },
    )


def _interval(comparison: ComparisonResult) -> tuple[float, float | None, float | None] | None:
    """Estimate and limits by which the verdict was given; None when they are not there."""
    estimate = comparison.absolute.estimate
    if estimate is None:
        return None
    limits = comparison.always_valid if comparison.regime == "always_valid" else comparison.absolute
    return None if limits.reason is not None else (estimate, limits.low, limits.high)
