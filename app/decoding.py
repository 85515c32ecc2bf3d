"""From bytes to events ready to append: bounded, checked, one bad event refused alone."""

import hashlib
import json
import re
import secrets
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec

from app.json_split import split_events
from app.problems import Problem, not_usable
from domain.events import ServerEventRequest, TrackEvent
from domain.refusals import FieldError
from projections.event_log import IdempotencyKey, NewEvent, encode_row

BODY_BYTES_MAX = 1024 * 1024
TRACK_EVENTS_MAX = 1_000
# Named in the log when an event names an experiment or variant that cannot exist.
NO_SUCH_ID = UUID(int=0)

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_NUL_REASON = "holds a NUL character, which cannot be stored"


class Horizon(NamedTuple):
    """How old and how far ahead an event's time may be; outside, the event is refused."""

    past: timedelta
    future: timedelta


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


class RefusedEvent(Exception):  # noqa: N818  (an answer, not a defect)
    """One event that cannot be accepted; the message is the reason."""


class _Attribution(msgspec.Struct, rename="camel"):
    experiment_id: msgspec.Raw = msgspec.Raw()
    variant_id: msgspec.Raw = msgspec.Raw()


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
_decode_attribution = msgspec.json.Decoder(_Attribution).decode


def inflate(body: bytes, content_encoding: str | None) -> bytes:
    """The body as JSON text bytes: gunzipped when it says so, at most BODY_BYTES_MAX, valid UTF-8."""
    if content_encoding and content_encoding.strip().lower() == "gzip":
        unzip = zlib.decompressobj(wbits=31)
        try:
            body = unzip.decompress(body, BODY_BYTES_MAX + 1)
        except zlib.error:
            raise Problem(400, "invalid_gzip", "the body is not gzip, though Content-Encoding says so") from None
        if not unzip.eof and len(body) <= BODY_BYTES_MAX:
            raise Problem(400, "invalid_gzip", "the gzip body is cut short")
    elif content_encoding and content_encoding.strip().lower() != "identity":
        raise Problem(415, "unsupported_encoding", "only gzip is accepted as Content-Encoding")
    if len(body) > BODY_BYTES_MAX:
        raise Problem(413, "body_too_large", f"a body may hold {BODY_BYTES_MAX} bytes at most")
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise _not_json(f"byte {error.start} is not UTF-8") from None
    return body


def decode_track(body: bytes, now: datetime, horizon: Horizon) -> Track:
    """The events of a track request, each one accepted or refused by itself.

    Raises Problem when the body is no JSON (400), has not the documented shape (400) or holds too
    many events (413).
    """
    try:
        request = _decode_request(body)
    except (msgspec.DecodeError, RecursionError):
        return _decode_one_by_one(body, now, horizon)
    if len(request.events) > TRACK_EVENTS_MAX:
        raise _too_many_events()
    events: list[TrackEvent | str] = list(request.events)
    return _accept(_project_id(request.project_id), events, now, horizon, has_nul=b"\\u0000" in body)


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
        return _server_row(request, body, now, horizon, hash_address)
    except RefusedEvent as error:
        field, _, reason = str(error).partition(" ")
        errors = [FieldError(path=field, reason=reason)]
        raise Problem(400, "invalid_event", str(error), errors=errors) from None


def not_json(body: bytes, error: Exception) -> Problem:
    """400 for a body that a decoder refused as a whole; says why in words that a caller can use."""
    return _not_json(_why_not_json(body, error))


def new_event_id(now: datetime) -> bytes:
    """A fresh time-ordered id (UUID version 7)."""
    millis = (now - _UNIX_EPOCH) // timedelta(milliseconds=1)
    return _time_ordered(millis, secrets.token_bytes(10), version=7)


