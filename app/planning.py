"""How long an experiment will take: what its plan needs, and how many visitors the site has."""

import time
from collections.abc import Iterator, Sequence
from math import ceil, isfinite
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg import AsyncConnection

from app.experiment_form import whole, without_commas
from app.templates.numbers import counted, plain
from domain.experiment import Goal, NewExperiment
from domain.refusals import FieldError
from domain.validation import WINDOW_HOURS_MAX
from projections.traffic import EVENTS_MAX, Traffic, read_traffic
from stats.power import Regime, level_of_each, planned_size, visitors_of_split

ALPHA = 0.05
# Below an hour of traffic nothing can be said of a day.
_DAYS_MIN = 1 / 24
# A week, but for what late events blur.
_WEEK_DAYS = 6.5
_EVERYBODY = 100
_PAIR = 2
_CHANCE_MIN = 0.5  # a coin does as well
_WEIGHT_MAX = 1e9
_NUMBER_MAX = 1e12

# In the order in which the page shows them: how one may look, and what that costs.
REGIMES: tuple[tuple[Regime, str], ...] = (
    ("always_valid", "looking as often as you like, without an end"),
    ("group_sequential", "looking as often as you like until this many visitors"),
    ("fixed", "one look, at the end"),
)


class PlanForm(msgspec.Struct, rename="camel"):
    """What people type of a plan; what is empty is taken from the log."""

    goal: str = ""
    lift: str = "10"
    chance: str = "80"
    per_day: str = ""
    baseline: str = ""
    sd: str = ""


class Needed(NamedTuple):
    """What one way of looking needs: visitors of each variant, of all, and days; None where they are unknown."""

    regime: Regime
    words: str
    by_variant: list[tuple[str, int]]
    visitors: int
    days: int | None


class Plan(NamedTuple):
    """A plan: what each way of looking needs, and what that rests on, in words; or what is wrong with it."""

    goal: Goal | None
    needed: list[Needed]
    basis: list[str]
    errors: list[FieldError]
    traffic: Traffic | None


class KnownTraffic:
    """What was read of large logs, which takes a while: kept for people who try one plan after another."""

    SECONDS = 600.0
    KNOWN_MAX = 1_000
    EVENTS_MIN = 10_000

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], tuple[float, Traffic]] = {}

    async def get(
        self, connection: AsyncConnection[Any], project_id: UUID, body: NewExperiment, goal: Goal
    ) -> Traffic:
        """The traffic of the pages and the goal of an experiment."""
        hours = min(max(body.attribution_window_hours, 1), WINDOW_HOURS_MAX)
        asked = (project_id, body.url_match_type, body.target_url, goal, hours)
        known = self._known.get(asked)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        traffic = await read_traffic(connection, *asked)
        if traffic.events >= self.EVENTS_MIN:
            if len(self._known) >= self.KNOWN_MAX:
                self._known.clear()
            self._known[asked] = (time.monotonic() + self.SECONDS, traffic)
        return traffic


async def plan(
    connection: AsyncConnection[Any], known: KnownTraffic, project_id: UUID, body: NewExperiment, typed: PlanForm
) -> Plan:
    """Plan the goal that is chosen, or else the first primary one."""
    goal = _chosen(body.goals, typed.goal)
    if goal is None or not goal.event_type:
        reason = "must name a goal with its event type, so that there is something to measure"
        return Plan(None, [], [], [FieldError("plan.goal", reason)], None)
    if "\0" in "".join((body.target_url, goal.event_type, goal.event_name or "", goal.value_field or "")):
        return Plan(None, [], [], [FieldError("plan.goal", "and its pages must not hold a NUL character")], None)
    is_all_typed = bool(typed.per_day.strip() and typed.baseline.strip())
    if body.url_match_type != "all" and not body.target_url and not is_all_typed:
        reason = "must not be empty: the visitors of these pages are looked for in the log"
        return Plan(None, [], [], [FieldError("targetUrl", reason)], None)
    traffic = await known.get(connection, project_id, body, goal)
    return planned(body, typed, goal, traffic)


