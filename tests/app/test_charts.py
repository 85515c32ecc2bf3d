"""Charts over time: where the marks of the history stand, and what they tell."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from app.result_history import Change
from app.templates.charts import LEFT, RIGHT, WIDTH, Mark, TimeAxis

DAY = datetime(2026, 3, 1, tzinfo=UTC)


def _marks(count: int, apart: timedelta) -> list[Mark]:
    changes = [Change(n, n, DAY + n * apart, "test", "Weights changed", []) for n in range(1, count + 1)]
    series: Any = SimpleNamespace(days=[date(2026, 3, 1) + timedelta(days=n) for n in range(10)])
    results: Any = SimpleNamespace(as_of=SimpleNamespace(time=None), variants=[None, None])
    return TimeAxis(series, results, changes).marks(changes)


@pytest.mark.parametrize("count", [1, 9, 60, 230, 2000])
def test_numbers_of_marks_stand_beside_each_other(count: int) -> None:
    """However many changes there are, none is left out, and no number lies on the next one."""
    marks = _marks(count, timedelta(hours=10 * 24 / count))
    assert all(
        after.x - before.x >= 6 * (len(before.label) + len(after.label)) / 2 for before, after in pairwise(marks)
    )
    spans = [tuple(int(n) for n in mark.label.split("–")) for mark in marks]
    assert [n for span in spans for n in range(span[0], span[-1] + 1)] == list(range(1, count + 1))
    assert len(marks) > 1 or count == 1
    assert all(LEFT <= mark.x <= WIDTH - RIGHT for mark in marks)


def test_a_mark_of_many_changes_tells_the_first_ones_and_the_last() -> None:
    """A title of a thousand changes was most of the page."""
    [few], [many] = _marks(6, timedelta(0)), _marks(100, timedelta(0))
    assert [each[:2] for each in few.title.split("; ")] == ["1:", "2:", "3:", "4:", "5:", "6:"]
    told = many.title.split("; ")
    assert [each.partition(":")[0] for each in told] == ["1", "2", "3", "4", "5", "94 more", "100"]
