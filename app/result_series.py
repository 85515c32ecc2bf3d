"""Results over time: visitors by day, and one goal's lift as it stood for those exposed until each day."""

from collections.abc import Iterable
from datetime import date, timedelta
from math import inf, isfinite
from typing import NamedTuple
from uuid import UUID

import numpy as np

from app.result_tallies import Sums, Weights, splits_of, tally_of
from domain.experiment import Experiment, Goal
from projections.results import ByDay, Counted
from stats.arms import Arms
from stats.comparison import Comparisons, Kind, compare_arms, compare_moments
from stats.strata import of_epochs
from stats.terms import Terms

_DAY = timedelta(days=1)


class Lift(NamedTuple):
    """A lift and its always-valid limits for those exposed until a day; None where there is none yet."""

    estimate: float | None
    low: float | None
    high: float | None


class Series(NamedTuple):
    """What each day added and what stood at its end; days (UTC) are those of first exposures, without a gap.

    `visitors` are the new ones of each day by variant, `lifts` by treatment.
    """

    goal: Goal
    alpha: float
    days: list[date]
    visitors: dict[UUID, list[int]]
    lifts: dict[UUID, list[Lift]]


def series_of(counted: Counted, alpha: float) -> Series | None:
    """The series of the goal that was chosen by day, all days compared in one call; None before any visitor.

    A day holds the visitors whose first exposure fell on it, with all that they have done since: so a
    conversion that arrives late moves the day of its visitor, and the last day is the result itself.
    """
    by_day = counted.by_day
    if by_day is None or not by_day.visitors:
        return None
    plan, goal = counted.plan, by_day.goal
    days = _days(by_day)
    visitors = _visitors(plan, by_day, days)
    spans = splits_of(plan, _epochs(by_day))
    lifts = lifts_of(_compared(plan, by_day, days, spans, alpha))
    treatments = [variant.id for variant in plan.variants if not variant.is_control]
    return Series(
        goal=goal,
        alpha=alpha,
        days=days,
        visitors={variant.id: [int(n) for n in visitors[column]] for column, variant in enumerate(plan.variants)},
        lifts={
            variant: list(by_day) for variant, by_day in zip(treatments, zip(*lifts, strict=True), strict=True)
        },
    )


def _days(by_day: ByDay) -> list[date]:
    seen = {row.day for row in by_day.visitors} | {row.day for row in by_day.outcomes}
    first, last = min(seen), max(seen)
    return [first + n * _DAY for n in range((last - first).days + 1)]


def _epochs(by_day: ByDay) -> list[int]:
    seen = {row.epoch for row in by_day.visitors} | {row.outcomes.epoch for row in by_day.outcomes}
    return sorted(seen)


def _visitors(
    plan: Experiment, by_day: ByDay, days: list[date]
) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
    """New visitors (variants, days)."""
    column = {variant.id: at for at, variant in enumerate(plan.variants)}
    found = np.zeros((len(column), len(days)), dtype=np.int64)
    for row in by_day.visitors:
        if row.variant_id in column:
            found[column[row.variant_id], (row.day - days[0]).days] += row.visitors
    return found


def _compared(
    plan: Experiment, by_day: ByDay, days: list[date], spans: dict[int, Weights], alpha: float
) -> Comparisons:
    """Every day's cumulated arms against the control: (days, treatments)."""
    splits = list(dict.fromkeys(spans.values()))
    span_of = {epoch: splits.index(split) for epoch, split in spans.items()}
    control = [at for at, variant in enumerate(plan.variants) if variant.is_control]
    others = [at for at, variant in enumerate(plan.variants) if not variant.is_control]
    goal = by_day.goal
    kind: Kind = "conversion" if goal.kind == "conversion" else "value"
    least = -inf if goal.kind == "value" else -1.0
    by_span = _arms(plan, by_day, days, span_of, len(splits))
    pooled = by_span if len(splits) == 1 else _arms(plan, by_day, days, dict.fromkeys(span_of, 0), 1)
    whole = _picked(pooled, control, 0), _picked(pooled, others, 0)
    terms, level = Terms(alpha=alpha), np.full(len(days), alpha)
    if len(splits) == 1:
        return compare_arms(*whole, kind, terms, alpha=level, least_lift=least)
    moments = of_epochs(_picked(by_span, control), _picked(by_span, others), proportions=goal.kind == "conversion")
    return compare_moments(moments, *whole, kind, terms, alpha=level, least_lift=least)


def _arms(plan: Experiment, by_day: ByDay, days: list[date], span_of: dict[int, int], spans: int) -> Arms:
    """Cumulated tallies (spans, days, variants)."""
    column = {variant.id: at for at, variant in enumerate(plan.variants)}
    new = np.zeros((spans, len(days), len(column)), dtype=np.int64)
    for row in by_day.visitors:
        if row.variant_id in column:
            new[span_of[row.epoch], (row.day - days[0]).days, column[row.variant_id]] += row.visitors
    visitors = new.cumsum(axis=1)
    achieved: dict[tuple[int, UUID], dict[int, Sums]] = {}
    for outcome, day in by_day.outcomes:
        place = achieved.setdefault((span_of[outcome.epoch], outcome.variant_id), {})
        number = (day - days[0]).days
        values = outcome.value_sum, outcome.value_squares
        place[number] = place.get(number, Sums()).plus(Sums(outcome.converters, outcome.conversions, *values))
    tallies = np.zeros((*visitors.shape, 3))
    for span, variant in ((span, variant) for span in range(spans) for variant in column):
        so_far = _cumulated(achieved.get((span, variant), {}), len(days))
        for number, sums in enumerate(so_far):
            n = int(visitors[span, number, column[variant]])
            each = tally_of(by_day.goal, n, sums)
            tallies[span, number, column[variant]] = each.n, each.sum, each.m2
    return Arms(tallies[..., 0], tallies[..., 1], tallies[..., 2])


def _cumulated(by_number: dict[int, Sums], days: int) -> Iterable[Sums]:
    so_far = Sums()
    for number in range(days):
        if (more := by_number.get(number)) is not None:
            so_far = so_far.plus(more)
        yield so_far


def _picked(arms: Arms, columns: list[int], span: int | None = None) -> Arms:
    parts = (arms.n, arms.sum, arms.m2)
    picked = [part[..., columns] if span is None else part[span][..., columns] for part in parts]
    return Arms(*picked)


def lifts_of(found: Comparisons) -> list[list[Lift]]:
    """The lifts with their always-valid limits, of comparisons (rows, treatments)."""
    limits, shape = found.limits.always_valid, found.difference.shape
    silent = found.too_early | ~(np.isfinite(limits.low) & np.isfinite(limits.high))
    arrays = (found.impossible, silent, found.lift, limits.lift_low, limits.lift_high)
    columns = [np.broadcast_to(array, shape).tolist() for array in arrays]
    return [[_lift(*each) for each in zip(*row, strict=True)] for row in zip(*columns, strict=True)]


def _lift(impossible: bool, silent: bool, estimate: float, low: float, high: float) -> Lift:  # noqa: FBT001
    if impossible or not isfinite(estimate):
        return Lift(None, None, None)
    if silent:
        return Lift(estimate, None, None)
    return Lift(estimate, low if isfinite(low) else None, high if isfinite(high) else None)
