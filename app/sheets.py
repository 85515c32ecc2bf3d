"""Lists that are shown page by page."""

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

# Of what a query may ask for: no list has so many pages.
_DIGITS_MAX = 6

_Row = TypeVar("_Row")


class Sheet(NamedTuple, Generic[_Row]):
    """The rows of a list that one of its pages shows; the first page has number 1."""

    rows: list[_Row]
    number: int
    pages: int


def sheet_of(rows: Sequence[_Row], each: int, number: int) -> Sheet[_Row]:
    """The page asked for, or else the last; every list has one, and a row at least where there are any."""
    each = max(each, 1)
    pages = max(1, -(-len(rows) // each))
    number = min(max(number, 1), pages)
    return Sheet(list(rows[(number - 1) * each : number * each]), number, pages)


def sheet_number(asked: str) -> int:
    """What a field of a query asks for; the first page where that is no number of one."""
    return max(1, int(asked)) if asked.isascii() and asked.isdigit() and len(asked) <= _DIGITS_MAX else 1
