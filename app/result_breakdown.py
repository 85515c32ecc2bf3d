"""Results by segment: each value of a dimension compared by itself, all in one call."""

from collections import Counter
from math import inf
from typing import NamedTuple, get_args
from uuid import UUID

import numpy as np

from app.result_series import Lift, lifts_of
from app.result_tallies import Sums, splits_of, tally_of
from domain.experiment import Experiment, Goal
from projections.breakdown import Dimension, Segments
from stats import multiplicity
from stats.arms import Arms
from stats.comparison import Comparisons, Kind, compare_arms, compare_moments
from stats.strata import of_epochs
from stats.terms import Terms

DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
VALUES_MAX = 20


class SegmentArm(NamedTuple):
    """One variant within a segment; the mean is what the goal's kind measures per visitor."""

    visitors: int
    converters: int
    mean: float | None


class SegmentLift(NamedTuple):
    """A treatment against the control within a segment; `p` is adjusted for all comparisons of the breakdown."""

    lift: Lift
    p: float | None


class Segment(NamedTuple):
    """One value of the dimension; None is that nothing is known, `others` how many values stand together."""

    value: str | None
    others: int
    arms: dict[UUID, SegmentArm]
    lifts: dict[UUID, SegmentLift]


class Breakdown(NamedTuple):
    """A goal by a dimension, the values with the most visitors first."""

    dimension: Dimension
    goal: Goal
    segments: list[Segment]
    comparisons: int


_Row = tuple[str | None, int]


def breakdown_of(plan: Experiment, goal: Goal, dimension: Dimension, found: Segments, alpha: float) -> Breakdown:
    """Segments with their lifts; beyond VALUES_MAX values, those with the fewest visitors stand together.

    Limits are always valid at the goal's level for each segment by itself; p-values are adjusted
    (Benjamini-Hochberg), so that among segments called at the level few are chance findings.
    """
    rows, place_of = _places(found)
    epochs = {row.epoch for row in found.visitors} | {row.epoch for row in found.outcomes}
    splits = splits_of(plan, epochs)
    spans = list(dict.fromkeys(splits.values())) or [()]
    span_of = {epoch: spans.index(split) for epoch, split in splits.items()}
    column = {variant.id: at for at, variant in enumerate(plan.variants)}
    visitors = np.zeros((len(spans), len(rows), len(column)), dtype=np.int64)
    sums: dict[tuple[int, int, int], Sums] = {}
    for value, variant, epoch, count in found.visitors:
        if variant in column:
            visitors[span_of[epoch], place_of[value], column[variant]] += count
    for row in found.outcomes:
        if row.variant_id in column:
            key = span_of[row.epoch], place_of[row.value], column[row.variant_id]
            achieved = Sums(row.converters, row.conversions, row.value_sum, row.value_squares)
            sums[key] = sums.get(key, Sums()).plus(achieved)
    pooled = _pooled(sums)
    compared = _compared(plan, goal, visitors, sums, pooled, alpha) if rows else None
    lifts = _lifts(compared) if compared else []
    treatments = [variant.id for variant in plan.variants if not variant.is_control]
    segments = [
        Segment(
            value,
            others,
            {
                variant: _arm(goal, int(visitors[:, at, place].sum()), pooled.get((0, at, place), Sums()))
                for variant, place in column.items()
            },
            dict(zip(treatments, lifts[at], strict=True)),
        )
        for at, (value, others) in enumerate(rows)
    ]
    return Breakdown(dimension, goal, segments, sum(lift.p is not None for row in lifts for lift in row))


def _places(found: Segments) -> tuple[list[_Row], dict[str | None, int]]:
    """The rows, and in which of them each value stands."""
    totals: Counter[str | None] = Counter()
    for value, _, _, count in found.visitors:
        totals[value] += count
    ordered = sorted(totals, key=lambda value: (-totals[value], value is None, value or ""))
    shown = ordered if len(ordered) <= VALUES_MAX else ordered[: VALUES_MAX - 1]
    rows: list[_Row] = [(value, 0) for value in shown]
    if rest := len(ordered) - len(shown):
        rows.append((None, rest))
    place_of = {value: min(at, len(rows) - 1) for at, value in enumerate(ordered)}
    # An outcome's visitor is always among the visitors.
    return rows, place_of


def _pooled(sums: dict[tuple[int, int, int], Sums]) -> dict[tuple[int, int, int], Sums]:
    pooled: dict[tuple[int, int, int], Sums] = {}
    for (_, row, column), part in sums.items():
        pooled[0, row, column] = pooled.get((0, row, column), Sums()).plus(part)
    return pooled


def _compared(
    plan: Experiment,
    goal: Goal,
    visitors: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]",
    sums: dict[tuple[int, int, int], Sums],
    pooled: dict[tuple[int, int, int], Sums],
    alpha: float,
) -> Comparisons:
    control = [at for at, variant in enumerate(plan.variants) if variant.is_control]
    others = [at for at, variant in enumerate(plan.variants) if not variant.is_control]
    kind: Kind = "conversion" if goal.kind == "conversion" else "value"
    least = -inf if goal.kind == "value" else -1.0
    whole = _arms(goal, visitors.sum(axis=0, keepdims=True), pooled)
    arms = _picked(whole, control, 0), _picked(whole, others, 0)
    terms, level = Terms(alpha=alpha), np.full(visitors.shape[1], alpha)
    if len(visitors) == 1:
        return compare_arms(*arms, kind, terms, alpha=level, least_lift=least)
    by_span = _arms(goal, visitors, sums)
    moments = of_epochs(_picked(by_span, control), _picked(by_span, others), proportions=goal.kind == "conversion")
    return compare_moments(moments, *arms, kind, terms, alpha=level, least_lift=least)


def _arms(
    goal: Goal, visitors: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]", sums: dict[tuple[int, int, int], Sums]
) -> Arms:
    tallies = np.zeros((*visitors.shape, 3))
    for at in np.ndindex(visitors.shape):
        each = tally_of(goal, int(visitors[at]), sums.get((at[0], at[1], at[2]), Sums()))
        tallies[at] = each.n, each.sum, each.m2
    return Arms(tallies[..., 0], tallies[..., 1], tallies[..., 2])


def _picked(arms: Arms, columns: list[int], span: int | None = None) -> Arms:
    parts = (arms.n, arms.sum, arms.m2)
    return Arms(*(part[..., columns] if span is None else part[span][..., columns] for part in parts))


def _lifts(found: Comparisons) -> list[list[SegmentLift]]:
    shape = found.difference.shape
    p = np.broadcast_to(found.limits.always_valid.p_value, shape)
    silent = np.broadcast_to(found.impossible | found.too_early, shape) | ~np.isfinite(p)
    adjusted = np.full(shape, None, dtype=object)
    if (~silent).any():
        adjusted[~silent] = multiplicity.adjust(p[~silent], "bh")
    return [
        [SegmentLift(*each) for each in zip(*row, strict=True)]
        for row in zip(lifts_of(found), adjusted.tolist(), strict=True)
    ]


def _arm(goal: Goal, visitors: int, sums: Sums) -> SegmentArm:
    mean = None
    if visitors:
        mean = sums.converters / visitors if goal.kind == "conversion" else sums.mean(visitors)
    return SegmentArm(visitors, sums.converters, mean)
