"""Charts over time: where the marks of the history stand, and what they tell."""

import re
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from app.result_history import Change
from app.result_series import Lift
from app.templates.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Chart,
    Mark,
    TimeAxis,
    lift_charts,
    visitor_charts,
)

DAY = datetime(2026, 3, 1, tzinfo=UTC)


def _marks(count: int, apart: timedelta) -> list[Mark]:
    changes = [Change(n, n, DAY + n * apart, "test", "Weights changed", []) for n in range(1, count + 1)]
    series: Any = SimpleNamespace(days=[date(2026, 3, 1) + timedelta(days=n) for n in range(10)])
    results: Any = SimpleNamespace(as_of=SimpleNamespace(time=None), variants=[None, None], status="running")
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


def _visitors(by_day: list[int], time: datetime | None, status: str = "running") -> list[Chart]:
    """Visitors so far and by day of one variant whose first day is DAY."""
    series: Any = SimpleNamespace(
        days=[(DAY + timedelta(days=n)).date() for n in range(len(by_day))], visitors={1: by_day}
    )
    only = SimpleNamespace(variant_id=1, name="Control")
    results: Any = SimpleNamespace(as_of=SimpleNamespace(time=time), variants=[only], status=status)
    return visitor_charts(series, results, TimeAxis(series, results, []), [])


def test_a_day_that_is_not_over_is_no_fall() -> None:
    """Shortly after midnight few have come: a thin line leads there, and words say so; sums are as they were."""
    [total], [daily] = (chart.lines for chart in _visitors([400, 410, 3], DAY + timedelta(days=2, minutes=5)))
    assert (total.last, total.so_far, len(total.path.split())) == ("813", "", 3)
    assert (daily.last, len(daily.path.split())) == ("3 so far", 2)
    assert daily.so_far.removeprefix("M").split() == [daily.path.split()[-1], f"{daily.dot[0]:g},{daily.dot[1]:g}"]


@pytest.mark.parametrize(
    ("time", "status"),
    [
        (DAY + timedelta(days=2, minutes=5), "stopped"),
        (DAY + timedelta(days=3, hours=5), "running"),
        (None, "running"),
    ],
    ids=["stopped", "nobody came since", "no time known"],
)
def test_a_day_that_is_over_is_drawn_like_the_others(time: datetime | None, status: str) -> None:
    """Also the one in which an experiment was stopped."""
    [line] = _visitors([400, 410, 3], time, status)[1].lines
    assert (line.last, line.so_far, len(line.path.split())) == ("3", "", 3)


def test_a_first_day_that_is_not_over_is_a_dot() -> None:
    """There is nothing to lead to it."""
    [line] = _visitors([3], DAY + timedelta(hours=5))[1].lines
    assert (line.last, line.so_far, line.path, line.dot is None) == ("3 so far", "", "", False)


def _lifts(estimates: list[float]) -> Chart:
    """The lift of one variant by day, with limits on its last day alone."""
    lifts = [Lift(estimate, None, None) for estimate in estimates[:-1]] + [Lift(estimates[-1], -0.1, 0.4)]
    days = [(DAY + timedelta(days=n)).date() for n in range(len(lifts))]
    series: Any = SimpleNamespace(days=days, lifts={1: lifts}, goal=SimpleNamespace(name="purchase"))
    variants = [SimpleNamespace(variant_id=n, name=f"V{n}") for n in (0, 1)]
    results: Any = SimpleNamespace(as_of=SimpleNamespace(time=None), variants=variants, status="running")
    [chart] = lift_charts(series, results, TimeAxis(series, results, []), [])
    return chart


def test_a_line_that_leaves_the_picture_says_where() -> None:
    """By an arrow at the edge between the days when it is within and beyond; most lines have none."""
    assert list(_lifts([0.3, 0.2, 0.25, 0.2]).exits) == []
    [up] = _lifts([9.0, 7.0, 0.3, 0.2, 0.25, 0.2]).exits
    places = [float(x) for x in re.findall(r"([\d.]+),", up.path)]
    assert re.findall(r",([\d.]+)", up.path)[1] == str(TOP)
    line = [float(x) for x in re.findall(r"([\d.]+),", _lifts([9.0, 7.0, 0.3, 0.2, 0.25, 0.2]).lines[0].path)]
    assert line[1] < places[1] < line[2]
    *_, down = _lifts([-5.0, 9.0, 0.3, 0.2, 0.25, 0.2]).exits
    assert re.findall(r",([\d.]+)", down.path)[1] == str(HEIGHT - BOTTOM)
    assert len(_lifts([9.0, -9.0] * 200 + [0.1] * 500).exits) < 2 * WIDTH / 10


def test_of_many_days_the_last_whole_one_leads_to_the_one_that_is_not_over() -> None:
    """However many points are left out of a long line."""
    chart = _visitors([400] * 400 + [3], DAY + timedelta(days=400, minutes=5))[1]
    assert chart.lines[0].so_far.split()[0] == "M" + chart.lines[0].path.split()[-1]
    assert [point.title for point in chart.points][-1] == f"{(DAY + timedelta(days=400)).date()} so far: Control 3"
