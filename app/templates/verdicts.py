"""Results in a sentence: what to do, before the evidence."""

from typing import Literal, NamedTuple
from uuid import UUID

from app.results_shape import ComparisonResult, GoalResult, Interval, Results
from app.templates import numbers

# So many lines of figures stand behind a sentence; tables have all of them.
FIGURES_MAX = 12

# What is compared of a kind of goal, and how often limits may be looked at, in words.
MEASURES = {"conversion": "rate", "count": "conversions per visitor", "value": "mean"}
LOOKS = {
    "always_valid": "however often one looks",
    "group_sequential": "at every look until the horizon",
    "fixed": "at one look that was planned before",
}

Tone = Literal["better", "worse", "open", "warning"]


class Part(NamedTuple):
    """Some words of a sentence; `why` says what they are, where they are a figure."""

    text: str
    why: str = ""


class Verdict(NamedTuple):
    """A sentence to read first, and the figures and reasons that it rests on, each in its parts."""

    tone: Tone
    sentence: str
    because: list[list[Part]]


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
        left_out = numbers.counted(len(figures) - FIGURES_MAX, "more comparison")
        figures[FIGURES_MAX:] = [[Part(f"{left_out} of primary goals: see below.")]]
    tones: dict[str, Tone] = {"ship": "better", "unhealthy": "warning", "keep_running": "open"}
    # An end without an improvement harms nobody; a loss is named among the reasons.
    tone = tones.get(decision.action, "worse" if decision.reasons else "open")
    reasons = [[Part(reason)] for reason in decision.reasons]
    if decision.action == "unhealthy":
        return Verdict(tone, decision.sentence, [*reasons, *([Part("Without that: "), *each] for each in figures)])
    return Verdict(tone, decision.sentence, [*figures, *reasons])


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


def _figure(goal: GoalResult, comparison: ComparisonResult, names: dict[UUID, str]) -> list[Part]:
    variant, control = names[comparison.variant_id], names[comparison.control_id]
    about = f"“{goal.name}” with “{variant}”: "
    if comparison.verdict == "not_enough_data":
        return [Part(f"{about}not enough data. {comparison.reason}")]
    measure = MEASURES[goal.kind]
    lift = deciding_lift(comparison)
    if lift.estimate is None:
        size = numbers.difference(comparison.absolute.estimate, goal.kind)
        why = f"The {measure} of the variant less that of the control, as it was seen."
        return [Part(about), Part(size or "–", why), Part(f" against “{control}”. {comparison.reason}")]
    why = f"The {measure} of the variant over that of the control, less 1, as it was seen."
    seen = [Part(about), Part(numbers.lift(lift.estimate) or "–", why)]
    if lift.low is None and lift.high is None:
        return [*seen, Part(f" against “{control}”. {lift.reason or comparison.reason}")]
    low, high = numbers.lift(lift.low) or "no limit", numbers.lift(lift.high) or "no limit"
    level = numbers.plain(100 * (1 - comparison.alpha))
    why = f"The true lift lies between these limits with {level} % confidence, {LOOKS[comparison.regime]}."
    return [*seen, Part(f" against “{control}” ("), Part(f"between {low} and {high}", why), Part(").")]
