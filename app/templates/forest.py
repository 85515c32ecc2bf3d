"""Where the marks of the forest plot stand: every goal and variant on one scale, so that zero is one line."""

from statistics import median
from typing import NamedTuple

from app.results_shape import Results
from app.templates import numbers
from app.templates.verdicts import deciding_lift

WIDTH = 600
_ROW = 46
_SIDE = 14
_HEAD = 26
_FOOT = 24
_NAMES_MAX = 30
# An interval much wider than the others gets an arrow, or it would press them to a point.
_WIDEST = 4.0


class Row(NamedTuple):
    """One interval: its words, its places from the left, None where a limit lies beyond the picture."""

    y: int
    name: str
    label: str
    text: str
    tone: str
    estimate_x: float
    low_x: float | None
    high_x: float | None
    margin_x: float | None


class Heading(NamedTuple):
    """The name of a group of goals."""

    y: int
    text: str


class Forest(NamedTuple):
    """The picture: its size, the one place of zero, the ends of its scale, its rows."""

    width: int
    height: int
    zero_x: float
    ticks: list[tuple[float, str]]
    headings: list[Heading]
    rows: list[Row]
    left_out: list[str]


def forest_plot(results: Results) -> Forest | None:
    """The lifts of all goals with the limits that give the verdicts; None where there is no lift at all."""
    names = {variant.variant_id: variant.name for variant in results.variants}
    ordered = sorted(results.goals, key=lambda goal: ("primary", "secondary", "guardrail").index(goal.role))
    known = [
        (goal, names[comparison.variant_id], comparison.verdict, deciding_lift(comparison))
        for goal in ordered
        for comparison in goal.comparisons
    ]
    left_out = [f"{goal.name}: {lift.reason}" for goal, _, _, lift in known if lift.estimate is None]
    shown = [entry for entry in known if entry[3].estimate is not None]
    if not shown:
        return None
    low, high = _scale(
        [[mark for mark in (lift.low, lift.estimate, lift.high) if mark is not None] for *_, lift in shown]
    )
    unit = (WIDTH - 2 * _SIDE) / (high - low)

    def place(mark: float) -> float:
        return round(_SIDE + (mark - low) * unit, 1)

    y, role, headings, rows = 0, None, [], []
    for goal, name, verdict, lift in shown:
        if goal.role != role:
            role = goal.role
            headings.append(Heading(y + 16, _HEADINGS[role]))
            y += _HEAD
        margin = -goal.margin if goal.margin is not None else None
        rows.append(
            Row(
                y=y,
                name=_name(goal.name, name),
                label=f"{goal.name}, {name}",
                text=_text(lift.estimate, lift.low, lift.high),
                tone=verdict if verdict in {"better", "worse"} else "open",
                estimate_x=place(min(max(lift.estimate or 0.0, low), high)),
                low_x=place(lift.low) if lift.low is not None and lift.low >= low else None,
                high_x=place(lift.high) if lift.high is not None and lift.high <= high else None,
                margin_x=place(margin) if margin is not None and low <= margin <= high else None,
            )
        )
        y += _ROW
    ticks = [(place(mark), numbers.lift(mark) or "") for mark in (low, high) if abs(place(mark) - place(0.0)) > 60]  # noqa: PLR2004
    return Forest(WIDTH, y + _FOOT, place(0.0), ticks, headings, rows, list(dict.fromkeys(left_out)))


_HEADINGS = {"primary": "Primary goals", "secondary": "Secondary goals", "guardrail": "Guardrails"}


def _scale(intervals: list[list[float]]) -> tuple[float, float]:
    """Ends of the scale that hold zero and every estimate, and all limits but those far beyond the others."""
    reach = [max(abs(mark) for mark in marks) for marks in intervals]
    widest = max(_WIDEST * median(reach), 1e-9)
    marks = [0.0, *(min(max(mark, -widest), widest) for marks in intervals for mark in marks)]
    low, high = min(marks), max(marks)
    room = 0.06 * (high - low) or 0.01
    return low - room, high + room


def _text(estimate: float | None, low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return f"{numbers.lift(estimate)}, no limits yet"
    return f"{numbers.lift(estimate)} ({numbers.lift(low) or 'no limit'} … {numbers.lift(high) or 'no limit'})"


def _name(goal: str, variant: str) -> str:
    """Both names, cut so that the numbers fit beside them on a phone."""
    if len(goal) + len(variant) > _NAMES_MAX:
        goal = _short(goal, max(_NAMES_MAX // 2, _NAMES_MAX - len(variant)))
        variant = _short(variant, _NAMES_MAX - len(goal))
    return f"{goal} · {variant}"


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
