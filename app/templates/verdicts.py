"""Results in a sentence: what to make of them, before the evidence."""

from typing import Literal, NamedTuple
from uuid import UUID

from app.results_shape import ComparisonResult, GoalResult, Results
from app.templates import numbers

Tone = Literal["better", "worse", "open", "warning"]


class Verdict(NamedTuple):
    """A sentence to read first, and what it rests on or what to keep in mind."""

    tone: Tone
    sentence: str
    because: list[str]


def verdict_of(results: Results) -> Verdict:
    """The verdict of the primary goals, and before it whatever makes them untrustworthy."""
    if results.status == "draft":
        return Verdict("open", "Not started yet, so there is nothing to compare.", [])
    if not any(variant.visitors for variant in results.variants):
        return Verdict("open", "Nobody has been shown this experiment yet.", [])
    primary = [goal for goal in results.goals if goal.role == "primary"]
    if not primary:
        return Verdict("open", "No goal is primary, so no goal decides.", [])
    names = {variant.variant_id: variant.name for variant in results.variants}
    plain = _verdict(primary, names, "" if results.status == "stopped" else " yet")
    harmed = _harmed(results, names)
    if results.sample_ratio.healthy is False:
        return Verdict(
            "warning",
            "Do not decide on these numbers: visitors did not arrive in the proportions that the weights promise.",
            [f"Without that, they would read: {plain.sentence}", *harmed],
        )
    if harmed and plain.tone == "better":
        return Verdict("warning", plain.sentence, [*harmed, *plain.because])
    return Verdict(plain.tone, plain.sentence, [*plain.because, *harmed])


def _verdict(goals: list[GoalResult], names: dict[UUID, str], yet: str) -> Verdict:
    tones = {_tone(goal) for goal in goals} - {"open"}
    # Goals that contradict each other decide nothing.
    tone: Tone = tones.pop() if len(tones) == 1 else "open"
    sentence = "; ".join(_of_goal(goal, names, yet) for goal in goals) + "."
    reasons = {comparison.reason for goal in goals for comparison in goal.comparisons}
    return Verdict(tone, sentence, list(reasons) if len(reasons) == 1 else [])


def _tone(goal: GoalResult) -> Tone:
    found = {comparison.verdict for comparison in goal.comparisons}
    # With several variants a winner is what people look for, whatever the others do.
    if "better" in found:
        return "better"
    return "worse" if "worse" in found else "open"


def _of_goal(goal: GoalResult, names: dict[UUID, str], yet: str) -> str:
    control = _quoted([names[goal.comparisons[0].control_id]])
    about = f"on {_quoted([goal.name])}"
    if len(goal.comparisons) == 1:
        return _of_pair(goal, goal.comparisons[0], names, yet)
    by_verdict: dict[str, list[str]] = {}
    for comparison in goal.comparisons:
        by_verdict.setdefault(comparison.verdict, []).append(names[comparison.variant_id])
    better, worse = by_verdict.get("better", []), by_verdict.get("worse", [])
    open_ = by_verdict.get("inconclusive", []) + by_verdict.get("not_enough_data", [])
    if not better and not worse:
        return f"No winner{yet}: none of {_quoted(open_)} can be told apart from {control} {about}"
    parts = []
    if better:
        parts.append(f"{_quoted(better)} {_verb(better, 'beats', 'beat')} {control} {about}")
    if worse:
        than = "" if better else f" than {control} {about}"
        parts.append(f"{_quoted(worse)} {_verb(worse, 'does', 'do')} worse{than}")
    if open_:
        parts.append(f"{_quoted(open_)} {_verb(open_, 'is', 'are')} undecided")
    return "; ".join(parts)


def _of_pair(goal: GoalResult, comparison: ComparisonResult, names: dict[UUID, str], yet: str) -> str:
    variant, control = _quoted([names[comparison.variant_id]]), _quoted([names[comparison.control_id]])
    about = _quoted([goal.name])
    size = numbers.lift(comparison.relative.estimate) or numbers.difference(
        comparison.absolute.estimate, goal.kind
    )
    match comparison.verdict:
        case "better":
            return f"{variant} beats {control} on {about}: {size}"
        case "worse":
            return f"{variant} does worse than {control} on {about}: {size}"
        case "inconclusive":
            return f"No winner{yet}: {variant} and {control} cannot be told apart on {about}"
        case "not_enough_data":
            return f"Not enough data{yet} to compare {variant} with {control} on {about}"


def _harmed(results: Results, names: dict[UUID, str]) -> list[str]:
    return [
        f"Guardrail {_quoted([goal.name])}: {_quoted([names[comparison.variant_id]])} does worse."
        for goal in results.goals
        if goal.role == "guardrail"
        for comparison in goal.comparisons
        if comparison.verdict == "worse"
    ]


def _quoted(names: list[str]) -> str:
    quoted = [f"“{name}”" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _verb(subjects: list[str], singular: str, plural: str) -> str:
    return singular if len(subjects) == 1 else plural