def browser_event_id(project_id: UUID, event: TrackEvent) -> bytes:
    """The id that follows from the documented dedupe key (UUID version 8).

    Equal exactly when visitorId, timestamp, eventType and pathname are equal: the time at the
    front keeps the ledger's index local, 74 bits of hash tell apart what shares a millisecond.
    """
    timestamp = event.timestamp
    if isinstance(timestamp, float) and timestamp.is_integer():
        timestamp = int(timestamp)
    key = f"{timestamp!r}\0{event.visitor_id}\0{event.event_type}\0{event.pathname}"
    digest = hashlib.blake2b(key.encode(), digest_size=10, key=project_id.bytes).digest()
    return _time_ordered(int(timestamp), digest, version=8)


def _time_ordered(millis: int, tail: bytes, *, version: int) -> bytes:
    high = (version << 4) | (tail[0] & 0x0F)
    variant = 0x80 | (tail[2] & 0x3F)
    return millis.to_bytes(6, "big") + bytes((high, tail[1], variant)) + tail[3:]


def _decode_one_by_one(body: bytes, now: datetime, horizon: Horizon) -> Track:
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
    return _accept(_project_id(envelope.project_id), events, now, horizon, has_nul=b"\\u0000" in body)


def _event_or_reason(raw: bytes) -> TrackEvent | str:
    try:
        return _decode_event(raw)
    except msgspec.ValidationError as error:
        return str(error)
    except RecursionError:
        return "is nested too deeply"
    except msgspec.DecodeError as error:
        try:
            _check_syntax(raw)
        except RecursionError:
            return "is nested too deeply"
        except ValueError:
            raise _not_json(str(error)) from None
        return "holds a lone surrogate, which is no character"


def _accept(
    project_id: UUID, events: list[TrackEvent | str], now: datetime, horizon: Horizon, *, has_nul: bool
) -> Track:
    accepted: list[NewEvent] = []
    indices: list[int] = []
    rejected: list[Rejected] = []
    for index, event in enumerate(events):
        if isinstance(event, str):
            rejected.append(Rejected(index, event))
            continue
        try:
            if has_nul:
                _refuse_nul(event)
            accepted.append(_browser_row(project_id, event, now, horizon))
            indices.append(index)
        except RefusedEvent as error:
            rejected.append(Rejected(index, str(error)))
        except RecursionError:
            rejected.append(Rejected(index, "is nested too deeply"))
    return Track(project_id, accepted, indices, rejected)


def _browser_row(project_id: UUID, event: TrackEvent, now: datetime, horizon: Horizon) -> NewEvent:
    occurred_at = _from_millis(event.timestamp, now, horizon)
    data = _object(event.event_data, "eventData")
    experiment_id = variant_id = None
    if data is not None and _may_attribute(data):
        named = _decode_attribution(data)
        experiment_id, variant_id = _raw_id(named.experiment_id), _raw_id(named.variant_id)
    event_id = browser_event_id(project_id, event)
    row = encode_row(
        occurred_at=occurred_at,
        event_id=event_id,
        source="browser",
        event_type=event.event_type,
        event_name=event.event_name,
        experiment_id=experiment_id,
        variant_id=variant_id,
        visitor_id=event.visitor_id,
        session_id=event.session_id,
        pathname=event.pathname,
        full_url=event.full_url,
        referrer=event.referrer,
        utm=msgspec.json.encode(event.utm) if event.utm is not None else None,
        event_data=data,
    )
    return NewEvent(event_id, row)


def _server_row(
    request: ServerEventRequest,
    body: bytes,
    now: datetime,
    horizon: Horizon,
    hash_address: Callable[[str], str],
) -> NewEvent:
    if b"\\u0000" in body and _NUL.search(body):
        raise RefusedEvent(f"event {_NUL_REASON}")
    occurred_at = now if request.timestamp is None else _from_iso(request.timestamp, now, horizon)
    properties = _object(request.properties, "properties")
    data = properties if properties is not None else _object(request.event_data, "eventData")
    visitor = request.visitor
    context = {
        name: value
        for name, value in (
            ("userAgent", visitor.user_agent if visitor else None),
            ("addressHash", hash_address(visitor.ip) if visitor and visitor.ip else None),
        )
        if value is not None
    }
    event_id = new_event_id(now)
    row = encode_row(
        occurred_at=occurred_at,
        event_id=event_id,
        source="server",
        event_type=request.event_type,
        event_name=request.event_name,
        experiment_id=_id(request.experiment_id),
        variant_id=_id(request.variant_id),
        visitor_id=(visitor.id or None) if visitor else None,
        pathname=request.page,
        event_data=data,
        context=msgspec.json.encode(context) if context else None,
    )
    return NewEvent(event_id, row, _idempotency(request.idempotency_key, body))


