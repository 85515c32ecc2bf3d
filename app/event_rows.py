"""Rows of the log from decoded events: their ids, their times, what they name."""

import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec
import numpy as np

from app.visitor_agent import agent_of
from domain.events import ServerEventRequest, TrackEvent
from projections.event_ids import VERSION_8, new_event_id, time_ordered
from projections.event_log import IdempotencyKey, NewEvent, encode_row, postgres_us

# An event's data, and what may lie in each other in it. Decoders give up somewhere beyond, where depends on the
# release of Python: what one process accepts another must be able to read.
DATA_DEPTH_MAX = 1 + 900
# Named in the log when an event names an experiment or variant that cannot exist.
NO_SUCH_ID = UUID(int=0)

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNIX_EPOCH_US = postgres_us(_UNIX_EPOCH)
_MILLISECOND = timedelta(milliseconds=1)
_DAY = timedelta(days=1)
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_NUL_REASON = "holds a NUL character, which cannot be stored"


class Horizon(NamedTuple):
    """How old and how far ahead an event's time may be; outside, the event is refused."""

    past: timedelta
    future: timedelta

    def around(self, now: datetime) -> "AcceptedTimes":
        """The times that are accepted now."""
        now_ms = now.timestamp() * 1000
        past_ms, future_ms = self.past.total_seconds() * 1000, self.future.total_seconds() * 1000
        return AcceptedTimes(now_ms - past_ms, now_ms + future_ms, self)


class AcceptedTimes(NamedTuple):
    """The bounds of a horizon in epoch milliseconds, worked out once for many events."""

    earliest_ms: float
    latest_ms: float
    horizon: Horizon

    def check(self, epoch_ms: float) -> None:
        """Refuse a time outside; a clamped one would differ between retries and defeat dedupe."""
        if epoch_ms < self.earliest_ms:
            raise RefusedEvent(f"timestamp is more than {self.horizon.past / _DAY:g} days old")
        if epoch_ms > self.latest_ms:
            raise RefusedEvent(f"timestamp is more than {self.horizon.future / _DAY:g} days ahead")


class RefusedEvent(Exception):  # noqa: N818  (an answer, not a defect)
    """One event that cannot be accepted; the message is the reason."""


class _Attribution(msgspec.Struct, rename="camel"):
    experiment_id: msgspec.Raw = msgspec.Raw()
    variant_id: msgspec.Raw = msgspec.Raw()


_decode_attribution = msgspec.json.Decoder(_Attribution).decode


def identities(project_id: UUID) -> "hashlib.blake2b":
    """A hash that has taken in the project: what `browser_event_id` begins with, made once for many events."""
    return hashlib.blake2b(digest_size=10, key=project_id.bytes)


def browser_row(
    project: "hashlib.blake2b", event: TrackEvent, times: AcceptedTimes, context: bytes | None = None
) -> NewEvent:
    """A browser event ready to append; `project` is from `identities`; RefusedEvent says why not.

    `context` says what browser sent it, as JSON; it is kept with exposures, which breakdowns go by.
    """
    timestamp = event.timestamp
    if not times.earliest_ms <= timestamp <= times.latest_ms:
        times.check(timestamp)
    data = experiment_id = variant_id = None
    if event.event_data:
        data = _object(event.event_data, "eventData")
        experiment_id, variant_id = _named_in(data)
    event_id = browser_event_id(project, event)
    row = encode_row(
        occurred_us=_UNIX_EPOCH_US + (timestamp * 1000 if type(timestamp) is int else round(timestamp * 1000)),
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
        context=context if event.event_type == "experiment_impression" else None,
    )
    return NewEvent(event_id, row)


