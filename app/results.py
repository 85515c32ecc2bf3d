"""Results: the tallies of an experiment at a position, turned into the documented shape by the statistics."""

import hashlib
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import msgspec

from app.results_shape import (
    AlwaysValidResult,
    AsOf,
    BayesResult,
    ComparisonResult,
    GoalResult,
    GoalVariant,
    Interval,
    Lag,
    Method,
    Results,
    SampleRatioResult,
    Unattributed,
    Value,
    VariantResult,
)
from domain.attribution import UnattributedReason
from domain.experiment import Goal, Variant
from projections.registry import PROJECTION_VERSION
from projections.results import Snapshot
from stats.comparison import Comparison, NotEnoughData, compare
from stats.comparison import Interval as FoundInterval
from stats.sample_ratio import sample_ratio_by_epoch
from stats.tally import Tally

ALPHA = 0.05
SURPLUS = "More ids converted than visitors were exposed: the backend reports ids that the browser never did."
UNBOUNDED = "Unbounded: the control's mean may be zero."


def results_of(
    snapshot: Snapshot,
    time: datetime | None,
    lag: Lag,
    *,
    goal: str | None = None,
    method: Method = "always_valid",
) -> Results:
    """Results of a snapshot; with `goal`, of that goal only. The same snapshot gives the same bytes."""
    plan = snapshot.plan
    goals = [wanted for wanted in plan.goals if goal is None or wanted.name == goal]
    return Results(
        experiment_id=plan.id,
        name=plan.name,
        status=plan.status,
        as_of=AsOf(snapshot.position, time),
        digest=digest_of(snapshot, goal, method),
        lag=lag,
        variants=[_variant(snapshot, variant) for variant in plan.variants],
        epochs=len(plan.epochs),
        sample_ratio=_sample_ratio(snapshot),
        goals=[_goal(snapshot, wanted, method) for wanted in goals],
        unattributed=[
            Unattributed(reason, events, UnattributedReason[reason.upper()].explanation)
            for reason, events in snapshot.unattributed
        ],
    )


def digest_of(snapshot: Snapshot, goal: str | None, method: Method) -> str:
    """A digest of everything that results follow from: position, plan, exact tallies and what was asked."""
    exact = {
        "projectionVersion": PROJECTION_VERSION,
        "position": snapshot.position,
        "plan": msgspec.to_builtins(snapshot.plan),
        "visitors": sorted(
            [str(row.variant_id), row.epoch, row.visitors, row.multiple_exposures]
            for row in snapshot.visitors
            if row.visitors or row.multiple_exposures
        ),
        "impressions": {str(variant): count for variant, count in snapshot.impressions.items() if count},
        "outcomes": sorted(
            [
                row.goal,
                str(row.variant_id),
                row.epoch,
                row.converters,
                row.conversions,
                _plain(row.value_sum),
                _plain(row.value_squares),
            ]
            for row in snapshot.outcomes
            if row.converters
        ),
        "unattributed": snapshot.unattributed,
        "goal": goal,
        "method": method,
        "alpha": ALPHA,
    }
    return "sha256:" + hashlib.sha256(msgspec.json.encode(exact, order="sorted")).hexdigest()


def _variant(snapshot: Snapshot, variant: Variant) -> VariantResult:
    rows = [row for row in snapshot.visitors if row.variant_id == variant.id]
    return VariantResult(
        variant_id=variant.id,
        name=variant.name,
        is_control=variant.is_control,
        weight=variant.weight,
        visitors=sum(row.visitors for row in rows),
        impressions=snapshot.impressions.get(variant.id, 0),
        multiple_exposures=sum(row.multiple_exposures for row in rows),
    )


def _sample_ratio(snapshot: Snapshot) -> SampleRatioResult:
    plan = snapshot.plan
    epochs = {row.epoch for row in snapshot.visitors}
    weights_by_epoch = {epoch.number: epoch.weights for epoch in plan.epochs}
    drafted = {str(variant.id): variant.weight for variant in plan.variants}
    per_epoch = []
    for epoch in sorted(epochs):
        weights = weights_by_epoch.get(epoch, drafted)
        seen = {row.variant_id: row.visitors for row in snapshot.visitors if row.epoch == epoch}
        per_epoch.append(
            (
                [seen.get(variant.id, 0) for variant in plan.variants],
                [weights[str(variant.id)] for variant in plan.variants],
            )
        )
    observed = [sum(counts) for counts in zip(*(seen for seen, _ in per_epoch), strict=True)]
    found = sample_ratio_by_epoch(per_epoch) if per_epoch else NotEnoughData("Nobody was exposed yet.")
    if isinstance(found, NotEnoughData):
        return SampleRatioResult(
            None, None, None, _expected(per_epoch), observed or [0] * len(plan.variants), found.reason
        )
    return SampleRatioResult(
        found.healthy, found.p_value, found.e_value, list(found.expected), list(found.observed)
    )


