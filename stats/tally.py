"""What is kept of one arm's observations: count, sum and centred squares."""

from decimal import Decimal
from fractions import Fraction
from typing import Self

import msgspec


class Tally(msgspec.Struct, frozen=True, gc=False):
    """Observations of one arm, reduced so that tallies merge and no variance is lost to cancellation.

    `n` visitors, `sum` of their values, `m2` the sum of squares about the mean. For a conversion goal
    `sum` counts converters and `m2` is sum * (n - sum) / n.
    """

    n: float
    sum: float
    m2: float

    @classmethod
    def of_proportion(cls, successes: float, n: float) -> Self:
        """Tally `successes` converters among `n` visitors; more converters than visitors get m2 = 0."""
        return cls(float(n), float(successes), max(0.0, successes * (n - successes) / n) if n else 0.0)

    @classmethod
    def from_exact_sums(cls, n: int, total: Fraction | Decimal | int, squares: Fraction | Decimal | int) -> Self:
        """Centre exact sums in exact arithmetic and round each result to a float once.

        Raises ValueError for sums that no `n` real numbers have (Cauchy-Schwarz).
        """
        (above, below), (squared, unit) = total.as_integer_ratio(), squares.as_integer_ratio()
        # Of whole numbers until the end: a quotient of two is rounded once, and no fraction has to be reduced.
        over = unit * below * below * max(n, 1)
        centred = squared * below * below * max(n, 1) - above * above * unit
        if n < 0 or centred < 0 or (n == 0 and (above or squared)):
            raise ValueError(f"no {n} real numbers have the sum {total} and the squares {squares}")
        return cls(float(n), above / below, centred / over)

    @property
    def mean(self) -> float:
        """Give the mean per visitor; raises ZeroDivisionError for an empty tally."""
        return self.sum / self.n

    @property
    def variance(self) -> float:
        """Give the unbiased variance of one visitor; raises ZeroDivisionError below two visitors."""
        return self.m2 / (self.n - 1.0)


def merge(a: Tally, b: Tally) -> Tally:
    """Tally two disjoint groups of visitors as one (Chan, Golub & LeVeque 1983)."""
    if a.n == 0.0:
        return b
    if b.n == 0.0:
        return a
    n = a.n + b.n
    apart = b.mean - a.mean
    return Tally(n, a.sum + b.sum, a.m2 + b.m2 + apart * apart * (a.n * (b.n / n)))
