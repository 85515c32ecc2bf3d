"""Results that need not be computed again: by what they follow from, and for lists those of some seconds ago."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from uuid import UUID

import msgspec

from app.find_results import Found
from app.kept import Kept
from app.results import digest_of
from app.results_shape import Results
from domain.experiment import Experiment

KEPT_BYTES_MAX = 24 * 1024 * 1024
COMPARISONS_AT_ONCE_MAX = 12
# What records take in memory, at most: by themselves, for each variant of each goal (1,000 to 1,700 measured), for
# each text that may be long and for each of its characters.
_BYTES_OF_ALL = 4_000
_BYTES_OF_ROW = 2_000
_BYTES_OF_TEXT = 100
_BYTES_OF_CHARACTER = 4


class KnownResults:
    """Results by their digest, which covers all that they follow from: the same statistics are not done twice."""

    def __init__(self) -> None:
        self._kept = Kept(KEPT_BYTES_MAX, size_bytes)

    async def of(self, found: Found) -> Results:
        """The results of what is counted: of few comparisons here, of many in a thread, as they take long."""
        plan = found.counted.plan
        # The way to a thread and back costs a millisecond, a third of what few comparisons take.
        if len(plan.goals) * len(plan.variants) <= COMPARISONS_AT_ONCE_MAX:
            return self.at_once(found)
        return await asyncio.to_thread(self.at_once, found)

    def at_once(self, found: Found) -> Results:
        """The same, however long it takes."""
        digest = digest_of(found.counted, found.asked)
        key = digest, found.time
        results = self._kept.get(key)
        if results is None:
            results = found.results(digest)
            self._kept.put(key, results)
        return msgspec.structs.replace(results, lag=found.lag)


def size_bytes(results: Results) -> int:
    """About what it takes to keep results, and no less."""
    decisions = [results.decision, *(goal.decision for goal in results.goals)]
    texts = [text for said in decisions if said for text in (said.sentence, *said.reasons)]
    texts += [results.name, *(each.name for each in results.variants), *(each.name for each in results.goals)]
    rows = sum(len(goal.variants) for goal in results.goals)
    return (
        _BYTES_OF_ALL
        + _BYTES_OF_ROW * rows
        + _BYTES_OF_TEXT * len(texts)
        + _BYTES_OF_CHARACTER * sum(map(len, texts))
    )


class _Known(NamedTuple):
    version: int
    until: float
    results: Results


class RecentResults:
    """The newest results of experiments, at most SECONDS old, for lists, which ask for many at once."""

    SECONDS = 15.0
    EXPERIMENTS_MAX = 2_000

    def __init__(self) -> None:
        self._known: dict[UUID, _Known] = {}

    async def get(
        self,
        experiments: list[Experiment],
        last_position: int,
        find: Callable[[list[UUID]], Awaitable[dict[UUID, Results]]],
    ) -> dict[UUID, Results]:
        """What is known, if the log still ends at `last_position` or it is recent; the others are found."""
        known = {each.id: fresh for each in experiments if (fresh := self._fresh(each, last_position))}
        missing = {each.id: each for each in experiments if each.id not in known}
        if not missing:
            return known
        found = await find(list(missing))
        if len(self._known) + len(found) > self.EXPERIMENTS_MAX:
            self._known.clear()
        until = time.monotonic() + self.SECONDS
        for id_, results in found.items():
            self._known[id_] = _Known(missing[id_].version, until, results)
        return known | found

    def _fresh(self, experiment: Experiment, last_position: int) -> Results | None:
        known = self._known.get(experiment.id)
        if known is None or known.version != experiment.version:
            return None
        is_last = known.results.as_of.position == last_position
        return known.results if is_last or known.until > time.monotonic() else None
