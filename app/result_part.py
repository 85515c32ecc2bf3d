"""The part of results that a page shows at first: some of many goals and variants, each of them in full."""

from typing import Literal, NamedTuple, get_args
from uuid import UUID

import msgspec

from app.results_shape import GoalResult, Results

# A row is a variant of a goal, with its mark, its line over time and all that its numbers say of themselves.
ROWS_MAX = 10
VARIANTS_MAX = 5
# Rows of a breakdown, one for each value and variant, are shorter; a quarter of them where the split has many.
SEGMENT_ROWS_MAX = 50
_ROLES = ("primary", "guardrail", "secondary")
Extent = Literal["", "variants", "all"]


class Part(NamedTuple):
    """Results with the goals and variants that are shown; the other goals; whether variants are left out.

    `asked` is the part of a query that shows as much.
    """

    results: Results
    others: list[GoalResult]
    extent: Extent
    leaves_out_variants: bool

    @property
    def segments_max(self) -> int | None:
        """How many values of a breakdown are shown, those with the most visitors; None for all."""
        rows = SEGMENT_ROWS_MAX // 4 if self.leaves_out_variants else SEGMENT_ROWS_MAX
        return None if self.extent else rows // len(self.results.variants)

    @property
    def asked(self) -> str:
        """What to add to a query of the page, so that it goes on showing as much."""
        return f"&show={self.extent}" if self.extent else ""


def extent_of(asked: str) -> Extent:
    """How much was asked for: a part, every variant of the goals shown, or all."""
    return next((extent for extent in get_args(Extent) if extent == asked), "")


def part_of(results: Results, goal: str | None, extent: Extent) -> Part:
    """The goal asked for and the most important ones, as many as fit, in their order; the same of variants."""
    if extent == "all":
        return Part(results, [], extent, leaves_out_variants=False)
    variants = {each.variant_id for each in results.variants} if extent else _variants(results)
    ordered = sorted(results.goals, key=lambda each: (each.name != goal, _ROLES.index(each.role)))
    chosen = {each.name for each in ordered[: max(1, ROWS_MAX // len(variants))]}
    return Part(
        _only(results, chosen, variants),
        [each for each in results.goals if each.name not in chosen],
        extent,
        leaves_out_variants=len(variants) < len(results.variants),
    )


def _variants(results: Results) -> set[UUID]:
    """The control, and of the others first those for which a primary goal, or else any, has a verdict."""
    called: dict[UUID, int] = {}
    for goal in results.goals:
        for comparison in goal.comparisons:
            if comparison.verdict in {"better", "worse"}:
                weight = 0 if goal.role == "primary" else 1
                called[comparison.variant_id] = min(weight, called.get(comparison.variant_id, 2))
    ordered = sorted(results.variants, key=lambda each: (not each.is_control, called.get(each.variant_id, 2)))
    return {each.variant_id for each in ordered[:VARIANTS_MAX]}


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
