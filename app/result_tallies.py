"""The exact sums of what is counted, put together once: by goal, variant and span of one allocation."""

from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple
from uuid import UUID

import numpy as np

from domain.experiment import Experiment, Goal
from projections.results import Counted
from stats.arms import Arms
from stats.tally import Tally

Weights = tuple[float, ...]


class Sums(NamedTuple):
    """What one variant's visitors did for one goal; values are exact."""

    converters: int = 0
    conversions: int = 0
    value: Fraction = Fraction(0)
    squares: Fraction = Fraction(0)

    def plus(self, other: "Sums") -> "Sums":
        """Both together."""
        return Sums(
            self.converters + other.converters,
            self.conversions + other.conversions,
            self.value + other.value,
            self.squares + other.squares,
        )


class Tallies:
    """Visitors and outcomes of an experiment.

    Epochs whose weights promise the same split are one span: only a changed split may not be pooled.
    """

    def __init__(self, counted: Counted) -> None:
        plan = counted.plan
        self.variants = [variant.id for variant in plan.variants]
        self.weights_by_epoch = _weights_by_epoch(counted)
        splits = splits_of(plan, self.weights_by_epoch)
        self.spans = list(dict.fromkeys(splits.values()))
        span_of = {epoch: self.spans.index(split) for epoch, split in splits.items()}
        self.by_epoch: dict[tuple[int, UUID], int] = {}
        self.visitors: dict[tuple[UUID, int], int] = {}
        for row in counted.visitors:
            at = (row.variant_id, span_of[row.epoch])
            self.by_epoch[row.epoch, row.variant_id] = row.visitors
            self.visitors[at] = self.visitors.get(at, 0) + row.visitors
        self._sums: dict[tuple[str, UUID, int], Sums] = {}
        for outcome in counted.outcomes:
            key = (outcome.goal, outcome.variant_id, span_of.get(outcome.epoch, 0))
            values = Fraction(outcome.value_sum), Fraction(outcome.value_squares)
            found = Sums(outcome.converters, outcome.conversions, *values)
            known = self._sums.get(key)
            self._sums[key] = known.plus(found) if known else found

    def visitors_of(self, variant: UUID) -> int:
        """Distinct visitors of a variant over all spans."""
        return sum(self.visitors.get((variant, span), 0) for span in range(len(self.spans)))

    def sums_of(self, goal: str, variant: UUID) -> Sums:
        """What a variant's visitors did for a goal, over all spans."""
        found = _NOTHING
        for span in range(len(self.spans)):
            if (part := self._sums.get((goal, variant, span))) is not None:
                found = part if found is _NOTHING else found.plus(part)
        return found

    def arms(self, goals: list[Goal], *, by_span: bool) -> Arms:
        """The goals' arms (goals, variants), or (spans, goals, variants) with `by_span`."""
        tallies = [
            [
                [self._tally(goal, variant, span if by_span else None) for variant in self.variants]
                for goal in goals
            ]
            for span in range(len(self.spans) if by_span else 1)
        ]
        columns = np.array(
            [(each.n, each.sum, each.m2) for rows in tallies for row in rows for each in row], dtype=np.float64
        ).reshape(len(tallies), len(goals), len(self.variants), 3)
        columns = columns if by_span else columns[0]
        return Arms(columns[..., 0], columns[..., 1], columns[..., 2])

    def _tally(self, goal: Goal, variant: UUID, span: int | None) -> Tally:
        if span is None:
            n, sums = self.visitors_of(variant), self.sums_of(goal.name, variant)
        else:
            n, sums = self.visitors.get((variant, span), 0), self._sums.get((goal.name, variant, span), _NOTHING)
        return tally_of(goal, n, sums)


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
    for known in plan.epochs:
        if known.number == epoch:
            return tuple(float(known.weights[str(variant.id)]) for variant in plan.variants)
    return tuple(float(variant.weight) for variant in plan.variants)


def _weights_by_epoch(counted: Counted) -> dict[int, Weights]:
    epochs = {row.epoch for row in counted.visitors} | {row.epoch for row in counted.outcomes}
    return {epoch: weights_of(counted.plan, epoch) for epoch in sorted(epochs)}


def _split(weights: Weights) -> Weights:
    """Weights as exact shares, so that 1:1 and 50:50 are one split."""
    whole = sum(Fraction(weight) for weight in weights)
    return tuple(float(Fraction(weight) / whole) for weight in weights) if whole else weights


_NOTHING = Sums()
