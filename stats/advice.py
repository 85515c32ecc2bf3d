"""Decisions in plain sentences, for a goal and for an experiment."""

from math import ceil, isfinite
from typing import Literal

import msgspec

from stats.decision import DO_NOT_SHIP, HARMED, SAFE, SHIP, Action

Role = Literal["primary", "secondary", "guardrail"]

_DAYS_MAX = 365


class Judged(msgspec.Struct, frozen=True):
    """One variant on one goal: its verdict, its state as a guardrail, and what is still needed.

    `needed_share` are the visitors at which the difference seen would be a verdict, over those so far; inf
    where that is not in sight.
    """

    variant: str
    verdict: Literal["better", "worse", "inconclusive", "not_enough_data"]
    guardrail: int
    lift: float | None
    needed_share: float


class JudgedGoal(msgspec.Struct, frozen=True):
    """A goal with what was found for each variant, in the order of the variants."""

    name: str
    role: Role
    margin: float
    variants: list[Judged]


class Advice(msgspec.Struct, frozen=True):
    """An action, the sentence that says it, what it rests on, and about how many days it takes."""

    action: Action
    sentence: str
    reasons: list[str]
    days_left: int | None = None


class Pace(msgspec.Struct, frozen=True):
    """How the experiment goes on: days so far, None when unknown; the share of a stated horizon; the end.

    With `has_gaps`, days without visitors were left out of them.
    """

    days: float | None = None
    info: float | None = None
    ended: bool = False
    has_gaps: bool = False


def advise_goal(goal: JudgedGoal, pace: Pace) -> Advice:
    """Say what one goal by itself would have one do."""
    about = f"“{goal.name}”"
    if goal.role == "guardrail":
        return _advise_guardrail(goal, pace)
    better = [each for each in goal.variants if each.verdict == "better"]
    worse = [each for each in goal.variants if each.verdict == "worse"]
    if better:
        return Advice("ship", f"{about} improves with {_names(better)}.", [])
    if len(worse) == len(goal.variants):
        return Advice("do_not_ship", f"{about} gets worse with {_names(worse)}.", [])
    if pace.ended:
        return Advice("do_not_ship", f"{about} shows no improvement.", [])
    days = _days_left(goal, pace)
    return Advice("keep_running", f"{about} is not decided yet{_about(days, pace)}.", [], days)


def advise(action: int, variant: int, goals: list[JudgedGoal], pace: Pace, unhealthy: list[str]) -> Advice:
    """Put an experiment's decision into words; `action` and `variant` as `decision.decide` gives them."""
    primaries = [goal for goal in goals if goal.role == "primary"]
    guardrails = [goal for goal in goals if goal.role == "guardrail"]
    if unhealthy:
        return Advice("unhealthy", "Do not decide on these numbers yet: look into what is wrong first.", unhealthy)
    if not primaries:
        return Advice("keep_running", "No goal is primary, so no goal decides.", [])
    if action == SHIP:
        name = primaries[0].variants[variant].variant
        improved = [goal for goal in primaries if goal.variants[variant].verdict == "better"]
        kept = [_kept(goal) for goal in guardrails]
        return Advice("ship", f"Ship “{name}”: it improves {_goals(improved)}.", kept)
    reasons = [line for goal in goals for line in _against(goal)]
    if action == DO_NOT_SHIP:
        lost = any(each.verdict == "worse" for goal in primaries for each in goal.variants) or any(
            each.guardrail == HARMED for goal in guardrails for each in goal.variants
        )
        if lost:
            return Advice("do_not_ship", "Do not ship: no variant improves without doing harm.", reasons)
        return Advice("do_not_ship", "Do not ship: the experiment ended without an improvement shown.", reasons)
    waiting = _days_left_of(primaries, pace)
    return Advice(
        "keep_running", f"Keep running{_about(waiting, pace)}.", reasons + _waiting_for(guardrails), waiting
    )


def _advise_guardrail(goal: JudgedGoal, pace: Pace) -> Advice:
    about, margin = f"“{goal.name}”", f"{100.0 * goal.margin:g} %"
    harmed = [each for each in goal.variants if each.guardrail == HARMED]
    if harmed:
        return Advice("do_not_ship", f"{about} falls by more than {margin} with {_names(harmed)}.", [])
    if all(each.guardrail == SAFE for each in goal.variants):
        return Advice("ship", f"{about} does not fall by {margin} with any variant.", [])
    if pace.ended:
        return Advice("do_not_ship", f"{about} may fall by {margin}: nothing rules it out.", [])
    return Advice("keep_running", f"{about} may still fall by {margin}.", [])


def _days_left(goal: JudgedGoal, pace: Pace) -> int | None:
    return _days(min((each.needed_share for each in goal.variants), default=float("inf")), pace)


def _days_left_of(primaries: list[JudgedGoal], pace: Pace) -> int | None:
    shares = [each.needed_share for goal in primaries for each in goal.variants if each.verdict != "better"]
    return _days(min(shares, default=float("inf")), pace)


def _days(needed_share: float, pace: Pace) -> int | None:
    """Give whole days until that many times the visitors so far have come, at the pace so far."""
    if pace.days is None or pace.days <= 0.0:
        return None
    if pace.info is not None and 0.0 < pace.info < 1.0:
        needed_share = min(needed_share, 1.0 / pace.info)
    if not isfinite(needed_share):
        return None
    days = ceil(max(needed_share - 1.0, 0.0) * pace.days)
    return days if 0 < days <= _DAYS_MAX else None


def _about(days: int | None, pace: Pace) -> str:
    if days is None:
        return ""
    which = " with visitors" if pace.has_gaps else ""
    return f", for about {days} more day{'s' if days > 1 else ''}{which} if the difference seen is real"


def _against(goal: JudgedGoal) -> list[str]:
    worse = [each for each in goal.variants if each.verdict == "worse"]
    if goal.role == "guardrail":
        worse = [each for each in goal.variants if each.guardrail == HARMED]
    return [f"“{goal.name}” gets worse with {_names(worse)}."] if worse and goal.role != "secondary" else []


def _waiting_for(guardrails: list[JudgedGoal]) -> list[str]:
    return [
        f"Guardrail “{goal.name}” may still fall by {100.0 * goal.margin:g} %."
        for goal in guardrails
        if any(each.guardrail not in {SAFE, HARMED} for each in goal.variants)
    ]


def _kept(goal: JudgedGoal) -> str:
    return f"Guardrail “{goal.name}” does not fall by {100.0 * goal.margin:g} %."


def _names(variants: list[Judged]) -> str:
    return " and ".join(f"“{each.variant}”" for each in variants)


def _goals(goals: list[JudgedGoal]) -> str:
    return " and ".join(f"“{goal.name}”" for goal in goals)
