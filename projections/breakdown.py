"""One experiment's visitors and outcomes by a dimension of their first exposure, as the live tables have them."""

from decimal import Decimal
from typing import Literal, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection

from projections.generations import read_from_live
from projections.queries import queries

Dimension = Literal["device", "browser", "os", "country", "referrer", "utm_source", "utm_medium", "utm_campaign"]


class SegmentVisitors(NamedTuple):
    """Distinct visitors of one variant and epoch with one value of a dimension; None where it is not known."""

    value: str | None
    variant_id: UUID
    epoch: int
    visitors: int


class SegmentOutcomes(NamedTuple):
    """What those visitors achieved for a goal, sums exact."""

    value: str | None
    variant_id: UUID
    epoch: int
    converters: int
    conversions: int
    value_sum: Decimal
    value_squares: Decimal


class Segments(NamedTuple):
    """All rows of a breakdown, of one moment."""

    visitors: list[SegmentVisitors]
    outcomes: list[SegmentOutcomes]


async def read_segments(
    connection: AsyncConnection, project_id: UUID, experiment_id: UUID, dimension: Dimension, goal: str
) -> Segments:
    """Visitors, and their outcomes for a goal, by the values of a dimension.

    Conversions by ids that were never exposed belong to no segment. QueryCanceled where it takes too long: it
    is the one read that grows with visitors.
    """
    parameters = {
        "project_id": project_id,
        "experiment_id": experiment_id,
        "dimension": dimension,
        "goal": goal,
    }

    async def read() -> Segments:
        await connection.execute(queries("breakdown")["limit"])
        visitors = await connection.execute(queries("breakdown")["visitors"], parameters)
        outcomes = await connection.execute(queries("breakdown")["outcomes"], parameters)
        return Segments(
            [SegmentVisitors(*row) for row in await visitors.fetchall()],
            [SegmentOutcomes(*row) for row in await outcomes.fetchall()],
        )

    return await read_from_live(connection, read)
