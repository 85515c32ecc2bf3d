"""Intervals of a single rate: Wilson, with continuity correction, Clopper-Pearson, mid-P.

Arrays broadcast; `s` of `n` visitors converted, n >= 1. Newcombe 1998a compares the methods.
"""

import numpy as np

from stats import special, tails
from stats.exact import binomial_log_probability
from stats.saddle_point import Floats

_BISECTIONS = 100


def wilson(s: Floats, n: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Give the rates that the score test does not reject (Wilson 1927), within [0, 1]."""
    return _wilson_low(s, n, alpha), 1.0 - _wilson_low(n - s, n, alpha)


def wilson_corrected(s: Floats, n: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Give Wilson's interval with a continuity correction (Newcombe 1998a, method 4)."""
    return _corrected_low(s, n, alpha), 1.0 - _corrected_low(n - s, n, alpha)


@np.errstate(all="ignore")
def clopper_pearson(s: Floats, n: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Give the exact interval: it holds the rate with chance 1 - `alpha` at least, at 0 of n too."""
    low = np.where(s > 0.0, special.betaincinv(np.maximum(s, 1.0), n - s + 1.0, alpha / 2.0), 0.0)
    high = np.where(s < n, special.betainccinv(s + 1.0, np.maximum(n - s, 1.0), alpha / 2.0), 1.0)
    return low, high


def mid_p(s: Floats, n: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Give the rates whose mid-P tails are `alpha` / 2: exact tails with half of what was seen."""
    return _mid_p_low(s, n, alpha), 1.0 - _mid_p_low(n - s, n, alpha)


def _wilson_low(s: Floats, n: Floats, alpha: float) -> Floats:
    z = tails.critical(alpha)
    p, spread = s / n, (s / n) * ((n - s) / n)
    # Multiplied out, so that 0 of n is exactly 0.
    low: Floats = p * p / (p + z * z / (2.0 * n) + z * np.sqrt((spread + z * z / (4.0 * n)) / n))
    return np.where(s > 0.0, low, 0.0)


@np.errstate(all="ignore")
def _corrected_low(s: Floats, n: Floats, alpha: float) -> Floats:
    z = tails.critical(alpha)
    p = s / n
    inside = z * z - 2.0 - 1.0 / n + 4.0 * p * (n - s + 1.0)
    low = (2.0 * s + z * z - 1.0 - z * np.sqrt(np.maximum(inside, 0.0))) / (2.0 * (n + z * z))
    return np.where(s > 0.0, np.clip(low, 0.0, 1.0), 0.0)


@np.errstate(all="ignore")
def _mid_p_low(s: Floats, n: Floats, alpha: float) -> Floats:
    low, high = np.zeros(np.broadcast(s, n).shape), np.broadcast_to(s / n, np.broadcast(s, n).shape).copy()
    inner = np.maximum(s, 1.0)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        # P(at least s) less half of P(s), increasing in the rate.
        tail = special.betainc(inner, n - inner + 1.0, middle)
        tail = tail - 0.5 * np.exp(binomial_log_probability(inner, n, middle))
        low, high = np.where(tail < alpha / 2.0, middle, low), np.where(tail < alpha / 2.0, high, middle)
    return np.where(s > 0.0, 0.5 * (low + high), 0.0)
