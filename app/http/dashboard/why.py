"""Why was this counted: one visitor or one event of an experiment, with the rule that decided."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from litestar import Response, get
from litestar.params import FromPath
from psycopg import AsyncConnection

from app.find_results import as_position
from app.http.dashboard.access import require_experiment
from app.http.dashboard.pages import AnyRequest, page, services_of
from app.templates.numbers import counted
from domain import refusals
from domain.attribution import UnattributedReason
from domain.plan import Epoch, Experiment
from projections import explain
from projections.explain import Explained, LogEvent, Visitor

_QUERY_CHARACTERS_MAX = 256


class Asked(NamedTuple):
    """What was entered, what it was taken for, and the event that it stands for, if it is one.

    `is_listed`: the event is one of those that touch the experiment, on this page of the list or another.
    """

    text: str
    taken_for: str | None
    event: LogEvent | None = None
    why_not_found: str | None = None
    is_listed: bool = False


@get("/experiments/{experiment_id:str}/why", include_in_schema=False)
async def why_page(request: AnyRequest, experiment_id: FromPath[str]) -> Response[bytes]:
    """Exposure, window, rule, plan and position of a visitor's events, for `q`: an id, a key or a position.

    Of many events those of positions `from` on.
    """
    project_id, wanted = await require_experiment(request, experiment_id, "viewer")
    services = services_of(request)
    text = request.query_params.get("q", "").strip()[:_QUERY_CHARACTERS_MAX].replace("\0", "")
    project = await services.projects.get(services.pool, project_id)
    asked = visitor = None
    first_position = as_position(request.query_params.get("from", ""))
    async with services.pool.connection() as connection:
        if text:
            asked, visitor = await _find(connection, project_id, wanted, text, first_position)
        else:
            visitor = await explain.explain(connection, project_id, wanted, "")
    if visitor is None:
        raise refusals.ExperimentNotFound
    return page(
        request,
        "why.html",
        project=project,
        experiment=visitor.plan,
        asked=asked,
        visitor=visitor,
        epoch=_epoch(visitor),
        window_ends=_window_ends(visitor),
        names={variant.id: variant.name for variant in visitor.plan.variants},
        said=_said(visitor, asked, asked.event) if asked and asked.event else None,
        rule=_rule,
    )


async def _find(
    connection: AsyncConnection[Any], project_id: UUID, experiment_id: UUID, text: str, first_position: int | None
) -> tuple[Asked, Visitor | None]:
    """A visitor with this id, or else an event with this id, key or position, and its visitor.

    Of the visitor's events those from a position on; if none is named, from the first one on, or from the event
    on where the first ones do not go so far.
    """

    async def ask(unit_id: str, first: int) -> Visitor | None:
        return await explain.explain(connection, project_id, experiment_id, unit_id, first_position=first)

    visitor = await ask(text, first_position or 0)
    if visitor is None:
        return Asked(text, None), None
    is_known = bool(visitor.exposure or visitor.events)
    if first_position and not is_known:  # no event so far on, which says nothing of who it is
        whole = await ask(text, 0)
        is_known = whole is not None and bool(whole.events)
    if is_known:
        alone = not visitor.exposure and _as_uuid(text) is not None
        return Asked(text, "event without a visitor" if alone else "visitor"), visitor
    taken_for, event, why_not = await _find_event(connection, project_id, text)
    if event is None:
        return Asked(text, taken_for, None, why_not), visitor
    visitor = await ask(event.unit_id, first_position or 0)
    if visitor is None or _holds(visitor, event):
        return Asked(text, taken_for, event, is_listed=visitor is not None), visitor
    there = await ask(event.unit_id, event.position)
    is_listed = there is not None and _holds(there, event)
    if is_listed and not first_position:
        visitor = there
    return Asked(text, taken_for, event, is_listed=is_listed), visitor


def _holds(visitor: Visitor, event: LogEvent) -> bool:
    return any(listed.position == event.position for listed in visitor.events)


async def _find_event(
    connection: AsyncConnection[Any], project_id: UUID, text: str
) -> tuple[str | None, LogEvent | None, str | None]:
    position = as_position(text.removeprefix("#"))
    if position is not None:
        event = await explain.event_at(connection, project_id, position)
        return "position", event, None if event else "The log has no event at this position, or it is archived."
    event_id = _as_uuid(text)
    taken_for = "event id" if event_id else "idempotency key"
    if event_id is None:
        event_id = await explain.id_of_key(connection, project_id, text)
        if event_id is None:
            return None, None, "No visitor, event or idempotency key of this project is known by it."
    position = await explain.search_event(connection, project_id, event_id)
    if position is not None:
        return taken_for, await explain.event_at(connection, project_id, position), None
    known = taken_for == "idempotency key" or await explain.is_known(connection, project_id, event_id)
    return taken_for, None, _why_not_found(known=known)


def _why_not_found(*, known: bool) -> str:
    if not known:
        return "No visitor has this id, and no event that is remembered."
    return (
        f"The log holds this event, but not among the {explain.SEARCH_EVENTS_MAX:,} received from its time on."
        " Enter its position (exports have it) or the id of its visitor."
    )


def _said(visitor: Visitor, asked: Asked, event: LogEvent) -> str | None:  # noqa: PLR0911  (a case each)
    """What became of an event that is not in the list that is shown; None when it is there."""
    if asked.is_listed:
        return None if _holds(visitor, event) else "It stands on another page of the list below."
    plan = visitor.plan
    if event.source == "management":
        return "It is a change of the project or of an experiment, no event of a visitor."
    if event.event_type == "experiment_impression" and event.experiment_id == plan.id:
        if event.visitor_id is None:
            return "It is an impression without a visitor: it counts as an impression, and exposes nobody."
        if visitor.exposure is None:
            return "It is an impression from before the experiment's plan, which has started from nothing since."
        if event.position in {visitor.exposure.position, *(seen.position for seen in visitor.variants)}:
            return "It is an exposure: see above."
        return "It is a repeated impression of a variant that was seen before: an impression, and nothing else."
    if event.experiment_id is not None and event.experiment_id != plan.id:
        return f"It names another experiment, or one that does not exist ({event.experiment_id})."
    if not any(
        goal.event_type == event.event_type and goal.event_name in {None, event.event_name} for goal in plan.goals
    ):
        return "No goal of this experiment counts such events."
    return "It came before this experiment counted anything."


def _epoch(visitor: Visitor) -> Epoch | None:
    return next((epoch for epoch in visitor.plan.epochs if epoch.number == visitor.epoch), None)


def _window_ends(visitor: Visitor) -> datetime | None:
    if visitor.exposure is None:
        return None
    return visitor.exposure.exposed_at + timedelta(hours=visitor.plan.attribution_window_hours)


def _rule(event: Explained, reason: UnattributedReason | None, plan: Experiment) -> str:
    """The rule that decided, in words."""
    if reason is not None:
        return reason.explanation
    if not event.counts:
        return "Came while nothing was counted: before the experiment began, or after it was stopped."
    if event.explicit:
        return "Names the experiment and the variant, and contradicts no exposure: counts, whatever the window."
    window = counted(plan.attribution_window_hours, "hour")
    return f"Names no experiment; happened after the first exposure and within {window} of it."


def _as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
