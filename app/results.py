"""Results: the tallies of an experiment at a position, turned into the documented shape by the statistics."""

import hashlib
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from app.result_decision import decided, pace_of
from app.result_goals import compared, goal_results
from app.result_tallies import Tallies
from app.results_shape import (
    AsOf,
    Lag,
    Method,
    Results,
    SampleRatioResult,
    Unattributed,
    VariantResult,
)
from domain.attribution import UnattributedReason
from domain.experiment import Variant
from projections.registry import PROJECTION_VERSION
from projections.results import Counted
from stats.decision import GUARDRAIL_MARGIN
from stats.not_enough_data import NotEnoughData
from stats.sample_ratio import sample_ratio_by_epoch
from stats.terms import Terms

ALPHA = 0.05
# Rises with every change after which the same tallies may give other numbers or words.
STATISTICS_VERSION = 7


class Asked(msgspec.Struct, frozen=True):
    """What results were asked for: one goal or all, the regime, a horizon, what a guardrail may lose.

    `planned_visitors`, of all variants together, is the horizon of the group sequential regime.
    """

    goal: str | None = None
    method: Method = "always_valid"
    planned_visitors: int | None = None
    guardrail_margin: float = GUARDRAIL_MARGIN


def results_of(
    counted: Counted, time: datetime | None, lag: Lag, asked: Asked | None = None, *, digest: str | None = None
) -> Results:
    """Results of what is counted, of one goal where asked for. The same counts give the same bytes.

    `digest` is that of `digest_of` where the caller knows it.
    """
    asked = asked or Asked()
    plan, tallies = counted.plan, Tallies(counted)
    visitors = tallies.visitors
    info = sum(visitors) / asked.planned_visitors if asked.planned_visitors else None
    ratio = _sample_ratio(tallies)
    found = compared(counted, tallies, Terms(alpha=ALPHA, regime=asked.method), info)
    goals = goal_results(counted, tallies, found)
    pace = pace_of(counted, time, info)
    whole, each = decided(plan, found, goals, ratio, pace, asked.guardrail_margin)
    margins = [asked.guardrail_margin if goal.role == "guardrail" else None for goal in goals]
    goals = [
        msgspec.structs.replace(goal, decision=said, margin=margin)
        for goal, said, margin in zip(goals, each, margins, strict=True)
    ]
    return Results(
        experiment_id=plan.id,
        name=plan.name,
        status=plan.status,
        as_of=AsOf(counted.position, time),
        digest=digest or digest_of(counted, asked),
        lag=lag,
        variants=[_variant(counted, *each) for each in zip(plan.variants, visitors, strict=True)],
        epochs=len(plan.epochs),
        sample_ratio=ratio,
        goals=[goal for goal in goals if asked.goal in {None, goal.name}],
        unattributed=[
            Unattributed(reason, events, UnattributedReason[reason.upper()].explanation)
            for reason, events in counted.unattributed
        ],
        decision=whole,
    )


def digest_of(counted: Counted, asked: Asked) -> str:
    """A digest of all that results follow from: plan, exact tallies, what was asked, how it is computed."""
    exact: dict[str, Any] = {
        "projectionVersion": PROJECTION_VERSION,
        "statisticsVersion": STATISTICS_VERSION,
        "position": counted.position,
        "plan": msgspec.to_builtins(counted.plan),
        "visitors": sorted(
            [str(row.variant_id), row.epoch, row.visitors, row.multiple_exposures]
            for row in counted.visitors
            if row.visitors or row.multiple_exposures
        ),
        "days": counted.days,
        "impressions": {str(variant): count for variant, count in counted.impressions.items() if count},
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
            for row in counted.outcomes
            if row.converters
        ),
        "unattributed": counted.unattributed,
        "goal": asked.goal,
        "method": asked.method,
        "alpha": ALPHA,
        "plannedVisitors": asked.planned_visitors,
        "guardrailMargin": asked.guardrail_margin,
    }
    return "sha256:" + hashlib.sha256(msgspec.json.encode(exact, order="sorted")).hexdigest()


def _variant(counted: Counted, variant: Variant, visitors: int) -> VariantResult:
    rows = [row for row in counted.visitors if row.variant_id == variant.id]
    return VariantResult(
        variant_id=variant.id,
        name=variant.name,
        is_control=variant.is_control,
        weight=variant.weight,
        visitors=visitors,
        impressions=counted.impressions.get(variant.id, 0),
        multiple_exposures=sum(row.multiple_exposures for row in rows),
    )


def _sample_ratio(tallies: Tallies) -> SampleRatioResult:
    per_epoch = [
        ([tallies.by_epoch.get((epoch, variant), 0) for variant in tallies.variants], list(weights))
        for epoch, weights in tallies.weights_by_epoch.items()
    ]
    observed = tallies.visitors
    found = sample_ratio_by_epoch(per_epoch) if any(observed) else NotEnoughData("Nobody was exposed yet.")
    if isinstance(found, NotEnoughData):
        return SampleRatioResult(None, None, None, _expected(per_epoch), observed, found.reason)
    return SampleRatioResult(
        found.healthy, found.p_value, found.e_value, list(found.expected), list(found.observed)
    )


def _expected(per_epoch: list[tuple[list[int], list[float]]]) -> list[float]:
    columns = (
        [sum(seen) * weight / sum(weights) for weight in weights] for seen, weights in per_epoch if sum(weights)
    )
    return [sum(column) for column in zip(*columns, strict=True)]


def _plain(value: Decimal) -> str:
    """One spelling for equal decimals, whatever way they were summed."""
    text = f"{value:f}"  # not `normalize`, which rounds to 28 digits
    return text.rstrip("0").rstrip(".") if "." in text else text
