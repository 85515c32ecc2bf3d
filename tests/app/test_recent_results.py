"""Results that are kept stay within the memory that they are reckoned to take."""

import sys
from typing import Any

import msgspec
import pytest

from app.recent_results import size_bytes
from domain.experiment import Goal
from tests.app.test_results_of import BUYS, SPENDS, VIEWS, counted, found

MANY = tuple(Goal(name=f"goal {n}", event_type="buy", kind="conversion", role="primary") for n in range(50))
# A decision names the guardrails that hold nothing up yet, also where results of another goal are asked for.
GUARDED = (
    BUYS,
    *(Goal(name=f"{'🜂' * 190} {n}", event_type="view", kind="count", role="guardrail") for n in range(49)),
)
GOALS = {"one goal": (BUYS,), "some": (BUYS, SPENDS, VIEWS), "many": MANY, "guardrails": GUARDED}


@pytest.mark.parametrize("goals", GOALS.values(), ids=GOALS)
@pytest.mark.parametrize(
    "asked", [{}, {"goal": "buys"}, {"method": "group_sequential", "planned_visitors": 90_000}], ids=str
)
def test_results_take_no_more_memory_than_is_reckoned(goals: tuple[Goal, ...], asked: dict[str, Any]) -> None:
    """Nor far less, or fewer would be kept than there is room for; of goals that spend, convert and count."""
    results = found(counted({1: [(9_000, 900), (9_100, 990), (9_050, 1_100)]}, *goals), **asked)

    taken = _taken(results, set())
    assert taken <= size_bytes(results) <= 3 * taken


def _taken(value: object, seen: set[int]) -> int:
    """The bytes of a record and of all that it refers to, each counted once."""
    if value is None or id(value) in seen:
        return 0
    seen.add(id(value))
    parts: Any = ()
    if isinstance(value, msgspec.Struct):
        parts = (getattr(value, name) for name in value.__struct_fields__)
    elif isinstance(value, list | tuple):
        parts = value
    return sys.getsizeof(value) + sum(_taken(part, seen) for part in parts)
