"""What was asked for last, by keys that say all that it follows from."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

_Value = TypeVar("_Value")


class Kept(Generic[_Value]):
    """Values by key, up to a size together: those asked for longest ago go first. For use by any thread.

    There is no way to change one: a key must hold everything that its value depends on.
    """

    def __init__(self, size_max: int, size_of: Callable[[_Value], int]) -> None:
        self._size_max, self._size_of = size_max, size_of
        self._values: OrderedDict[Hashable, tuple[_Value, int]] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    def get(self, key: Hashable) -> _Value | None:
        """What was kept; None when it is not there (any more)."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, value: _Value) -> None:
        """Keep a value, unless it alone is too large."""
        size = self._size_of(value)
        with self._lock:
            if size > self._size_max or key in self._values:
                return
            self._values[key] = value, size
            self._size += size
            while self._size > self._size_max:
                _, (_, gone) = self._values.popitem(last=False)
                self._size -= gone
