"""Where the marks of charts over time stand: one axis of time for visitors, lifts and the history beside them."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import accumulate, pairwise
from math import floor, log10
from typing import NamedTuple, TypeVar

from app.result_history import Change
from app.result_series import Lift, Series
from app.results_shape import Results
from app.templates import numbers

WIDTH, HEIGHT = 640, 220
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 26, 26
# Marks closer than their numbers are wide share one; of those so many are told.
_CHARACTER = 7
_TOLD_MAX = 6
_LABEL_ROOM = 76
_ARROW = 7
# More points than pixels say nothing more. All lines of a page share so many, but each has enough to be seen, and
# all charts so many days to point at.
_POINTS_MIN, _POINTS_MAX, _POINTS_OF_PAGE = 40, 160, 1_200
_DAYS_MIN, _DAYS_OF_PAGE = 12, 100
_DAY = timedelta(days=1)
# What a variant's day takes in memory, as numbers and drawn.
_DAY_BYTES = 800

_Point = TypeVar("_Point")


class Tick(NamedTuple):
    """A place on an axis and its label."""

    at: float
    label: str


class Mark(NamedTuple):
    """What changed at a moment: the numbers in the list below the chart, and the words."""

    x: float
    label: str
    title: str


class Line(NamedTuple):
    """One line: which style, whose it is, its path, the dot at its end, and its last value.

    `so_far` is the path from the last whole day to one that is not over, which says less than those before it.
    """

    style: int
    name: str
    path: str
    dot: tuple[float, float] | None
    last: str
    so_far: str = ""


class Exit(NamedTuple):
    """The arrow where a line goes on beyond the picture, at its top or at its bottom, and the line's style."""

    path: str
    style: int


class Point(NamedTuple):
    """The part of a chart that a day takes up, and what it says there."""

    x: float
    width: float
    title: str


class Chart(NamedTuple):
    """A chart ready to draw; `band` is the path between two limits, `zero_y` the line of no difference."""

    id: str
    label: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    zero_y: float | None
    band: str
    lines: list[Line]
    marks: list[Mark]
    points: list[Point]
    exits: Sequence[Exit] = ()


class OverTime(NamedTuple):
    """One goal's series, and the pictures of it on one axis of time."""

    series: Series
    lifts: list[Chart]
    visitors: list[Chart]
    is_last_day_over: bool

    def size_bytes(self) -> int:
        """About what it takes to keep it."""
        return _DAY_BYTES * len(self.series.days) * (len(self.series.visitors) + 1)


def over_time(series: Series, results: Results, changes: Sequence[Change]) -> OverTime:
    """A series with its pictures, the history of the experiment beside them."""
    axis = TimeAxis(series, results, changes)
    return OverTime(
        series,
        lift_charts(series, results, axis, changes),
        visitor_charts(series, results, axis, changes),
        axis.is_last_day_over,
    )


