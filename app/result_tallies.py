"""The exact sums of what is counted, put together once: by goal, variant and span of one allocation."""

from collections.abc import Iterable
from decimal import MAX_PREC, Context, Decimal, Inexact
from fractions import Fraction
from functools import reduce
from typing import NamedTuple
from uuid import UUID

import numpy as np

from domain.experiment import Experiment, Goal
from projections.results import Counted
from stats.arms import Arms
from stats.tally import Tally

Weights = tuple[float, ...]

# Decimals of any length add up without being rounded: that would raise.
_EXACT = Context(prec=MAX_PREC, traps=[Inexact])


class Sums(NamedTuple):
    """What one variant's visitors did for one goal; values are exact."""

    converters: int = 0
    conversions: int = 0
    value: Decimal = Decimal(0)
    squares: Decimal = Decimal(0)

    def plus(self, other: "Sums") -> "Sums":
        """Both together."""
        return Sums(
            self.converters + other.converters,
            self.conversions + other.conversions,
            _EXACT.add(self.value, other.value),
            _EXACT.add(self.squares, other.squares),
        )

    def mean(self, visitors: int) -> float:
        """The value of each of so many visitors, rounded once."""
        above, below = self.value.as_integer_ratio()
        return above / (below * visitors)


_NOTHING = Sums()
_SumsByGoal = dict[str, list[Sums]]


class Tallies:
    """Visitors and outcomes of an experiment, by the places of its variants.

    Epochs whose weights promise the same split are one span: only a changed split may not be pooled. `visitors`
    are those of all spans.
    """

    def __init__(self, counted: Counted) -> None:
        plan = counted.plan
        self.variants = [variant.id for variant in plan.variants]
        self.weights_by_epoch = _weights_by_epoch(counted)
        splits = splits_of(plan, self.weights_by_epoch)
        self.spans = list(dict.fromkeys(splits.values()))
        span_of = {epoch: self.spans.index(split) for epoch, split in splits.items()}
        place_of = {variant: at for at, variant in enumerate(self.variants)}
        self.by_epoch: dict[tuple[int, UUID], int] = {}
        self._visitors_by_span = [[0] * len(place_of) for _ in self.spans]
        for row in counted.visitors:
            self.by_epoch[row.epoch, row.variant_id] = row.visitors
            if (at := place_of.get(row.variant_id)) is not None:
                self._visitors_by_span[span_of[row.epoch]][at] += row.visitors
        self.visitors = [sum(each[at] for each in self._visitors_by_span) for at in range(len(place_of))]
        # One span at least, where nobody was seen.
        self._sums_by_span = [
            {goal.name: [_NOTHING] * len(place_of) for goal in plan.goals} for _ in self.spans or [()]
        ]
        for outcome in counted.outcomes:
            at = place_of.get(outcome.variant_id)
            sums = self._sums_by_span[span_of[outcome.epoch]].get(outcome.goal)
            if at is None or sums is None:
                continue
            found = Sums(outcome.converters, outcome.conversions, outcome.value_sum, outcome.value_squares)
            sums[at] = found if sums[at] is _NOTHING else sums[at].plus(found)
        self._sums = reduce(_both, self._sums_by_span)

    def sums_of(self, goal: str) -> list[Sums]:
        """What each variant's visitors did for a goal, over all spans."""
        return self._sums[goal]

    def arms(self, goals: list[Goal]) -> Arms:
        """The goals' arms (goals, variants) over all spans."""
        arms = _arms(goals, [self.visitors], [self._sums])
        return Arms(arms.n[0], arms.sum[0], arms.m2[0])

    def arms_by_span(self, goals: list[Goal]) -> Arms:
        """The goals' arms of each span (spans, goals, variants)."""
        return _arms(goals, self._visitors_by_span, self._sums_by_span)


def _both(some: _SumsByGoal, more: _SumsByGoal) -> _SumsByGoal:
    return {
        goal: [one.plus(another) for one, another in zip(sums, more[goal], strict=True)]
        for goal, sums in some.items()
    }


def _arms(goals: list[Goal], visitors: list[list[int]], sums: list[_SumsByGoal]) -> Arms:
    tallies = [
        tally_of(goal, n, achieved)
        for by_variant, by_goal in zip(visitors, sums, strict=True)
        for goal in goals
        for n, achieved in zip(by_variant, by_goal[goal.name], strict=True)
    ]
    columns = np.array([(each.n, each.sum, each.m2) for each in tallies], dtype=np.float64)
    columns = columns.reshape(len(visitors), len(goals), -1, 3)
    return Arms(columns[..., 0], columns[..., 1], columns[..., 2])


def tally_of(goal: Goal, n: int, sums: Sums) -> Tally:
    """What so many visitors did for a goal, as one arm."""
    if goal.kind == "conversion":
        return Tally.of_proportion(sums.converters, n)
    if sums.converters > n:  # ids that the browser never reported: no mean exists, and nobody asks for it
        return Tally(float(n), 0.0, 0.0)
    return Tally.from_exact_sums(n, sums.value, sums.squares)


def splits_of(plan: Experiment, epochs: Iterable[int]) -> dict[int, Weights]:
    """The exact shares that each epoch's weights promise, in the order of the epochs; equal ones are one span."""
    return {epoch: _split(weights_of(plan, epoch)) for epoch in sorted(epochs)}


def weights_of(plan: Experiment, epoch: int) -> Weights:
    """The weights in force in an epoch, in the order of the variants; a draft's are those it was made with."""
    if 0 < epoch <= len(plan.epochs):  # they are numbered from 1 on, without a gap
        weights = plan.epochs[epoch - 1].weights
        return tuple(float(weights[str(variant.id)]) for variant in plan.variants)
    return tuple(float(variant.weight) for variant in plan.variants)


def _weights_by_epoch(counted: Counted) -> dict[int, Weights]:
    epochs = {row.epoch for row in counted.visitors} | {row.epoch for row in counted.outcomes}
    return {epoch: weights_of(counted.plan, epoch) for epoch in sorted(epochs)}


def _split(weights: Weights) -> Weights:
    """Weights as exact shares, so that 1:1 and 50:50 are one split."""
    whole = sum(Fraction(weight) for weight in weights)
    return tuple(float(Fraction(weight) / whole) for weight in weights) if whole else weights
