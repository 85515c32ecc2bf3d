"""From bytes to events ready to append: bounded, checked, one bad event refused alone."""

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

import msgspec

from app.event_rows import Horizon, RefusedEvent, browser_row, identities, refuse_nul, server_row
from app.json_body import check_syntax, not_json, not_json_because
from app.json_split import split_events
from app.problems import Problem, not_usable
from domain.events import ServerEventRequest, TrackEvent
from domain.refusals import FieldError
from projections.event_log import NewEvent

TRACK_EVENTS_MAX = 1_000


class Rejected(msgspec.Struct):
    """An event of a batch that was refused, by its place in the batch."""

    index: int
    reason: str


class Track(NamedTuple):
    """A decoded track request; `indices` are the places that the events had in the batch."""

    project_id: UUID
    events: list[NewEvent]
    indices: list[int]
    rejected: list[Rejected]


class _TrackRequest(msgspec.Struct, rename="camel"):
    project_id: str
    events: list[TrackEvent]


class _Envelope(msgspec.Struct, rename="camel"):
    project_id: str
    events: list[msgspec.Raw]


_decode_request = msgspec.json.Decoder(_TrackRequest).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_event = msgspec.json.Decoder(TrackEvent).decode
_decode_server_event = msgspec.json.Decoder(ServerEventRequest).decode


def decode_track(body: bytes, now: datetime, horizon: Horizon, context: bytes | None = None) -> Track | None:
    """The events of a track request, each one accepted or refused by itself; quick.

    `context` says what browser sends them, as JSON. None when something in the body cannot be decoded: then
    `decode_with_care` finds out what, which can take most of a second. Raises Problem when it holds too many
    events (413).
    """
    try:
        request = _decode_request(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    if len(request.events) > TRACK_EVENTS_MAX:
        raise _too_many_events()
    events: list[TrackEvent | str] = list(request.events)
    return _accept(_project_id(request.project_id), events, now, horizon, context, has_nul=b"\\u0000" in body)


def decode_with_care(body: bytes, now: datetime, horizon: Horizon, context: bytes | None = None) -> Track:
    """The same as `decode_track` for a body with faults: a faulty event costs no other.

    Raises Problem when the body is no JSON or has not the documented shape (400).
    """
    try:
        envelope = _decode_envelope(body)
        raw_events = [bytes(raw) for raw in envelope.events]
    except (msgspec.DecodeError, RecursionError) as error:
        pieces = split_events(body)
        if pieces is None:
            raise _bad_envelope(body, error) from None
        try:
            envelope = _decode_envelope(pieces.envelope)
        except (msgspec.DecodeError, RecursionError) as inner:
            raise _bad_envelope(pieces.envelope, inner) from None
        if envelope.events:
            repeated = FieldError(path="events", reason="stands there twice")
            raise Problem(400, "invalid_body", "events stands there twice", errors=[repeated]) from None
        raw_events = pieces.events
    if len(raw_events) > TRACK_EVENTS_MAX:
        raise _too_many_events()
    events = [_event_or_reason(raw) for raw in raw_events]
    return _accept(_project_id(envelope.project_id), events, now, horizon, context, has_nul=b"\\u0000" in body)


def decode_server_event(
    body: bytes, now: datetime, horizon: Horizon, hash_address: Callable[[str], str]
) -> NewEvent:
    """A server event ready to append; Problem (400) says what is wrong with it."""
    try:
        request = _decode_server_event(body)
    except msgspec.ValidationError as error:
        raise not_usable(error, "invalid_event") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise not_json(body, error) from None
    try:
        return server_row(request, body, now, horizon, hash_address)
    except RefusedEvent as error:
        field, _, reason = str(error).partition(" ")
        errors = [FieldError(path=field, reason=reason)]
        raise Problem(400, "invalid_event", str(error), errors=errors) from None


def _event_or_reason(raw: bytes) -> TrackEvent | str:
    try:
        return _decode_event(raw)
    except msgspec.ValidationError as error:
        return str(error)
    except RecursionError:
        return "is nested too deeply"
    except msgspec.DecodeError as error:
        try:
            check_syntax(raw)
        except RecursionError:
            return "is nested too deeply"
        except ValueError:
            raise not_json_because(str(error)) from None
        return "holds a lone surrogate, which is no character"


def _accept(
    project_id: UUID,
    events: list[TrackEvent | str],
    now: datetime,
    horizon: Horizon,
    context: bytes | None,
    *,
    has_nul: bool,
) -> Track:
    times, project = horizon.around(now), identities(project_id)
    accepted: list[NewEvent] = []
    indices: list[int] = []
    rejected: list[Rejected] = []
    for index, event in enumerate(events):
        if isinstance(event, str):
            rejected.append(Rejected(index, event))
            continue
        try:
            if has_nul:
                refuse_nul(event)
            accepted.append(browser_row(project, event, times, context))
            indices.append(index)
        except RefusedEvent as error:
            rejected.append(Rejected(index, str(error)))
        except RecursionError:
            rejected.append(Rejected(index, "is nested too deeply"))
    return Track(project_id, accepted, indices, rejected)


@lru_cache(maxsize=1_000)  # what each request names
def _project_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        field = FieldError(path="projectId", reason="is not a UUID")
        raise Problem(400, "invalid_project_id", "projectId is not a UUID", errors=[field]) from None


def _too_many_events() -> Problem:
    return Problem(413, "too_many_events", f"a request may hold {TRACK_EVENTS_MAX} events at most")


def _bad_envelope(body: bytes, error: Exception) -> Problem:
    if isinstance(error, msgspec.ValidationError):
        return not_usable(error)
    return not_json(body, error)