def _idempotency(key: str | None, body: bytes) -> IdempotencyKey | None:
    if key is None:
        return None
    try:
        # Equal bodies may differ in the order of their keys and in white space.
        canonical = msgspec.json.encode(msgspec.json.decode(body), order="sorted")
    except (msgspec.DecodeError, RecursionError):
        canonical = body  # a number that no float holds, or deep nesting, which the log keeps as text
    return IdempotencyKey(
        hashlib.blake2b(key.encode(), digest_size=16).digest(),
        hashlib.blake2b(canonical, digest_size=16).digest(),
    )


def _from_millis(timestamp: float, now: datetime, horizon: Horizon) -> datetime:
    try:
        age_ms = (now - _UNIX_EPOCH) / timedelta(milliseconds=1) - timestamp
    except OverflowError:
        raise RefusedEvent("timestamp is not a time of this calendar") from None
    _check_horizon(age_ms, horizon)
    return _UNIX_EPOCH + timedelta(milliseconds=timestamp)


def _from_iso(text: str, now: datetime, horizon: Horizon) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise RefusedEvent("timestamp is not an ISO 8601 time") from None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    try:
        time = time.astimezone(UTC)
    except OverflowError:
        raise RefusedEvent("timestamp is not a time of this calendar") from None
    _check_horizon((now - time) / timedelta(milliseconds=1), horizon)
    return time


def _check_horizon(age_ms: float, horizon: Horizon) -> None:
    # A clamped time would differ between retries and defeat dedupe, so it is refused.
    if age_ms > horizon.past / timedelta(milliseconds=1):
        raise RefusedEvent(f"timestamp is more than {horizon.past / timedelta(days=1):g} days old")
    if -age_ms > horizon.future / timedelta(milliseconds=1):
        raise RefusedEvent(f"timestamp is more than {horizon.future / timedelta(days=1):g} days ahead")


def _object(raw: msgspec.Raw, name: str) -> bytes | None:
    data = bytes(raw)
    if not data or data == b"null":
        return None
    if data[:1] != b"{":
        raise RefusedEvent(f"{name} is not an object")
    return data


def _may_attribute(data: bytes) -> bool:
    return b"experimentId" in data or b"variantId" in data or b"\\u" in data


def _raw_id(raw: msgspec.Raw) -> UUID | None:
    text = bytes(raw)
    if not text or text == b"null":
        return None
    return _id(msgspec.json.decode(text, type=str)) if text[:1] == b'"' else NO_SUCH_ID


def _id(text: str | None) -> UUID | None:
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        return NO_SUCH_ID


def _refuse_nul(event: TrackEvent) -> None:
    if _NUL.search(msgspec.json.encode(event)):
        raise RefusedEvent(_NUL_REASON)


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


def _why_not_json(body: bytes, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    try:
        _check_syntax(body)
    except RecursionError:
        return "it is nested too deeply"
    except ValueError:
        return str(error)
    return "it holds a lone surrogate, which is no character"


def _check_syntax(text: bytes) -> None:
    # NaN and Infinity are not JSON, though Python reads them; digits beyond its limit are.
    json.loads(text.decode(), parse_constant=_refuse_constant, parse_int=str)


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _not_json(why: str) -> Problem:
    return Problem(400, "not_json", f"the body is not JSON: {why}")