def server_row(
    request: ServerEventRequest,
    body: bytes,
    now: datetime,
    horizon: Horizon,
    hash_address: Callable[[str], str],
) -> NewEvent:
    """A server event ready to append; `body` is what it was decoded from; RefusedEvent says why not."""
    if b"\\u0000" in body and _NUL.search(body):
        raise RefusedEvent(f"event {_NUL_REASON}")
    occurred_at = now if request.timestamp is None else _from_iso(request.timestamp, horizon.around(now))
    properties = _object(request.properties, "properties")
    data = properties if properties is not None else _object(request.event_data, "eventData")
    experiment_id, variant_id = _id(request.experiment_id), _id(request.variant_id)
    if request.event_type == "experiment_impression" and experiment_id is None and variant_id is None:
        experiment_id, variant_id = _named_in(data)  # where the documented impression carries them
    visitor = request.visitor
    context: dict[str, str] = {
        name: value
        for name, value in (
            ("userAgent", visitor.user_agent if visitor else None),
            ("addressHash", hash_address(visitor.ip) if visitor and visitor.ip else None),
        )
        if value is not None
    }
    if request.event_type == "experiment_impression" and visitor and visitor.user_agent:
        context |= msgspec.to_builtins(agent_of(visitor.user_agent))
    event_id = new_event_id(now)
    row = encode_row(
        occurred_us=postgres_us(occurred_at),
        event_id=event_id,
        source="server",
        event_type=request.event_type,
        event_name=request.event_name,
        experiment_id=experiment_id,
        variant_id=variant_id,
        visitor_id=visitor.id if visitor else None,
        pathname=request.page,
        event_data=data,
        context=msgspec.json.encode(context) if context else None,
    )
    return NewEvent(event_id, row, _idempotency(request.idempotency_key, body))


def browser_event_id(project: "hashlib.blake2b", event: TrackEvent) -> bytes:
    """The id that follows from the documented dedupe key (UUID version 8).

    Equal exactly when visitorId, timestamp, eventType and pathname are equal: the time at the
    front keeps the ledger's index local, 74 bits of hash tell apart what shares a millisecond.
    """
    timestamp = event.timestamp
    millis = int(timestamp)
    shortest = millis if millis == timestamp else timestamp  # 5.0 is 5
    content = project.copy()
    content.update(f"{shortest}\0{event.visitor_id}\0{event.event_type}\0{event.pathname}".encode())
    return time_ordered(millis, content.digest(), VERSION_8)


def refuse_nul(event: TrackEvent) -> None:
    """Refuse a browser event that holds a NUL character anywhere."""
    if _NUL.search(msgspec.json.encode(event)):
        raise RefusedEvent(_NUL_REASON)


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


def _from_iso(text: str, times: AcceptedTimes) -> datetime:
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
    times.check((time - _UNIX_EPOCH) / _MILLISECOND)
    return time


def _object(raw: msgspec.Raw, name: str) -> bytes | None:
    data = bytes(raw)
    if not data or data == b"null":
        return None
    if data[:1] != b"{":
        raise RefusedEvent(f"{name} is not an object")
    if _is_too_deep(data):
        raise RefusedEvent(f"{name} is nested too deeply")
    return data


def _is_too_deep(data: bytes) -> bool:
    """Whether more lists and objects lie in each other than DATA_DEPTH_MAX, in valid JSON."""
    if len(data) <= 2 * DATA_DEPTH_MAX or data.count(b"[") + data.count(b"{") <= DATA_DEPTH_MAX:
        return False  # the ordinary case: no need to look closer
    # Without escapes each quotation mark begins or ends a string. All in few passes: a body may be a mebibyte.
    text = np.frombuffer(data.replace(b"\\\\", b"").replace(b'\\"', b""), dtype=np.uint8)
    outside = np.cumsum(text == ord('"'), dtype=np.uint8) % 2 == 0
    opening = outside & ((text == ord("[")) | (text == ord("{")))
    closing = outside & ((text == ord("]")) | (text == ord("}")))
    return bool(np.cumsum(opening.astype(np.int64) - closing).max() > DATA_DEPTH_MAX)


def _named_in(data: bytes | None) -> tuple[UUID | None, UUID | None]:
    if data is None or not (b"experimentId" in data or b"variantId" in data or b"\\u" in data):
        return None, None  # the ordinary case: nothing to decode
    named = _decode_attribution(data)
    return _raw_id(named.experiment_id), _raw_id(named.variant_id)


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