class TimeAxis:
    """From the first day to the last; a day's figures stand at its end, or at the moment of the results."""

    def __init__(self, series: Series, results: Results, changes: Sequence[Change]) -> None:
        self.days = series.days
        self._now = results.as_of.time
        ends = [self.end_of(day) for day in self.days]
        # Of an experiment that was stopped no day goes on.
        self.is_last_day_over = results.status == "stopped" or ends[-1] == _midnight(self.days[-1]) + _DAY
        started = [change.at for change in changes if change.what == "Started"]
        self.start = min([_midnight(self.days[0]), *started[:1]])
        self.end = max([*ends, *(change.at for change in changes)])
        self.end = max(self.end, self.start + timedelta(hours=1))
        variants = len(results.variants)
        lines = 3 * (variants - 1) + 2 * variants  # a lift has a band of two lines
        self.points_max = min(_POINTS_MAX, max(_POINTS_MIN, _POINTS_OF_PAGE // lines))
        self.days_max = max(_DAYS_MIN, _DAYS_OF_PAGE // (variants + 1))

    def x(self, moment: datetime) -> float:
        """The place of a moment; what lies outside stands at the edge."""
        share = (moment - self.start) / (self.end - self.start)
        return round(LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT), 1)

    def end_of(self, day: date) -> datetime:
        """When a day's figures were complete."""
        end = _midnight(day) + _DAY
        return end if self._now is None or not _midnight(day) < self._now < end else self._now

    def ticks(self) -> list[Tick]:
        """Some days, evenly apart."""
        first, last = self.start.date(), self.end.date()
        count = (last - first).days + 1
        every = max(1, -(-count // 6))
        days = [first + n * _DAY for n in range(0, count, every)]
        places = [(day, self.x(_midnight(day))) for day in days if _midnight(day) >= self.start]
        return [Tick(at, f"{day:%b} {day.day}") for day, at in places if at <= WIDTH - 30]

    def marks(self, changes: Sequence[Change]) -> list[Mark]:
        """The history on this axis; changes at about the same moment share a mark, which stands at the first."""
        room = _CHARACTER * len(_span(len(changes) - 1, len(changes)))
        groups: list[list[Change]] = []
        for change in changes:
            if groups and self.x(change.at) - self.x(groups[-1][0].at) < room:
                groups[-1].append(change)
            else:
                groups.append([change])
        return [
            Mark(self.x(group[0].at), _span(group[0].number, group[-1].number), _told(group)) for group in groups
        ]


def _told(changes: Sequence[Change]) -> str:
    """Changes in words; of many the first ones and the last."""
    left_out = len(changes) - _TOLD_MAX
    told = [f"{change.number}: {change.what}, {numbers.moment(change.at)}" for change in changes]
    if left_out > 0:
        told[_TOLD_MAX - 1 : -1] = [f"{left_out} more"]
    return "; ".join(told)


def visitor_charts(series: Series, results: Results, axis: TimeAxis, changes: Sequence[Change]) -> list[Chart]:
    """Visitors of each variant: all until each day, and those of each day."""
    names = [variant.name for variant in results.variants]
    daily = [series.visitors[variant.variant_id] for variant in results.variants]
    total = [list(accumulate(row)) for row in daily]
    return [
        _counts("visitors-total", "Visitors so far", names, total, axis, changes),
        _counts(
            "visitors-daily", "Visitors by day", names, daily, axis, changes, goes_on=not axis.is_last_day_over
        ),
    ]


def lift_charts(series: Series, results: Results, axis: TimeAxis, changes: Sequence[Change]) -> list[Chart]:
    """The lift of each variant over the control with its band, all on one scale."""
    names = {variant.variant_id: variant.name for variant in results.variants}
    shown = {variant: lifts for variant, lifts in series.lifts.items() if variant in names}
    scale = _lift_scale(list(shown.values()))
    if scale is None:
        return []
    y, ticks = _value_axis(*scale, lambda mark: numbers.percent(mark, decimals=0 if scale[2] >= 0.01 else 1) or "")  # noqa: PLR2004
    charts = []
    styles = {variant.variant_id: style for style, variant in enumerate(results.variants)}
    for variant, lifts in shown.items():
        places = [axis.x(axis.end_of(day)) for day in series.days]
        seen = [
            (place, y(lift.estimate))
            for place, lift in zip(places, lifts, strict=True)
            if lift.estimate is not None
        ]
        name, last = names[variant], numbers.lift(lifts[-1].estimate) or "–"
        charts.append(
            Chart(
                id=f"lift-{variant}",
                label=f"Lift of “{name}” on “{series.goal.name}” by day",
                x_ticks=axis.ticks(),
                y_ticks=ticks,
                zero_y=y(0.0),
                band=_band(places, lifts, y, scale, axis.points_max),
                lines=[
                    _line(
                        styles[variant], name, [x for x, _ in seen], [at for _, at in seen], last, axis.points_max
                    )
                ],
                marks=axis.marks(changes),
                points=_points(
                    places,
                    [f"{day}: {said(lift)}" for day, lift in zip(series.days, lifts, strict=True)],
                    axis.days_max,
                ),
                exits=_exits(styles[variant], _thinned(seen, axis.points_max)),
            )
        )
    return charts


def said(lift: Lift) -> str:
    """A lift with its limits in words."""
    if lift.estimate is None:
        return "no lift yet"
    if lift.low is None and lift.high is None:
        return f"{numbers.lift(lift.estimate)}, too early for limits"
    low, high = numbers.lift(lift.low) or "no limit", numbers.lift(lift.high) or "no limit"
    return f"{numbers.lift(lift.estimate)} ({low} … {high})"


def _counts(
    name: str,
    label: str,
    names: list[str],
    rows: list[list[int]],
    axis: TimeAxis,
    changes: Sequence[Change],
    *,
    goes_on: bool = False,
) -> Chart:
    """A line for each variant; `goes_on` where the last number is one that still grows."""
    most = max(max(row) for row in rows)
    step = max(1.0, _nice_step(most or 1))
    top = step * -(-most // step) or step
    y, ticks = _value_axis(0.0, top, step, lambda mark: numbers.count(round(mark)))
    places = [axis.x(axis.end_of(day)) for day in axis.days]
    so_far = " so far" if goes_on else ""
    lines = [
        _line(
            style,
            names[style],
            places,
            [y(n) for n in row],
            f"{numbers.count(row[-1])}{so_far}",
            axis.points_max,
            goes_on=goes_on,
        )
        for style, row in enumerate(rows)
    ]
    titles = [
        f"{day}{so_far if day == axis.days[-1] else ''}: "
        + ", ".join(f"{names[at]} {numbers.count(row[number])}" for at, row in enumerate(rows))
        for number, day in enumerate(axis.days)
    ]
    points = _points(places, titles, axis.days_max)
    return Chart(name, label, axis.ticks(), ticks, None, "", lines, axis.marks(changes), points)


def _lift_scale(rows: list[list[Lift]]) -> tuple[float, float, float] | None:
    """Ends and step of an axis that shows the last band whole, and of what was before as much again beside it.

    Bands of the first days would leave no room for the others: they go beyond it.
    """
    seen = [lift.estimate for lifts in rows for lift in lifts if lift.estimate is not None]
    if not seen:
        return None
    last = [mark for lifts in rows for mark in lifts[-1] if mark is not None] or seen
    low, high = min(0.0, *last), max(0.0, *last)
    least, most = low - (high - low), high + (high - low)
    later = [mark for lifts in rows for lift in lifts[len(lifts) // 2 :] for mark in lift if mark is not None]
    marks = [min(max(mark, least), most) for mark in (*seen, *later)]
    low, high = min([low, *marks]), max([high, *marks])
    if low == high:  # every lift is exactly none
        low, high = -0.01, 0.01
    step = _nice_step(high - low)
    return step * floor(low / step), step * -floor(-high / step), step


def _value_axis(
    low: float, high: float, step: float, label: Callable[[float], str]
) -> tuple[Callable[[float], float], list[Tick]]:
    height = HEIGHT - TOP - BOTTOM

    def y(value: float) -> float:
        share = (high - value) / (high - low)
        return round(TOP + min(max(share, -3.0), 4.0) * height, 1)  # beyond the edge it is cut off anyway

    marks = [low + step * n for n in range(round((high - low) / step) + 1)]
    return y, [Tick(y(mark), label(0.0 if abs(mark) < step / 1e6 else mark)) for mark in marks]


def _band(
    places: list[float], lifts: list[Lift], y: Callable[[float], float], scale: tuple[float, ...], points_max: int
) -> str:
    known = [
        (
            place,
            y(scale[0] - 1.0 if lift.low is None else lift.low),
            y(scale[1] + 1.0 if lift.high is None else lift.high),
        )
        for place, lift in zip(places, lifts, strict=True)
        if lift.low is not None or lift.high is not None
    ]
    if not known:
        return ""
    if len(known) == 1:  # one day is a bar
        x, bottom, top = known[0]
        known = [(x - 2, bottom, top), (x + 2, bottom, top)]
    known = _thinned(known, points_max)
    upper = " ".join(f"{x:g},{top:g}" for x, _, top in known)
    lower = " ".join(f"{x:g},{bottom:g}" for x, bottom, _ in reversed(known))
    return f"M{upper} {lower}Z"


def _exits(style: int, points: list[tuple[float, float]]) -> list[Exit]:
    """The arrows of a line; where several would touch, the first."""
    found: list[tuple[float, int, int]] = []
    for edge, way in ((TOP, -1), (HEIGHT - BOTTOM, 1)):
        for (x, at), (next_x, next_at) in pairwise(points):
            if ((at - edge) * way > 0) != ((next_at - edge) * way > 0):
                leaves_at = x + (edge - at) / (next_at - at) * (next_x - x)
                if not found or found[-1][1] != edge or leaves_at - found[-1][0] > 2 * _ARROW:
                    found.append((round(leaves_at, 1), edge, way))
    return [
        Exit(
            f"M{x - _ARROW:g},{edge - way * _ARROW:g} {x:g},{edge:g} {x + _ARROW:g},{edge - way * _ARROW:g}Z",
            style,
        )
        for x, edge, way in found
    ]


def _line(
    style: int,
    name: str,
    xs: list[float],
    ys: list[float],
    last: str,
    points_max: int,
    *,
    goes_on: bool = False,
) -> Line:
    points = list(zip(xs, ys, strict=True))
    whole = _thinned(points[:-1] if goes_on else points, points_max)
    so_far = _path([*whole[-1:], points[-1]]) if goes_on else ""
    return Line(style, name, _path(whole), points[-1] if points else None, last, so_far)


def _path(points: list[tuple[float, float]]) -> str:
    return "M" + " ".join(f"{x:g},{at:g}" for x, at in points) if len(points) > 1 else ""


def _points(places: list[float], titles: list[str], days_max: int) -> list[Point]:
    """The parts of a chart that say something; of many days some speak for those beside them."""
    told = _thinned(list(zip(places, titles, strict=True)), days_max)
    edges = [LEFT, *((a + b) / 2 for (a, _), (b, _) in pairwise(told)), WIDTH - RIGHT]
    return [
        Point(round(left, 1), round(max(right - left, 0.0), 1), title)
        for (left, right), (_, title) in zip(pairwise(edges), told, strict=True)
    ]


def _thinned(points: list[_Point], most: int) -> list[_Point]:
    """At most so many, evenly chosen, with the first and the last."""
    if len(points) <= most:
        return points
    share = (len(points) - 1) / (most - 1)
    return [points[round(n * share)] for n in range(most)]


def _nice_step(span: float) -> float:
    """A step of 1, 2 or 5 times a power of ten that divides a span into three to six parts."""
    rough = span / 4
    power = 10.0 ** floor(log10(rough))
    factor = next(factor for factor in (1, 2, 5, 10) if rough / power <= factor)
    return factor * power


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}–{last}"


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
