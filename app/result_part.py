"""The part of results that a page shows: some of many goals, variants, segments and days, each of them in full."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar
from uuid import UUID

import msgspec

from app.result_breakdown import Segment
from app.result_history import Change
from app.results_shape import GoalResult, Results
from app.sheets import Sheet, sheet_number, sheet_of

# A row is a variant of a goal, with its mark, its line over time and all that its numbers say of themselves.
ROWS_MAX = 10
VARIANTS_MAX = 5
# Rows of a breakdown, one for each value and variant, are shorter; a quarter of them where the split has many.
SEGMENT_ROWS_MAX = 50
# Numbers of the table by day.
_DAY_NUMBERS_MAX = 75
_LISTS = ("variants", "segments", "days", "changes")
# Of a list that is folded away the first page is asked for too: who turns back to it finds it open.
_FOLDED = "days"
_ROLES = ("primary", "guardrail", "secondary")
# Of the experiment's history.
CHANGES_MAX = 50

_Row = TypeVar("_Row")


class Turned(NamedTuple):
    """To which page the lists on the page of results are turned that a query names; `whole` shows all of all."""

    pages: dict[str, int]
    whole: bool = False

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The fields of a query that turns a page so."""
        turned = [(name, str(page)) for name, page in self.pages.items() if page > 1 or name == _FOLDED]
        return [("show", "all")] if self.whole else turned

    @property
    def asked(self) -> str:
        """The same to add to a query."""
        return "".join(f"&{name}={value}" for name, value in self.fields)

    def to(self, name: str, page: int) -> "Turned":
        """With one list turned to another page."""
        return self._replace(pages={**self.pages, name: page})

    def page(self, name: str) -> int:
        """Where a list is."""
        return self.pages.get(name, 1)


class Part(NamedTuple):
    """Results with the goals and variants that are shown; the other goals; the page's treatments among all."""

    results: Results
    others: list[GoalResult]
    treatments: Sheet[UUID]
    turned: Turned

    def segments(self, found: list[Segment]) -> Sheet[Segment]:
        """The values of a breakdown that are shown, those with the most visitors first."""
        rows = SEGMENT_ROWS_MAX // 4 if self.treatments.pages > 1 else SEGMENT_ROWS_MAX
        return self._sheet(found, rows // len(self.results.variants), self.turned.page("segments"))

    def days(self, count: int) -> Sheet[int]:
        """Which of so many days are shown as numbers: the last ones first, in their order."""
        each = _DAY_NUMBERS_MAX // (2 * len(self.results.variants) - 1)  # the control has no lift
        sheet = self._sheet(range(count)[::-1], each, self.turned.page("days"))
        return sheet._replace(rows=sheet.rows[::-1])

    def changes(self, newest_first: list[Change]) -> Sheet[Change]:
        """What is shown of the experiment's history."""
        return self._sheet(newest_first, CHANGES_MAX, self.turned.page("changes"))

    def _sheet(self, rows: Sequence[_Row], each: int, number: int) -> Sheet[_Row]:
        return sheet_of(rows, len(rows) if self.turned.whole else each, number)


def turned_to(query: Mapping[str, str]) -> Turned:
    """What a query asks for; what is no number of a page is the first."""
    pages = {name: sheet_number(query[name]) for name in _LISTS if name in query}
    return Turned(pages, whole=query.get("show") == "all")


def part_of(results: Results, goal: str | None, turned: Turned) -> Part:
    """The goal asked for and the most important ones, as many as fit, in their order; of many variants a page."""
    treatments = _treatments(results)
    if turned.whole:
        return Part(results, [], Sheet(treatments, 1, 1), turned)
    sheet = sheet_of(treatments, VARIANTS_MAX - 1, turned.page("variants"))
    shown = {each.variant_id for each in results.variants if each.is_control} | set(sheet.rows)
    most = min(len(results.variants), VARIANTS_MAX)
    ordered = sorted(results.goals, key=lambda each: (each.name != goal, _ROLES.index(each.role)))
    chosen = {each.name for each in ordered[: max(1, ROWS_MAX // most)]}
    return Part(
        _only(results, chosen, shown),
        [each for each in results.goals if each.name not in chosen],
        sheet,
        turned.to("variants", sheet.number),
    )


def _treatments(results: Results) -> list[UUID]:
    """All but the control, first those for which a primary goal, or else any, has a verdict."""
    called: dict[UUID, int] = {}
    for goal in results.goals:
        for comparison in goal.comparisons:
            if comparison.verdict in {"better", "worse"}:
                weight = 0 if goal.role == "primary" else 1
                called[comparison.variant_id] = min(weight, called.get(comparison.variant_id, 2))
    treatments = [each.variant_id for each in results.variants if not each.is_control]
    return sorted(treatments, key=lambda variant_id: called.get(variant_id, 2))


def _only(results: Results, goals: set[str], variants: set[UUID]) -> Results:
    return msgspec.structs.replace(
        results,
        variants=[each for each in results.variants if each.variant_id in variants],
        goals=[
            msgspec.structs.replace(
                goal,
                variants=[each for each in goal.variants if each.variant_id in variants],
                comparisons=[each for each in goal.comparisons if each.variant_id in variants],
            )
            for goal in results.goals
            if goal.name in goals
        ],
    )
