"""Where the marks of the forest plot stand: every goal and variant on one scale, so that zero is one line."""

import textwrap
import unicodedata
from statistics import median
from typing import NamedTuple

from app.results_shape import ComparisonResult, GoalResult, Interval, Results
from app.templates import numbers
from app.templates.verdicts import deciding_lift

WIDTH = 600
_SIDE = 14
_HEAD = 26
_FOOT = 24
_LINE = 22
# From the first line of a row to its marks, and to its end.
_TEXT, _MARKS, _ROW = 16, 32, 50
_GAP = 20
# Letters are largest against the picture on a phone; this wide against that in the widest of common fonts.
_LETTER = 18
_BOLD = 1.15
_NARROW, _WIDE = frozenset("iIjltfr.,:;'|!()[] "), frozenset("mwMW@%…—")
# A longer name has its middle cut out: many begin alike, and some end alike.
_LINES_MAX = 2
# An interval much wider than the others gets an arrow, or it would press them to a point.
_WIDEST = 4.0
# No rate and no count falls by more than all of it.
_LEAST = -1.0


class Row(NamedTuple):
    """One interval: its words, its places from the left, None where a limit lies beyond the picture.

    `lines` is its name with the places from the top, `text_y` and `y` those of its numbers and its marks.
    """

    y: int
    lines: list[tuple[int, str]]
    text_y: int
    label: str
    text: str
    tone: str
    estimate_x: float
    low_x: float | None
    high_x: float | None
    margin_x: float | None


class Heading(NamedTuple):
    """The name of a group of goals, or a line of a goal's own whose variants stand below it."""

    y: int
    text: str
    of: str


class Forest(NamedTuple):
    """The picture: its size, the one place of zero, the ends of its scale, its rows."""

    width: int
    height: int
    zero_x: float
    ticks: list[tuple[float, str]]
    headings: list[Heading]
    rows: list[Row]
    left_out: list[str]


class _Scale(NamedTuple):
    low: float
    high: float

    def place(self, mark: float) -> float:
        unit = (WIDTH - 2 * _SIDE) / (self.high - self.low)
        return round(_SIDE + (mark - self.low) * unit, 1)

    def place_within(self, mark: float) -> float:
        return self.place(min(max(mark, self.low), self.high))


def forest_plot(results: Results) -> Forest | None:
    """The lifts of all goals with the limits that give the verdicts; None where there is no lift at all."""
    ordered = sorted(results.goals, key=lambda goal: ("primary", "secondary", "guardrail").index(goal.role))
    known = [(goal, [(each, deciding_lift(each)) for each in goal.comparisons]) for goal in ordered]
    left_out = [
        f"{goal.name}: {lift.reason}" for goal, of_goal in known for _, lift in of_goal if lift.estimate is None
    ]
    shown = [(goal, [each for each in of_goal if each[1].estimate is not None]) for goal, of_goal in known]
    shown = [(goal, of_goal) for goal, of_goal in shown if of_goal]
    if not shown:
        return None
    scale = _scale_of(
        [
            [mark for mark in (lift.low, lift.estimate, lift.high) if mark is not None]
            for _, of_goal in shown
            for _, lift in of_goal
        ]
    )
    names = {variant.variant_id: variant.name for variant in results.variants}
    folded = {variant_id: _folded(name, WIDTH) for variant_id, name in names.items()}
    y, role, headings, rows = 0, None, list[Heading](), list[Row]()
    for goal, of_goal in shown:
        if goal.role != role:
            role = goal.role
            headings.append(Heading(y + _TEXT, _HEADINGS[role], "group"))
            y += _HEAD
        lines = {each.variant_id: [f"{goal.name} · {names[each.variant_id]}"] for each, _ in of_goal}
        if not all(_stand_beside(lines[each.variant_id][0], _text(lift)) for each, lift in of_goal):
            lines = folded
            for line in _folded(goal.name, WIDTH / _BOLD):
                headings.append(Heading(y + _TEXT, line, "goal"))
                y += _LINE
        for comparison, lift in of_goal:
            row = _row(
                y, goal, comparison, lift, lines[comparison.variant_id], names[comparison.variant_id], scale
            )
            rows.append(row)
            y = row.y + _ROW - _MARKS
    lowest = scale.low if any(goal.kind == "value" for goal, _ in shown) else max(scale.low, _LEAST)
    zero_x = scale.place(0.0)
    ends = [(scale.place(mark), numbers.lift(mark) or "") for mark in (lowest, scale.high)]
    ticks = [(at, label) for at, label in ends if abs(at - zero_x) > 60]  # noqa: PLR2004
    return Forest(WIDTH, y + _FOOT, zero_x, ticks, headings, rows, list(dict.fromkeys(left_out)))