def planned(body: NewExperiment, typed: PlanForm, goal: Goal, traffic: Traffic) -> Plan:
    """The plan of one goal with this traffic; what was typed goes before what was seen."""
    errors: list[FieldError] = []
    is_rate = goal.kind == "conversion"
    lift, chance = _percent(errors, "lift", typed.lift), _percent(errors, "chance", typed.chance)
    if lift == 0 or (lift is not None and lift <= -1):
        errors.append(FieldError("plan.lift", "must be above -100 and not 0"))
    if chance is not None and not _CHANCE_MIN <= chance < 1:
        errors.append(FieldError("plan.chance", "must be from 50 to below 100"))
    baseline = _typed_or_seen(errors, "baseline", typed.baseline, traffic.mean, percent=is_rate)
    sd = None if is_rate else _typed_or_seen(errors, "sd", typed.sd, traffic.sd, percent=False)
    per_day = _typed_or_seen(errors, "perDay", typed.per_day, _per_day(traffic), percent=False)
    if not baseline and not errors:
        errors.append(FieldError("plan.baseline", f"is not known: {_why_no_baseline(traffic)}; type it"))
    if is_rate and baseline and baseline >= 1:
        errors.append(FieldError("plan.baseline", "must be below 100 %"))
    if not is_rate and not sd and not errors:
        errors.append(FieldError("plan.sd", "is not known: the log holds no two different visitors; type it"))
    if not errors and baseline and lift is not None and is_rate and baseline * (1 + lift) > 1:
        errors.append(FieldError("plan.lift", "asks for a rate above 100 %"))
    errors += _problems_of(body)
    if errors or baseline is None or lift is None or chance is None:
        return Plan(goal, [], [], errors, traffic)
    arriving = None if per_day is None else per_day * body.traffic_percentage / _EVERYBODY
    try:
        needed = [_needed(body, regime, words, baseline, sd, lift, chance, arriving) for regime, words in REGIMES]
    except (ValueError, ArithmeticError) as error:
        return Plan(goal, [], [], [FieldError("plan.lift", f"cannot be planned: {error}")], traffic)
    return Plan(goal, needed, _basis(body, typed, goal, traffic, baseline, sd, per_day), [], traffic)


def _problems_of(body: NewExperiment) -> Iterator[FieldError]:
    """What keeps an experiment from being planned, whatever its goal."""
    if not 0 < body.traffic_percentage <= _EVERYBODY:
        reason = f"must be above 0 and at most {_EVERYBODY}, so that somebody takes part"
        yield FieldError("trafficPercentage", reason)
    control = [variant for variant in body.variants if variant.is_control]
    weights = [variant.weight for variant in body.variants]
    if len(control) != 1 or len(weights) < _PAIR or not all(0 < weight < _WEIGHT_MAX for weight in weights):
        yield FieldError("plan.goal", "needs variants with weights above 0, one of them the control")


def _needed(
    body: NewExperiment,
    regime: Regime,
    words: str,
    baseline: float,
    sd: float | None,
    lift: float,
    chance: float,
    arriving: float | None,
) -> Needed:
    primaries = max(1, sum(goal.role == "primary" for goal in body.goals))
    treatments = [variant.weight for variant in body.variants if not variant.is_control]
    [control] = [variant.weight for variant in body.variants if variant.is_control]
    level = level_of_each(ALPHA / primaries, len(treatments), regime)
    equal = planned_size(baseline, sd, lift, level, chance, regime)
    total = visitors_of_split(equal, control, treatments)
    weights = control + sum(treatments)
    by_variant = [(variant.name, ceil(total * variant.weight / weights)) for variant in body.variants]
    days = ceil(total / arriving) if arriving else None
    return Needed(regime, words, by_variant, ceil(total), days)


