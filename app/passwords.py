"""Passwords: hashed with argon2id in threads, few at once, since each takes 64 MiB and a good part of a second."""

import asyncio
import secrets
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from app.log_writer import Overloaded

HASHES_AT_ONCE = 2
HASHES_WAITING_MAX = 30
# Length is what counts (NIST SP 800-63B 3.1.1.2); no rule says which characters.
PASSWORD_CHARACTERS_MIN = 12
PASSWORD_CHARACTERS_MAX = 500

# RFC 9106, the second recommended option: 3 passes over 64 MiB.
_HASHER = PasswordHasher()
_threads = ThreadPoolExecutor(HASHES_AT_ONCE, "passwords")
_room = threading.BoundedSemaphore(HASHES_AT_ONCE + HASHES_WAITING_MAX)
# Easily told apart when read aloud or typed: no 0 and O, no 1, I and L.
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"

_Answer = TypeVar("_Answer")


def what_is_wrong(password: str) -> str | None:
    """Why a password cannot be taken, as the end of a sentence, or None."""
    if len(password) < PASSWORD_CHARACTERS_MIN:
        return f"must hold at least {PASSWORD_CHARACTERS_MIN} characters"
    if len(password) > PASSWORD_CHARACTERS_MAX:
        return f"may hold {PASSWORD_CHARACTERS_MAX} characters at most"
    if len(set(password)) < 5:  # noqa: PLR2004
        return "repeats the same few characters"
    return None


def one_time_password() -> str:
    """A password that somebody is told once, and replaces at the first login: 99 random bits."""
    letters = "".join(secrets.choice(_LETTERS) for _ in range(20))
    return "-".join(letters[start : start + 5] for start in range(0, 20, 5))


async def hash_password(password: str) -> str:
    """The hash to keep, with its salt and parameters; Overloaded when too many wait for theirs."""
    return await _in_turn(lambda: _HASHER.hash(_bytes(password)))


async def is_password(password: str, password_hash: str | None) -> bool:
    """Whether a password is the one of a hash, in the same time when there is none; Overloaded as above."""
    if len(password) > PASSWORD_CHARACTERS_MAX:
        return False
    return await _in_turn(lambda: _verify(password, password_hash or _nobody()) and password_hash is not None)


async def _in_turn(work: Callable[[], _Answer]) -> _Answer:
    if not _room.acquire(blocking=False):
        raise Overloaded
    try:
        return await asyncio.get_running_loop().run_in_executor(_threads, work)
    finally:
        _room.release()


def _verify(password: str, password_hash: str) -> bool:
    try:
        return _HASHER.verify(password_hash, _bytes(password))
    except (VerificationError, InvalidHashError):
        return False


def _bytes(password: str) -> bytes:
    # Keyboards write the same letter in several ways.
    return unicodedata.normalize("NFKC", password).encode("utf-8", "replace")


@cache
def _nobody() -> str:
    return _HASHER.hash(secrets.token_bytes(16))
