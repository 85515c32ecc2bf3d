"""Capped values: a few very large ones carry most of a variance and little of the news."""

import numpy as np

from stats.saddle_point import Floats, Mask
from stats.tally import Tally


def pooled_cap(values: Floats, quantile: float = 0.999) -> float:
    """Give the cut-off: the smallest value that a share `quantile` of all visitors does not exceed.

    `values` of the visitors of all arms together, never of one: arms capped apart are not comparable. Fix
    it before arms are told apart. Raises ValueError for no values and a quantile outside (0, 1].
    """
    if not (0.0 < quantile <= 1.0) or values.size == 0:
        raise ValueError(f"no cap at the quantile {quantile} of {values.size} values")
    return float(np.quantile(values, quantile, method="inverted_cdf"))


def capped_tally(values: Floats, cap: float) -> Tally:
    """Tally one arm's values with everything above `cap` counted as `cap`."""
    if values.size == 0:
        return Tally(0.0, 0.0, 0.0)
    capped = np.minimum(values, cap)
    mean = capped.mean()
    return Tally(float(values.size), float(capped.sum()), float(((capped - mean) ** 2).sum()))


def needs_cap(n: Floats, skewness: Floats) -> Mask:
    """Say where `n` visitors are too few for a normal mean of values so skewed: n < 355 skewness^2.

    Kohavi, Deng, Longbotham & Xu 2014, rule of thumb 7.
    """
    return np.asarray(n < 355.0 * skewness * skewness)
