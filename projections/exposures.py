"""Exposures: which variant each visitor saw first, and how many visitors and impressions each variant has."""

from datetime import date
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection

from projections.steps import Step, names_for_one, run_step

TABLES = ("visitor_exposure", "variant_exposure", "segment", "variant_tally", "impression_tally")
PAST_TABLES = ("visitor_exposure_past", "variant_tally_past", "impression_tally_past")
STAGING = ("staging", "staging_visitors", "staging_impressions")
# What changes a table that no result is read from.
_EXPLAINING = ("put_variants", "forget_variants")
# The statements of a step in their order, behind each the staged rows without which it has nothing to do.
NEEDS = {
    "stage": "staged_event",
    "put_segments": "staged_event",
    "stage_impressions": "staged_event",
    "keep_impressions": "staged_impressions",
    "tally_impressions": "staged_impressions",
    "stage_visitors": "staged_exposure",
    "keep_visitors": "staged_exposure",
    "tally_visitors": "staged_exposure",
    "put_variants": "staged_exposure where multiple",
    "put_exposures": "staged_exposure",
    "keep_exposures": "staged_exposure where old_variant_id is not null",
    "change_exposures": "staged_exposure where old_variant_id is not null",
}
_APPLYING = tuple(NEEDS)
# The statements that a session runs by one call.
CALLS = (_APPLYING, names_for_one(_APPLYING, _EXPLAINING))


class Visitors(NamedTuple):
    """Distinct visitors of one variant whose first exposure fell into one epoch."""

    variant_id: UUID
    epoch: int
    visitors: int
    multiple_exposures: int


class DayVisitors(NamedTuple):
    """Visitors of one variant and epoch by the day of their first exposure (UTC)."""

    variant_id: UUID
    epoch: int
    day: date
    visitors: int
    multiple_exposures: int


async def apply(connection: AsyncConnection[Any], step: Step) -> None:
    """Count the step's impressions and first exposures; leaves what changed in staged_exposure."""
    await run_step(connection, "exposures", _APPLYING, step, explaining=_EXPLAINING)


async def forget(connection: AsyncConnection[Any], step: Step, experiment_id: UUID) -> None:
    """Drop all that was derived for an experiment."""
    names = (
        "keep_forgotten_exposures",
        "forget_exposures",
        "forget_variants",
        "keep_forgotten_visitors",
        "forget_visitors",
        "keep_forgotten_impressions",
        "forget_impressions",
    )
    await run_step(connection, "exposures", names, step, explaining=_EXPLAINING, experiment_id=experiment_id)
