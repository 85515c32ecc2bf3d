"""Goals of an experiment: all compared in a few calls of the statistics, then put into the documented shape."""

from math import inf
from typing import NamedTuple
from uuid import UUID

import numpy as np

from app.result_tallies import Sums, Tallies
from app.results_shape import (
    AlwaysValidResult,
    BayesResult,
    ComparisonResult,
    GoalResult,
    GoalVariant,
    Interval,
    Value,
)
from domain.experiment import Goal
from projections.results import Counted
from stats import decision, multiplicity
from stats.arms import Arms
from stats.comparison import Comparisons, Kind, compare_arms, compare_moments
from stats.not_enough_data import NotEnoughData
from stats.single import Comparison, Monitored, rows_of
from stats.single import Interval as FoundInterval
from stats.strata import of_epochs
from stats.terms import PRIOR_LOG_RATIO_SD, Terms

SURPLUS = "More ids converted than visitors were exposed: the backend reports ids that the browser never did."
PRIOR = (
    f"log ratio normal about 0, standard deviation {PRIOR_LOG_RATIO_SD:g}: "
    f"lifts beyond {200 * PRIOR_LOG_RATIO_SD:.0f} % are rare"
)
UNBOUNDED = "Unbounded: the control's mean may be zero."
METHODS = {
    "always_valid": "asymptotic confidence sequence",
    "group_sequential": "O'Brien-Fleming spending over endless looks until the horizon",
}


class Compared(NamedTuple):
    """A goal, its row in the comparisons of all goals of its kind, and its level."""

    goal: Goal
    found: Comparisons
    row: int
    alpha: float
    surplus: dict[UUID, int]


def compared(counted: Counted, tallies: Tallies, terms: Terms, info: float | None) -> list[Compared]:
    """Every goal of the plan compared, in its order; primaries share the level of the terms equally."""
    plan = counted.plan
    control = next(i for i, variant in enumerate(plan.variants) if variant.is_control)
    others = [i for i in range(len(plan.variants)) if i != control]
    primaries = max(1, sum(goal.role == "primary" for goal in plan.goals))
    rows: dict[str, Compared] = {}
    for rates in (True, False):
        goals = [goal for goal in plan.goals if (goal.kind == "conversion") == rates]
        if not goals:
            continue
        alphas = [terms.alpha / primaries if goal.role == "primary" else terms.alpha for goal in goals]
        pooled = tallies.arms(goals)
        arms = _picked(pooled, [control]), _picked(pooled, others)
        level = np.array(alphas)
        kind: Kind = "conversion" if rates else "value"
        least = np.array([[-inf if goal.kind == "value" else -1.0] for goal in goals])
        if len(tallies.spans) > 1:
            spans = tallies.arms_by_span(goals)
            parts = _picked(spans, [control]), _picked(spans, others)
            moments = of_epochs(*parts, proportions=rates)
            found = compare_moments(moments, *arms, kind, terms, alpha=level, info=info, least_lift=least)
        else:
            found = compare_arms(*arms, kind, terms, alpha=level, info=info, least_lift=least)
        for row, goal in enumerate(goals):
            rows[goal.name] = Compared(goal, found, row, alphas[row], _surplus(tallies, goal))
    return [rows[goal.name] for goal in plan.goals]


def verdicts_of(compared: Compared) -> "np.ndarray[tuple[int, ...], np.dtype[np.int8]]":
    """The verdict codes of a goal's variants; a surplus of ids is no verdict."""
    verdicts = compared.found.verdicts[compared.row]
    return np.full_like(verdicts, decision.UNPROVEN) if any(compared.surplus.values()) else verdicts


def goal_results(counted: Counted, tallies: Tallies, goals: list[Compared]) -> list[GoalResult]:
    """The goals in the documented shape, without their decisions."""
    plan = counted.plan
    control = next(variant.id for variant in plan.variants if variant.is_control)
    others = [variant.id for variant in plan.variants if variant.id != control]
    found = _found(goals, control, others)
    rates = _false_discovery_rates(goals, found)
    return [
        GoalResult(
            name=each.goal.name,
            role=each.goal.role,
            kind=each.goal.kind,
            variants=[
                _arm(each.goal, *of_variant)
                for of_variant in zip(
                    tallies.variants, tallies.visitors, tallies.sums_of(each.goal.name), strict=True
                )
            ],
            comparisons=[
                _comparison(row, variant, control, each, rates.get((i, column)))
                for column, (variant, row) in enumerate(zip(others, found[i], strict=True))
            ],
        )
        for i, each in enumerate(goals)
    ]


