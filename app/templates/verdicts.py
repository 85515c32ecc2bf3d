"""Results in a sentence: what to do, before the evidence."""

from typing import Literal, NamedTuple
from uuid import UUID

from app.results_shape import ComparisonResult, GoalResult, Interval, Results
from app.templates import numbers

# So many lines of figures stand behind a sentence; tables have all of them.
FIGURES_MAX = 12

Tone = Literal["better", "worse", "open", "warning"]


class Verdict(NamedTuple):
    """A sentence to read first, and the figures and reasons that it rests on."""

    tone: Tone
    sentence: str
    because: list[str]


def verdict_of(results: Results) -> Verdict:
    """The decision in a sentence, and behind it what the primary goals show and what stands against it."""
    if results.status == "draft":
        return Verdict("open", "Not started yet, so there is nothing to compare.", [])
    if not any(variant.visitors for variant in results.variants):
        return Verdict("open", "Nobody has been shown this experiment yet.", [])
    decision = results.decision
    if decision is None:
        return Verdict("open", "Nothing is decided yet.", [])
    names = {variant.variant_id: variant.name for variant in results.variants}
    figures = [
        _figure(goal, comparison, names)
        for goal in results.goals
        if goal.role == "primary"
        for comparison in goal.comparisons
    ]
    if len(figures) > FIGURES_MAX:
        figures[FIGURES_MAX:] = [f"{len(figures) - FIGURES_MAX} more comparisons of primary goals stand below."]
    tones: dict[str, Tone] = {"ship": "better", "unhealthy": "warning", "keep_running": "open"}
    # An end without an improvement harms nobody; a loss is named among the reasons.
    tone = tones.get(decision.action, "worse" if decision.reasons else "open")
    if decision.action == "unhealthy":
        return Verdict(
            tone, decision.sentence, [*decision.reasons, *(f"Without that: {each}" for each in figures)]
        )
    return Verdict(tone, decision.sentence, [*figures, *decision.reasons])


def deciding_lift(comparison: ComparisonResult) -> Interval:
    """The lift with the limits by which the verdict was given; they are None where there is none, with why."""
    if comparison.regime == "fixed":
        return comparison.relative
    limits = comparison.always_valid
    if comparison.regime == "group_sequential" and comparison.group_sequential is not None:
        limits = comparison.group_sequential
    found = limits.relative
    # Too early to speak is no reason to hide what is seen.
    estimate = comparison.relative.estimate if found.estimate is None else found.estimate
    return Interval(estimate, found.low, found.high, limits.reason or found.reason)


def _figure(goal: GoalResult, comparison: ComparisonResult, names: dict[UUID, str]) -> str:
    variant, control = names[comparison.variant_id], names[comparison.control_id]
    about = f"“{goal.name}” with “{variant}”"
    if comparison.verdict == "not_enough_data":
        return f"{about}: not enough data. {comparison.reason}"
    lift = deciding_lift(comparison)
    if lift.estimate is None:
        size = numbers.difference(comparison.absolute.estimate, goal.kind)
        return f"{about}: {size} against “{control}”. {comparison.reason}"
    size = numbers.lift(lift.estimate)
    if lift.low is None and lift.high is None:
        return f"{about}: {size} against “{control}”. {lift.reason or comparison.reason}"
    low, high = numbers.lift(lift.low) or "no limit", numbers.lift(lift.high) or "no limit"
    return f"{about}: {size} against “{control}” (between {low} and {high})."
