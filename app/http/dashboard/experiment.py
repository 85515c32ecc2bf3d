"""The page of one experiment: its results, now or as they were known at a moment."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec
import psycopg
from litestar import Response, get
from litestar.params import FromPath

from app.experiments import read_experiment
from app.find_results import SETTLED_AFTER_SECONDS, Found, asked_for
from app.http.dashboard.access import require_experiment
from app.http.dashboard.pages import HOME, AnyRequest, page, services_of
from app.http.results import find_counted
from app.kept import Kept
from app.problems import Problem
from app.replays import Ahead, Past, Replays
from app.result_breakdown import DIMENSIONS, Breakdown, breakdown_of
from app.result_history import Change, history_of
from app.result_part import Part, part_of, turned_to
from app.result_series import series_of
from app.results_shape import Results
from app.templates.charts import OverTime, over_time
from app.told_counts import read_told
from domain.experiment import Experiment, Goal
from domain.validation import NAME_CHARS_MAX
from projections.breakdown import Dimension
from projections.results import Detail, read_history

_SLIDER_STEPS = 240
_STEPS_SECONDS = (1, 5, 15, 60)
# What was received until then does not change any more.
_SETTLED = timedelta(seconds=SETTLED_AFTER_SECONDS + 1)
_DIGITS_MAX = 11


class Slider(NamedTuple):
    """A range of moments in epoch seconds, from the creation of the experiment on; its right end is now."""

    least: int
    most: int
    step: int
    value: int


class GoalShown(msgspec.Struct, frozen=True):
    """Picks the goal asked for, else the first primary one, else the first."""

    wanted: str | None = None

    def __call__(self, plan: Experiment) -> Goal | None:
        """The goal of a plan; None if it has none."""
        named = [goal for goal in plan.goals if goal.name == self.wanted]
        primary = [goal for goal in plan.goals if goal.role == "primary"]
        return next(iter([*named, *primary, *plan.goals]), None)


@get("/experiments/{experiment_id:str}", include_in_schema=False)
async def experiment_page(request: AnyRequest, experiment_id: FromPath[str]) -> Response[bytes]:
    """The results of one experiment, now or with `asOf` as they were known at a moment."""
    project_id, wanted = await require_experiment(request, experiment_id, "viewer")
    return await results_page(request, project_id, wanted, here=f"{HOME}/experiments/{wanted}")


async def results_page(
    request: AnyRequest, project_id: UUID, experiment_id: UUID, *, here: str
) -> Response[bytes]:
    """The page of results at the address `here`: an experiment's own, or that of a share link.

    The query may hold `asOf` (a time or a position), or `at` in epoch seconds, which is what the slider
    sends, with its right end as `until`; `goal`, the one shown over time and by segment; `by`, the dimension of
    the segments; `method`; `variants`, `segments`, `days` and `changes`, to which page of those it is turned, or
    `show=all`.
    Behind a share link nobody is logged in: `login` is None in the template, which then shows nothing that
    changes something or leads elsewhere.
    """
    services = services_of(request)
    query, now = request.query_params, datetime.now(UTC)
    slid = _slid_to(query.get("at", ""), query.get("until", ""), now)
    as_of = slid if "at" in query else query.get("asOf", "").strip() or None
    method = query.get("method", "") or "always_valid"
    async with services.pool.connection() as connection:
        experiment = await read_experiment(connection, project_id, experiment_id)
    project = await services.projects.get(services.pool, project_id)
    try:
        found = await find_counted(
            services,
            project_id,
            experiment_id,
            as_of=as_of,
            asked=asked_for(None, method, None, None),
            detail=Detail(_goal_shown(query.get("goal")), _dimension(query.get("by"))),
        )
    except psycopg.errors.QueryCanceled:
        raise Problem(503, "breakdown_too_slow", "so many visitors cannot be broken down at the moment") from None
    results = await services.results.of(found)
    part = part_of(results, query.get("goal"), turned_to(query))
    async with services.pool.connection() as connection:
        facts = await read_history(connection, project_id, experiment_id, found.counted.position)
        since, until = found.counted.plan.created_at.date(), (found.time if as_of and found.time else now).date()
        told = await read_told(connection, project_id, since, until)
    slider = _slider(found.counted.plan.created_at, now, results.as_of.time if as_of else None)
    if found.counted.segments is None:  # with them, each moment takes as long as there are visitors
        _look_ahead(services.replays, found, project_id, slider, now)

    def shown() -> Response[bytes]:
        changes = history_of(facts)  # of a split that is changed each hour, thousands
        return page(
            request,
            "experiment.html",
            here=here,
            project=project,
            experiment=experiment,
            results=results,
            part=part,
            as_of=as_of,
            method=method,
            chosen=found.counted.by_day.goal.name if found.counted.by_day else None,
            changes=changes[::-1],
            told=told,
            breakdown=_breakdown(found, results, _dimension(query.get("by"))),
            dimensions=DIMENSIONS,
            told_since=since,
            over_time=_over_time(services.over_time, found, part, changes),
            slider=slider,
        )

    return await asyncio.to_thread(shown)


def _goal_shown(wanted: str | None) -> GoalShown:
    # What no goal can be called is not kept, as past moments are by what was asked.
    return GoalShown(wanted if wanted is None or len(wanted) <= NAME_CHARS_MAX else None)


def _dimension(wanted: str | None) -> Dimension | None:
    return next((each for each in DIMENSIONS if each == wanted), None)


def _breakdown(found: Found, results: Results, by: Dimension | None) -> Breakdown | None:
    by_day, segments = found.counted.by_day, found.counted.segments
    if by is None or by_day is None or segments is None:
        return None
    return breakdown_of(found.counted.plan, by_day.goal, by, segments, _alpha(results, by_day.goal))


def _alpha(results: Results, goal: Goal) -> float:
    """A goal's share of the level."""
    return next(each.comparisons[0].alpha for each in results.goals if each.name == goal.name)