def _found(goals: list[Compared], control: UUID, others: list[UUID]) -> list[list[Comparison | NotEnoughData]]:
    """Each goal's comparisons, by treatment."""
    # Goals of a kind share their comparisons, whose rows stand in the order of the goals.
    sharing: dict[int, list[Compared]] = {}
    for each in goals:
        sharing.setdefault(id(each.found), []).append(each)
    rows: dict[int, list[list[Comparison | NotEnoughData]]] = {}
    for key, some in sharing.items():
        read = rows_of(some[0].found, np.array([each.alpha for each in some]))
        rows[key] = [read[at : at + len(others)] for at in range(0, len(read), len(others))]
    return [
        [
            NotEnoughData(SURPLUS) if each.surplus[control] or each.surplus[variant] else row
            for variant, row in zip(others, rows[id(each.found)][each.row], strict=True)
        ]
        for each in goals
    ]


def _picked(arms: Arms, columns: list[int]) -> Arms:
    return Arms(arms.n[..., columns], arms.sum[..., columns], arms.m2[..., columns])


def _surplus(tallies: Tallies, goal: Goal) -> dict[UUID, int]:
    """How many more have converted than were exposed, by variant."""
    of_all = zip(tallies.variants, tallies.sums_of(goal.name), tallies.visitors, strict=True)
    return {variant: max(0, sums.converters - visitors) for variant, sums, visitors in of_all}


def _arm(goal: Goal, variant: UUID, visitors: int, sums: Sums) -> GoalVariant:
    surplus = max(0, sums.converters - visitors)
    known = visitors > 0 and not surplus
    value = None
    if goal.kind == "value":
        value = Value(float(sums.value), sums.mean(visitors) if known else None)
    return GoalVariant(
        variant_id=variant,
        visitors=visitors,
        converters=sums.converters,
        conversions=sums.conversions,
        rate=sums.converters / visitors if known else None,
        value=value,
        surplus_converters=surplus,
        reason=None if known else SURPLUS if surplus else "Nobody was exposed to this variant yet.",
    )


def _comparison(
    found: Comparison | NotEnoughData, variant: UUID, control: UUID, compared: Compared, q_value: float | None
) -> ComparisonResult:
    alpha = compared.alpha
    if isinstance(found, NotEnoughData):
        nothing = Interval(None, None, None, found.reason)
        return ComparisonResult(
            variant_id=variant,
            control_id=control,
            absolute=nothing,
            relative=nothing,
            p_value=None,
            always_valid=AlwaysValidResult(None, None, None, nothing, found.reason),
            bayes=BayesResult(None, None, found.reason),
            verdict="not_enough_data",
            reason=found.reason,
            method=None,
            alpha=alpha,
            regime=compared.found.terms.regime,
        )
    until_horizon = found.group_sequential
    return ComparisonResult(
        variant_id=variant,
        control_id=control,
        absolute=Interval(found.absolute.estimate, found.absolute.low, found.absolute.high),
        relative=_interval(found.relative),
        p_value=found.p_value,
        always_valid=_monitored(found.always_valid, "always_valid", alpha),
        bayes=_bayes(found),
        verdict=found.verdict,
        reason=found.reason,
        method=found.method,
        alpha=alpha,
        regime=found.regime,
        correction=found.correction,
        group_sequential=None if until_horizon is None else _monitored(until_horizon, "group_sequential", alpha),
        q_value=q_value,
    )


def _interval(found: FoundInterval | NotEnoughData) -> Interval:
    if isinstance(found, NotEnoughData):
        return Interval(None, None, None, found.reason)
    unbounded = found.low is None or found.high is None
    return Interval(found.estimate, found.low, found.high, UNBOUNDED if unbounded else None)


def _monitored(valid: Monitored | NotEnoughData, regime: str, alpha: float) -> AlwaysValidResult:
    method = METHODS[regime]
    if isinstance(valid, NotEnoughData):
        return AlwaysValidResult(None, None, None, _interval(valid), valid.reason)
    return AlwaysValidResult(valid.p_value, valid.low, valid.high, _interval(valid.relative), None, method, alpha)


def _bayes(found: Comparison) -> BayesResult:
    if isinstance(found.bayes, NotEnoughData):
        return BayesResult(None, None, found.bayes.reason)
    return BayesResult(found.bayes.chance_to_beat, found.bayes.expected_loss, None, PRIOR)


def _false_discovery_rates(
    goals: list[Compared], found: list[list[Comparison | NotEnoughData]]
) -> dict[tuple[int, int], float]:
    """The q-values (Benjamini & Hochberg) of secondary goals' comparisons, by (goal, column)."""
    places = [
        ((i, column), _deciding_p(row))
        for i, each in enumerate(goals)
        if each.goal.role == "secondary"
        for column, row in enumerate(found[i])
    ]
    known = [(place, p) for place, p in places if p is not None]
    if not known:
        return {}
    rates = multiplicity.adjust(np.array([p for _, p in known]), "bh").tolist()
    return {place: rate for (place, _), rate in zip(known, rates, strict=True)}


def _deciding_p(row: Comparison | NotEnoughData) -> float | None:
    if isinstance(row, NotEnoughData):
        return None
    if row.regime == "fixed":
        return row.p_value
    deciding = row.group_sequential if row.regime == "group_sequential" else row.always_valid
    return None if deciding is None or isinstance(deciding, NotEnoughData) else deciding.p_value
