"""The decision of an experiment and of each goal, from its comparisons."""

from datetime import UTC, date, datetime, timedelta

import numpy as np

from app.result_goals import SURPLUS, Compared, verdicts_of
from app.results_shape import DecisionResult, GoalResult, SampleRatioResult
from domain.experiment import Experiment
from projections.results import Counted, Days
from stats import advice, decision
from stats.advice import Advice, Judged, JudgedGoal, Pace
from stats.saddle_point import Floats

_DAY = timedelta(days=1)
UNEVEN = "Visitors did not arrive in the proportions that the weights promise."


def decided(
    plan: Experiment,
    goals: list[Compared],
    results: list[GoalResult],
    ratio: SampleRatioResult,
    pace: Pace,
    margin: float,
) -> tuple[DecisionResult, list[DecisionResult]]:
    """The experiment's decision, and one for each goal."""
    treatments = [variant for variant in plan.variants if not variant.is_control]
    names = [variant.name for variant in treatments]
    # Goals of a kind share their comparisons: each is looked at once.
    shared = {id(each.found): each.found for each in goals}
    states_of = {key: decision.guardrail_states(found, margin) for key, found in shared.items()}
    needed_of = {key: decision.visitors_needed_share(found) for key, found in shared.items()}
    states = [states_of[id(each.found)][each.row] for each in goals]
    judged = [
        _judged(each, result, state, needed_of[id(each.found)][each.row], names, margin)
        for each, result, state in zip(goals, results, states, strict=True)
    ]
    primaries = [each for each in goals if each.goal.role == "primary"]
    guards = [state for each, state in zip(goals, states, strict=True) if each.goal.role == "guardrail"]
    unhealthy = _unhealthy(ratio, goals)
    verdicts = [verdicts_of(each) for each in primaries]
    found = decision.decide(
        np.array(verdicts, dtype=np.int8).reshape(-1, len(names)),
        primaries[0].found.lift[primaries[0].row] if primaries else np.zeros(len(names)),
        np.array(guards, dtype=np.int8).reshape(-1, len(names)),
        np.asarray(not unhealthy),
        np.asarray(pace.ended),
    )
    variant = int(found.variant)
    said = advice.advise(int(found.action), variant, judged, pace, unhealthy)
    chosen = treatments[variant].id if said.action == "ship" else None
    whole = DecisionResult(said.action, said.sentence, said.reasons, chosen, said.days_left)
    return whole, [_wire(advice.advise_goal(each, pace)) for each in judged]


def pace_of(counted: Counted, time: datetime | None, info: float | None) -> Pace:
    """In how many days its visitors came until the moment of the results, and whether the experiment has ended."""
    ended = counted.plan.status == "stopped" or (info is not None and info >= 1.0)
    if counted.days is None or time is None:
        return Pace(None, info, ended)
    return Pace(_days_of(counted.days, counted.plan.started_at, time), info, ended, _left_out(counted.days) > 0)


def _days_of(days: Days, started_at: datetime | None, until: datetime) -> float:
    """Days on which visitors came, the first and the last as far as they were seen.

    By what events say of themselves, as charts and plans go: a week that is sent at once was a week. Days without
    anybody are left out, since then the experiment was paused, or not shown.
    """
    begin, end = _midnight(days.first), _midnight(days.last) + _DAY
    if started_at is not None and started_at.date() == days.first:
        begin = started_at
    return max(0.0, (max(min(until, end), begin) - begin) / _DAY - _left_out(days))


def _left_out(days: Days) -> int:
    return (days.last - days.first).days + 1 - days.with_visitors


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _wire(said: Advice) -> DecisionResult:
    return DecisionResult(said.action, said.sentence, said.reasons, None, said.days_left)


def _judged(
    compared: Compared,
    result: GoalResult,
    states: decision.Codes,
    needed_shares: Floats,
    names: list[str],
    margin: float,
) -> JudgedGoal:
    variants = [
        Judged(
            variant=name,
            verdict=result.comparisons[i].verdict,
            guardrail=int(states[i]),
            lift=result.comparisons[i].relative.estimate,
            needed_share=float(needed_shares[i]),
        )
        for i, name in enumerate(names)
    ]
    return JudgedGoal(compared.goal.name, compared.goal.role, margin, variants)


def _unhealthy(ratio: SampleRatioResult, goals: list[Compared]) -> list[str]:
    found = [UNEVEN] if ratio.healthy is False else []
    surplus = any(any(each.surplus.values()) for each in goals if each.goal.role != "secondary")
    return [*found, SURPLUS] if surplus else found