_HEADINGS = {"primary": "Primary goals", "secondary": "Secondary goals", "guardrail": "Guardrails"}


def _row(
    y: int,
    goal: GoalResult,
    comparison: ComparisonResult,
    lift: Interval,
    lines: list[str],
    name: str,
    scale: _Scale,
) -> Row:
    text, margin = _text(lift), goal.margin
    text_y = y + _TEXT + _LINE * (len(lines) - 1 if _stand_beside(lines[-1], text) else len(lines))
    return Row(
        y=text_y + _MARKS - _TEXT,
        lines=[(y + _TEXT + _LINE * number, line) for number, line in enumerate(lines)],
        text_y=text_y,
        label=f"{goal.name}, {name}",
        text=text,
        tone=comparison.verdict if comparison.verdict in {"better", "worse"} else "open",
        estimate_x=scale.place_within(lift.estimate or 0.0),
        low_x=scale.place_within(lift.low) if lift.low is not None and lift.low >= scale.low else None,
        high_x=scale.place_within(lift.high) if lift.high is not None and lift.high <= scale.high else None,
        margin_x=scale.place(-margin) if margin is not None and scale.low <= -margin <= scale.high else None,
    )


def _scale_of(intervals: list[list[float]]) -> _Scale:
    """Ends of the scale that hold zero and every estimate, and all limits but those far beyond the others."""
    reach = [max(abs(mark) for mark in marks) for marks in intervals]
    widest = max(_WIDEST * median(reach), 1e-9)
    marks = [0.0, *(min(max(mark, -widest), widest) for marks in intervals for mark in marks)]
    low, high = min(marks), max(marks)
    room = 0.06 * (high - low) or 0.01
    return _Scale(low - room, high + room)


def _text(lift: Interval) -> str:
    if lift.low is None and lift.high is None:
        return f"{numbers.lift(lift.estimate)}, no limits yet"
    low, high = numbers.lift(lift.low) or "no limit", numbers.lift(lift.high) or "no limit"
    return f"{numbers.lift(lift.estimate)} ({low} … {high})"


def _stand_beside(name: str, text: str) -> bool:
    return _width(name) + _GAP + _width(text) <= WIDTH


def _folded(name: str, room: float) -> list[str]:
    """A name in lines that are as wide as there is room."""
    most = max(1, int(room * len(name) / max(_width(name), 1.0)))
    lines, kept = textwrap.wrap(name, most) or [name], min(len(name), _LINES_MAX * most)
    while len(lines) > _LINES_MAX:
        kept = max(kept - 2, 2)
        lines = textwrap.wrap(f"{name[: kept // 2].rstrip()}…{name[-(kept // 2) :].lstrip()}", most)
    return lines


def _width(text: str) -> float:
    return sum(_width_of_letter(letter) for letter in text) * _LETTER


def _width_of_letter(letter: str) -> float:
    if letter in _WIDE or unicodedata.east_asian_width(letter) in "WF":
        return 1.05
    return 0.42 if letter in _NARROW else 0.78 if letter.isupper() else 0.64
