"""How often somebody may try to log in: pauses that grow with each failure, in bounded memory."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from app.problems import Problem

# A name is known to others, who must not be able to shut its owner out for long; an address is one's own.
_FREE: dict[str, int] = {"name": 5, "address": 20}
_PAUSE_SECONDS_MAX: dict[str, float] = {"name": 60.0, "address": 900.0}
_FORGOTTEN_AFTER_SECONDS = 3600.0
KEPT_MAX = 20_000

Key = tuple[Literal["name", "address"], str]


class _Failures(NamedTuple):
    times: int
    last: float


class Attempts:
    """Failed attempts by name and by address, of this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[Key, _Failures] = OrderedDict()

    def begin(self, keys: Iterable[Key]) -> None:
        """Count an attempt as failed until it succeeds, so that many at once gain nothing.

        Problem 429 with Retry-After while a pause lasts; what is tried then neither counts nor is looked at.
        """
        keys = list(keys)
        now = self._clock()
        wait = max((self._wait(key, now) for key in keys), default=0.0)
        if wait > 0:
            seconds = math.ceil(wait)
            pause = "a second" if seconds == 1 else f"{seconds} seconds"
            raise Problem(
                429,
                "too_many_attempts",
                f"Too many attempts failed: wait {pause}, then try again.",
                headers={"Retry-After": str(seconds)},
            )
        for key in keys:
            before = self._failures.pop(key, _Failures(0, now))
            self._failures[key] = _Failures(before.times + 1, now)
        while len(self._failures) > KEPT_MAX:
            self._failures.popitem(last=False)

    def succeeded(self, keys: Iterable[Key]) -> None:
        """Forget the failures of a name; an address only gets back what it just spent."""
        for key in keys:
            failures = self._failures.get(key)
            if key[0] == "name" or failures is None or failures.times <= 1:
                self._failures.pop(key, None)
            else:
                self._failures[key] = failures._replace(times=failures.times - 1)

    def _wait(self, key: Key, now: float) -> float:
        failures = self._failures.get(key)
        if failures is None:
            return 0.0
        if now - failures.last > _FORGOTTEN_AFTER_SECONDS:
            del self._failures[key]
            return 0.0
        beyond = failures.times - _FREE[key[0]]
        if beyond < 0:
            return 0.0
        pause = min(2.0 ** min(beyond, 20), _PAUSE_SECONDS_MAX[key[0]])
        return failures.last + pause - now
