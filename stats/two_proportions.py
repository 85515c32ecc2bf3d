"""Closed-form intervals of a difference of two rates, and the rates restricted to a given difference.

They stand beside the score family of `proportions`, which `compare` uses: for checks and for teams that
report them. Arrays broadcast; arm 1 less arm 0, n >= 1.
"""

import numpy as np

from stats import tails
from stats.one_proportion import wilson
from stats.saddle_point import Floats

# Newton polishes the closed form; a larger step is a double root.
_POLISH_MAX = 1e-6


def wald(s0: Floats, n0: Floats, s1: Floats, n1: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Give the textbook interval by the unpooled variance; too narrow for small counts, [0, 0] at none."""
    p0, p1 = s0 / n0, s1 / n1
    margin = tails.critical(alpha) * np.sqrt(p0 * (1.0 - p0) / n0 + p1 * (1.0 - p1) / n1)
    return p1 - p0 - margin, p1 - p0 + margin


def agresti_caffo(s0: Floats, n0: Floats, s1: Floats, n1: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Give Wald's interval after one converter and one other were added to each arm (Agresti & Caffo 2000)."""
    low, high = wald(s0 + 1.0, n0 + 2.0, s1 + 1.0, n1 + 2.0, alpha)
    return np.maximum(low, -1.0), np.minimum(high, 1.0)


def newcombe(s0: Floats, n0: Floats, s1: Floats, n1: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Give the interval made of two Wilson intervals (Newcombe 1998b, method 10)."""
    p0, p1 = s0 / n0, s1 / n1
    (low0, high0), (low1, high1) = wilson(s0, n0, alpha), wilson(s1, n1, alpha)
    low = p1 - p0 - np.hypot(p1 - low1, high0 - p0)
    return low, p1 - p0 + np.hypot(high1 - p1, p0 - low0)


@np.errstate(all="ignore")
def restricted_rates(
    s0: Floats, n0: Floats, s1: Floats, n1: Floats, difference: Floats | float
) -> tuple[Floats, Floats]:
    """Give the most likely rates (of arm 0, of arm 1) whose difference, 1 less 0, is `difference`.

    Miettinen & Nurminen 1985, appendix 1: the root of a cubic in closed form, polished by Newton; `s` and
    `n` need not be whole. Raises ValueError for a difference outside (-1, 1).
    """
    if not (np.abs(difference) < 1.0).all():
        raise ValueError(f"no two rates differ by {difference}")
    total, whole = n0 + n1, s0 + s1
    c3 = total
    c2 = (n1 + 2.0 * n0) * difference - total - whole
    c1 = (n0 * difference - total - 2.0 * s0) * difference + whole
    c0 = s0 * difference * (1.0 - difference)
    q = (c2 / (3.0 * c3)) ** 3 - c1 * c2 / (6.0 * c3 * c3) + c0 / (2.0 * c3)
    sign = np.where(q < 0.0, -1.0, 1.0)
    p = sign * np.sqrt(np.maximum((c2 / (3.0 * c3)) ** 2 - c1 / (3.0 * c3), 0.0))
    angle = (np.pi + np.arccos(np.clip(np.where(p == 0.0, 0.0, q / p**3), -1.0, 1.0))) / 3.0
    rate0 = 2.0 * p * np.cos(angle) - c2 / (3.0 * c3)
    low, high = np.maximum(0.0, -difference), np.minimum(1.0, 1.0 - difference)
    for _ in range(3):
        value = ((c3 * rate0 + c2) * rate0 + c1) * rate0 + c0
        slope = (3.0 * c3 * rate0 + 2.0 * c2) * rate0 + c1
        step = np.where(slope != 0.0, value / slope, 0.0)
        rate0 = np.where(np.isfinite(step) & (np.abs(step) < _POLISH_MAX), rate0 - step, rate0)
    rate0 = np.clip(rate0, low, high)
    return rate0, rate0 + difference
