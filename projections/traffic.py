"""What the newest events say of a site's traffic: a bounded look at the log, for plans and not for results."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection

from domain.experiment import Goal
from domain.plan import UrlMatchType
from projections.event_log import read_head
from projections.queries import queries

EVENTS_MAX = 200_000
_ADDRESS_EVENTS_MAX = 1_000
# The span leaves out a hundredth of the events at either end.
_SPAN_SHARE = 0.98


class Traffic(NamedTuple):
    """Distinct visitors of some pages among the newest events, and what a goal measures of one of them.

    `mean` of a conversion is the share of them who converted; `sd` is None for fewer than two visitors.
    """

    events: int
    since: datetime | None
    until: datetime | None
    visitors: int
    converters: int
    mean: float | None
    sd: float | None

    @property
    def days(self) -> float:
        """How many days the events span."""
        if self.since is None or self.until is None:
            return 0.0
        return (self.until - self.since) / timedelta(days=1) / _SPAN_SHARE


async def read_traffic(
    connection: AsyncConnection[Any],
    project_id: UUID,
    url_match_type: UrlMatchType,
    target_url: str,
    goal: Goal,
    window_hours: int,
) -> Traffic:
    """Look at the newest EVENTS_MAX events of a project, by the log's key alone."""
    head = await read_head(connection, project_id)
    parameters = {
        "project_id": project_id,
        "after": head.next_position - 1 - EVENTS_MAX,
        "url_match_type": url_match_type,
        "target_url": target_url,
        "is_path": target_url.startswith("/"),
        "kind": goal.kind,
        "event_type": goal.event_type,
        "event_name": goal.event_name,
        "value_field": goal.value_field,
        "window_hours": window_hours,
    }
    [row] = await (await connection.execute(queries("traffic")["traffic"], parameters)).fetchall()
    return Traffic(*row)


async def read_page_address(connection: AsyncConnection[Any], project_id: UUID) -> str | None:
    """The address of a page that somebody saw lately; None when no browser has reported one."""
    head = await read_head(connection, project_id)
    parameters = {"project_id": project_id, "after": head.next_position - 1 - _ADDRESS_EVENTS_MAX}
    row = await (await connection.execute(queries("traffic")["page_address"], parameters)).fetchone()
    return row[0] if row else None
