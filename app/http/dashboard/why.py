"""Why was this counted: one visitor or one event of an experiment, with the rule that decided."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from litestar import Response, get
from litestar.params import FromPath
from psycopg import AsyncConnection

from app.http.dashboard.access import require_experiment
from app.http.dashboard.pages import AnyRequest, page, services_of
from domain import refusals
from domain.attribution import UnattributedReason
from domain.plan import Epoch, Experiment
from projections import explain
from projections.explain import Explained, LogEvent, Visitor

_QUERY_CHARACTERS_MAX = 256
_POSITION_DIGITS_MAX = 18


class Asked(NamedTuple):
    """What was entered, what it was taken for, and the event that it stands for, if it is one."""

    text: str
    taken_for: str | None
    event: LogEvent | None
    why_not_found: str | None


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
    first_position = _as_position(request.query_params.get("from", ""))
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
        said=_said(visitor, asked.event) if asked and asked.event else None,
        rule=_rule,
    )


async def _find(
    connection: AsyncConnection[Any], project_id: UUID, experiment_id: UUID, text: str, first_position: int | None
) -> tuple[Asked, Visitor | None]:
    """A visitor with this id, or else an event with this id, key or position, and its visitor.

    Of the visitor's events those from a position on; if none is named, from the first one on, or from the event
    on where the first ones do not go so far.
    """
    first = first_position or 0
    visitor = await explain.explain(connection, project_id, experiment_id, text, first_position=first)
    if visitor is None or visitor.exposure or visitor.events:
        event_id = _as_uuid(text)
        alone = visitor is not None and not visitor.exposure and event_id is not None
        taken_for: str | None = "event without a visitor" if alone else "visitor"
        return Asked(text, taken_for, None, None), visitor
    taken_for, event, why_not = await _find_event(connection, project_id, text)
    if event is not None:
        unit_id = event.unit_id
        visitor = await explain.explain(connection, project_id, experiment_id, unit_id, first_position=first)
        lies_behind = visitor and visitor.goes_on_at is not None and visitor.goes_on_at <= event.position
        if lies_behind and first_position is None:
            first = event.position
            visitor = await explain.explain(connection, project_id, experiment_id, unit_id, first_position=first)
    return Asked(text, taken_for, event, why_not), visitor


async def _find_event(
    connection: AsyncConnection[Any], project_id: UUID, text: str
) -> tuple[str | None, LogEvent | None, str | None]:
    position = _as_position(text.removeprefix("#").replace(",", ""))  # as pages write it
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


def _said(visitor: Visitor, event: LogEvent) -> str | None:  # noqa: PLR0911  (a case each)
    """What became of an event that is not in the visitor's list; None when it is there."""
    if any(listed.position == event.position for listed in visitor.events):
        return None
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
    return "It came before this experiment counted anything, or stands on another page of the list."


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
    hours = plan.attribution_window_hours
    return f"Names no experiment; happened after the first exposure and within {hours} hours of it."


def _as_position(text: str) -> int | None:
    is_one = text.isascii() and text.isdigit() and len(text) <= _POSITION_DIGITS_MAX
    return int(text) if is_one else None


def _as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
