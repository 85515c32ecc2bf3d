"""A gate: a share counted over simulated experiments, and between which limits it must lie."""

from typing import NamedTuple

import numpy as np


class Gate(NamedTuple):
    """Percentages; `runs` says how far chance alone may move the share."""

    name: str
    percent: float
    low: float
    high: float
    runs: int

    def passes(self, standard_errors: float = 0.0) -> bool:
        """Say whether the share lies within the limits, give or take so many standard errors at the limit."""
        low, high = (
            standard_errors * 100 * np.sqrt(max(limit / 100 * (1 - limit / 100), 1 / self.runs) / self.runs)
            for limit in (max(self.low, 0.0), min(self.high, 100.0))
        )
        return bool(self.low - low <= self.percent <= self.high + high)

    def line(self, standard_errors: float = 0.0) -> str:
        """Give the gate as a row."""
        word = "pass" if self.passes(standard_errors) else "FAIL"
        return f"{word}  {self.percent:8.3f} %  [{self.low:g}, {self.high:g}]  {self.runs:>9,} runs  {self.name}"


def share(found, name, low, high):
    """Count how often something was found."""
    return Gate(name, 100.0 * float(np.mean(found)), low, high, int(np.size(found)))
