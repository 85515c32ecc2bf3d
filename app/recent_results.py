"""Results for lists, which ask for many at once: computed anew when the log has grown, at most so often."""

import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from uuid import UUID

from app.results_shape import Results
from domain.experiment import Experiment


class _Known(NamedTuple):
    version: int
    until: float
    results: Results


class RecentResults:
    """The newest results of experiments, at most SECONDS old."""

    SECONDS = 15.0
    EXPERIMENTS_MAX = 2_000

    def __init__(self) -> None:
        self._known: dict[UUID, _Known] = {}

    async def get(
        self, experiment: Experiment, last_position: int, find: Callable[[], Awaitable[Results | None]]
    ) -> Results | None:
        """What is known, if the log still ends at `last_position` or it is recent; or else what is found."""
        known = self._known.get(experiment.id)
        if known is not None and known.version == experiment.version:
            is_last = known.results.as_of.position == last_position
            if is_last or known.until > time.monotonic():
                return known.results
        results = await find()
        if results is not None:
            if len(self._known) >= self.EXPERIMENTS_MAX:
                self._known.clear()
            self._known[experiment.id] = _Known(experiment.version, time.monotonic() + self.SECONDS, results)
        return results