def _expected(per_epoch: list[tuple[list[int], list[float]]]) -> list[float]:
    columns = (
        [sum(seen) * weight / sum(weights) for weight in weights] for seen, weights in per_epoch if sum(weights)
    )
    return [sum(column) for column in zip(*columns, strict=True)]


def _goal(snapshot: Snapshot, goal: Goal, method: Method) -> GoalResult:
    plan = snapshot.plan
    control = next(variant for variant in plan.variants if variant.is_control)
    arms = {variant.id: _Arm(snapshot, goal, variant) for variant in plan.variants}
    return GoalResult(
        name=goal.name,
        role=goal.role,
        kind=goal.kind,
        variants=[arm.wire() for arm in arms.values()],
        comparisons=[
            _comparison(goal, variant, control, arms, method)
            for variant in plan.variants
            if variant.id != control.id
        ],
    )


class _Arm:
    """One variant's exact sums for one goal."""

    def __init__(self, snapshot: Snapshot, goal: Goal, variant: Variant) -> None:
        rows = [row for row in snapshot.outcomes if row.goal == goal.name and row.variant_id == variant.id]
        self.goal = goal
        self.variant_id = variant.id
        self.visitors = sum(row.visitors for row in snapshot.visitors if row.variant_id == variant.id)
        self.converters = sum(row.converters for row in rows)
        self.conversions = sum(row.conversions for row in rows)
        self.value_sum = sum((Fraction(row.value_sum) for row in rows), Fraction(0))
        self.value_squares = sum((Fraction(row.value_squares) for row in rows), Fraction(0))

    @property
    def surplus(self) -> int:
        return max(0, self.converters - self.visitors)

    def tally(self) -> Tally:
        if self.goal.kind == "conversion":
            return Tally.of_proportion(self.converters, self.visitors)
        return Tally.from_exact_sums(self.visitors, self.value_sum, self.value_squares)

    def wire(self) -> GoalVariant:
        known = self.visitors > 0 and not self.surplus
        value = None
        if self.goal.kind == "value":
            mean = float(self.value_sum / self.visitors) if known else None
            value = Value(float(self.value_sum), mean)
        return GoalVariant(
            variant_id=self.variant_id,
            visitors=self.visitors,
            converters=self.converters,
            conversions=self.conversions,
            rate=self.converters / self.visitors if known else None,
            value=value,
            surplus_converters=self.surplus,
            reason=None if known else SURPLUS if self.surplus else "Nobody was exposed to this variant yet.",
        )


def _comparison(
    goal: Goal, variant: Variant, control: Variant, arms: dict[UUID, _Arm], method: Method
) -> ComparisonResult:
    found = _compared(goal, arms[control.id], arms[variant.id], method)
    if isinstance(found, NotEnoughData):
        reason = found.reason
        return ComparisonResult(
            variant_id=variant.id,
            control_id=control.id,
            absolute=Interval(None, None, None, reason),
            relative=Interval(None, None, None, reason),
            p_value=None,
            always_valid=AlwaysValidResult(None, None, None, Interval(None, None, None, reason), reason),
            bayes=BayesResult(None, None, reason),
            verdict="not_enough_data",
            reason=reason,
            method=None,
            alpha=ALPHA,
            regime=method,
        )
    return ComparisonResult(
        variant_id=variant.id,
        control_id=control.id,
        absolute=Interval(found.absolute.estimate, found.absolute.low, found.absolute.high),
        relative=_interval(found.relative),
        p_value=found.p_value,
        always_valid=_always_valid(found),
        bayes=_bayes(found),
        verdict=found.verdict,
        reason=found.reason,
        method=found.method,
        alpha=found.alpha,
        regime=method,
    )


def _compared(goal: Goal, control: _Arm, treatment: _Arm, method: Method) -> Comparison | NotEnoughData:
    if control.surplus or treatment.surplus:
        return NotEnoughData(SURPLUS)
    return compare(control.tally(), treatment.tally(), kind=goal.kind, alpha=ALPHA, method=method)


def _interval(found: FoundInterval | NotEnoughData) -> Interval:
    if isinstance(found, NotEnoughData):
        return Interval(None, None, None, found.reason)
    unbounded = found.low is None or found.high is None
    return Interval(found.estimate, found.low, found.high, UNBOUNDED if unbounded else None)


def _always_valid(found: Comparison) -> AlwaysValidResult:
    valid = found.always_valid
    if isinstance(valid, NotEnoughData):
        return AlwaysValidResult(None, None, None, _interval(valid), valid.reason)
    return AlwaysValidResult(valid.p_value, valid.low, valid.high, _interval(valid.relative))


def _bayes(found: Comparison) -> BayesResult:
    if isinstance(found.bayes, NotEnoughData):
        return BayesResult(None, None, found.bayes.reason)
    return BayesResult(found.bayes.chance_to_beat, found.bayes.expected_loss)


def _plain(value: Decimal) -> str:
    """One spelling for equal decimals, whatever way they were summed."""
    normal = value.normalize()
    return f"{normal or 0:f}"
