"""Event ids: 48 bits of milliseconds in front, so that the ledger is local in time and has months."""

import secrets
from datetime import UTC, datetime, timedelta

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_TAIL_BITS = 80
_MASK = ~(0xF << 76 | 0x3 << 62)
VERSION_7 = 0x7 << 76 | 0x2 << 62
VERSION_8 = 0x8 << 76 | 0x2 << 62


def time_ordered(millis: int, tail: bytes, version: int) -> bytes:
    """A UUID: 48 bits of time, then 80 bits of which the version and the variant take six."""
    return ((millis << _TAIL_BITS | int.from_bytes(tail)) & _MASK | version).to_bytes(16)


def new_event_id(now: datetime) -> bytes:
    """A fresh time-ordered id (UUID version 7)."""
    return time_ordered((now - _UNIX_EPOCH) // _MILLISECOND, secrets.token_bytes(10), VERSION_7)


def first_id_of(time: datetime) -> bytes:
    """The least id of a time: every id of an earlier one is below it."""
    return ((time - _UNIX_EPOCH) // _MILLISECOND << _TAIL_BITS).to_bytes(16)


def time_of(event_id: bytes) -> datetime:
    """The time in front of an id."""
    return _UNIX_EPOCH + int.from_bytes(event_id[:6]) * _MILLISECOND
