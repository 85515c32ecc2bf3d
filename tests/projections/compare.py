"""Whether tallies are what a log implies, by the oracle's account of it."""

from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from uuid import UUID

from domain.experiment import Goal
from projections.results import Counted
from tests.projections.oracle import Expected


def assert_expected(found: Counted, expected: Expected, goals: Iterable[Goal], variants: Iterable[UUID]) -> None:
    """Fail where a tally of one experiment is another number than the oracle's."""
    visitors = Counter({(row.variant_id, row.epoch): row.visitors for row in found.visitors if row.visitors})
    multiple = {
        (row.variant_id, row.epoch): row.multiple_exposures for row in found.visitors if row.multiple_exposures
    }
    assert visitors == expected.visitors
    assert multiple == dict(expected.multiple)
    assert {key: count for key, count in found.impressions.items() if count} == dict(expected.impressions)
    for goal in goals:
        for variant_id in variants:
            rows = [row for row in found.outcomes if row.goal == goal.name and row.variant_id == variant_id]
            values = expected.goals[goal.name, variant_id]
            assert sum(row.converters for row in rows) == len(values)
            assert sum(row.conversions for row in rows) == expected.conversions[goal.name, variant_id]
            assert sum(Fraction(row.value_sum) for row in rows) == sum(values)
            assert sum(Fraction(row.value_squares) for row in rows) == sum(value * value for value in values)
    reasons = {reason: count for reason, count in found.unattributed if reason != "unknown_experiment"}
    assert reasons == dict(expected.reasons)