def _basis(
    body: NewExperiment,
    typed: PlanForm,
    goal: Goal,
    traffic: Traffic,
    baseline: float,
    sd: float | None,
    per_day: float | None,
) -> list[str]:
    """What the numbers rest on, a sentence each."""
    said = _basis_of_days(body, typed, traffic, per_day)
    stands = f"“{goal.name}” stands at "
    stands += (
        f"{baseline * 100:.2f} %"
        if sd is None
        else f"{_short(baseline)} with a standard deviation of {_short(sd)}"
    )
    if typed.baseline.strip():
        said.append(f"{stands}, as you typed.")
    else:
        said.append(
            f"{stands}: {traffic.converters:,} of those {counted(traffic.visitors, 'visitor')} reached it."
        )
    if body.traffic_percentage < _EVERYBODY:
        said.append(f"{plain(body.traffic_percentage)} % of the visitors take part.")
    primaries = sum(each.role == "primary" for each in body.goals)
    sharing = ["all variants"] if len(body.variants) > _PAIR else []
    sharing += [f"{primaries} primary goals"] if primaries > 1 else []
    shared = f", shared by {' and '.join(sharing)}" if sharing else ""
    said.append(f"A chance of {ALPHA * 100:g} % to find a difference that is not there{shared}.")
    return said


def _basis_of_days(body: NewExperiment, typed: PlanForm, traffic: Traffic, per_day: float | None) -> list[str]:
    if per_day is None:
        return [f"How long it takes cannot be said: {_why_no_days(traffic)}. Type how many visitors a day come."]
    if typed.per_day.strip():
        return [f"{_a_day(per_day)}, as you typed."]
    where = "any page" if body.url_match_type == "all" else "the pages of this experiment"
    newest = f"the newest {EVENTS_MAX:,} events hold" if traffic.events >= EVENTS_MAX else "the log holds"
    said = [
        (
            f"{_a_day(per_day)}: {newest} {counted(traffic.visitors, 'distinct visitor')} of {where} in"
            f" {traffic.days:,.1f} days, one who returns counted once."
        )
    ]
    if traffic.days < 1:
        said.append("That is less than a day, so that night and day are not in it: take it as a rough guess.")
    elif traffic.days < _WEEK_DAYS:
        said.append("That is less than a week, so that the weekend may be missing.")
    return said


def _a_day(visitors: float) -> str:
    return f"{counted(round(visitors), 'visitor')} a day"


def _short(number: float) -> str:
    return plain(float(f"{number:.4g}"))


def _chosen(goals: Sequence[Goal], place: str) -> Goal | None:
    if (chosen := whole(place)) is not None and chosen < len(goals):
        return goals[chosen]
    return next((goal for goal in goals if goal.role == "primary"), goals[0] if goals else None)


def _per_day(traffic: Traffic) -> float | None:
    return traffic.visitors / traffic.days if traffic.visitors and traffic.days >= _DAYS_MIN else None


def _why_no_days(traffic: Traffic) -> str:
    if not traffic.events:
        return "the log holds no event of a visitor yet"
    if not traffic.visitors:
        return "no visitor of these pages is among the newest events"
    return "the log spans less than an hour"


def _why_no_baseline(traffic: Traffic) -> str:
    if not traffic.visitors:
        return _why_no_days(traffic)
    return f"none of the {counted(traffic.visitors, 'visitor')} of these pages in the log has reached this goal"


def _typed_or_seen(
    errors: list[FieldError], field: str, text: str, seen: float | None, *, percent: bool
) -> float | None:
    if not text.strip():
        return seen
    number = _percent(errors, field, text) if percent else _number(errors, field, text)
    if number is not None and not number > 0:
        errors.append(FieldError(f"plan.{field}", "must be above 0"))
        return None
    return number


def _percent(errors: list[FieldError], field: str, text: str) -> float | None:
    # Nobody means thousands: a comma would stand for a point.
    number = _number(errors, field, text.replace(",", " "))
    return None if number is None else number / 100


def _number(errors: list[FieldError], field: str, text: str) -> float | None:
    try:
        number = float(without_commas(text.strip().removesuffix("%")))
    except ValueError:
        number = float("nan")
    if not isfinite(number) or abs(number) > _NUMBER_MAX:
        errors.append(FieldError(f"plan.{field}", "must be a number such as 10 or 2.5"))
        return None
    return number