def _over_time(known: Kept[OverTime], found: Found, part: Part, changes: list[Change]) -> OverTime | None:
    by_day = found.counted.by_day
    if by_day is None:
        return None
    # The digest covers the position, and with it all that happened until then.
    results = part.results
    key = results.digest, by_day.goal.name, part.turned.whole, part.treatments.number
    shown = known.get(key)
    if shown is None:
        series = series_of(found.counted, _alpha(results, by_day.goal))
        shown = over_time(series, results, changes) if series else None
        if shown is not None:
            known.put(key, shown)
    return shown


def _look_ahead(replays: Replays, found: Found, project_id: UUID, slider: Slider, now: datetime) -> None:
    """Let the moments where the slider can stop be derived before somebody slides there."""
    by_day, plan = found.counted.by_day, found.counted.plan
    each_bytes = Past(found.counted, found.time).size_bytes()
    detail = Detail(GoalShown(by_day.goal.name if by_day else None))
    replays.look_ahead(Ahead(project_id, plan.id, _stops(slider, now), detail, each_bytes))


def _stops(slider: Slider, now: datetime) -> tuple[datetime, ...]:
    stops = (datetime.fromtimestamp(at, UTC) for at in range(slider.least, slider.most + 1, slider.step))
    return tuple(stop for stop in stops if stop <= now - _SETTLED)


def _slid_to(seconds: str, until: str, now: datetime) -> str | None:
    """The moment that the slider stands at; None at its right end, however old the page, and for what is none."""
    if not (_is_moment(seconds) and (not until or _is_moment(until))):
        return None
    moment = datetime.fromtimestamp(int(seconds), UTC)
    is_now = moment > now - _SETTLED or (bool(until) and int(seconds) >= int(until))
    return None if is_now else moment.isoformat()


def _is_moment(seconds: str) -> bool:
    return seconds.isascii() and seconds.isdigit() and len(seconds) <= _DIGITS_MAX


def _slider(created_at: datetime, now: datetime, shown: datetime | None) -> Slider:
    """All but its right end have passed, so that whoever leaves that by one step comes to a past moment."""
    least, newest = int(created_at.timestamp()) + 1, int((now - _SETTLED).timestamp())
    wanted = max(1, (newest - least) // _SLIDER_STEPS)
    # The stops of a coarser step are among those of the finer ones, as far as that goes: they are derived already.
    whole_minutes = wanted // _STEPS_SECONDS[-1] * _STEPS_SECONDS[-1]
    step = next((each for each in _STEPS_SECONDS if each >= wanted), whole_minutes)
    least = -(-least // step) * step
    most = least + (max(newest - least, 0) // step + 1) * step
    return Slider(least, most, step, most if shown is None else int(shown.timestamp()))
