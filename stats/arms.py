"""Tallies of many arms at once, as arrays that broadcast: experiments, goals, arms, in any shape."""

from collections.abc import Sequence
from typing import Self

import msgspec
import numpy as np

from stats.saddle_point import Floats
from stats.tally import Tally


class Arms(msgspec.Struct, frozen=True):
    """Observations of arms: `n` visitors, `sum` of their values, `m2` the squares about each mean.

    For a conversion goal `sum` counts converters and `m2` is sum * (n - sum) / n.
    """

    n: Floats
    sum: Floats
    m2: Floats

    @classmethod
    @np.errstate(all="ignore")
    def of_proportions(cls, successes: Floats, n: Floats) -> Self:
        """Tally `successes` converters among `n` visitors, of any equal or broadcastable shapes."""
        s, visitors = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(n, np.float64))
        return cls(visitors, s, np.where(visitors > 0.0, np.maximum(s * ((visitors - s) / visitors), 0.0), 0.0))

    @classmethod
    def of_tallies(cls, tallies: Sequence[Tally]) -> Self:
        """Put single tallies beside each other."""
        columns = np.array([(each.n, each.sum, each.m2) for each in tallies], dtype=np.float64).reshape(-1, 3)
        return cls(*columns.T)

    @property
    @np.errstate(all="ignore")
    def mean(self) -> Floats:
        """Give the mean per visitor, nan for an arm without visitors."""
        return self.sum / self.n

    @property
    @np.errstate(all="ignore")
    def variance_of_mean(self) -> Floats:
        """Give the variance of the mean, nan below two visitors."""
        return self.m2 / (self.n * (self.n - 1.0))


@np.errstate(all="ignore")
def merge(a: Arms, b: Arms) -> Arms:
    """Tally two disjoint groups of visitors as one, arm by arm (Chan, Golub & LeVeque 1983)."""
    n = a.n + b.n
    apart = np.where((a.n > 0.0) & (b.n > 0.0), b.sum / b.n - a.sum / a.n, 0.0)
    between = np.where(n > 0.0, apart * apart * (a.n * (b.n / n)), 0.0)
    return Arms(n, a.sum + b.sum, a.m2 + b.m2 + between)
