"""Non-inferiority and equivalence: that a difference is no worse, or no larger, than a margin."""

import numpy as np

from stats import special
from stats.saddle_point import Floats


@np.errstate(all="ignore")
def not_worse_p(difference: Floats, se: Floats, df: Floats, margin: Floats | float) -> Floats:
    """Give the one-sided p-value against "the difference is -margin or less", margin >= 0."""
    p: Floats = special.stdtr(df, -(difference + margin) / se)
    return p


@np.errstate(all="ignore")
def equivalent_p(difference: Floats, se: Floats, df: Floats, low: Floats | float, high: Floats | float) -> Floats:
    """Give the p-value against "the difference is outside (low, high)": the larger of two one-sided ones.

    Schuirmann 1987. Below alpha exactly when the two-sided 1 - 2 alpha interval lies within.
    """
    above_low = special.stdtr(df, -(difference - low) / se)
    below_high = special.stdtr(df, (difference - high) / se)
    p: Floats = np.maximum(above_low, below_high)
    return p


@np.errstate(all="ignore")
def lift_not_worse_p(
    mean0: Floats, v0: Floats, mean1: Floats, v1: Floats, df: Floats, margin: Floats | float
) -> Floats:
    """Give the one-sided p-value against "the lift is -margin or less", for a control mean above 0.

    Tests mean 1 - (1 - margin) mean 0 directly, so no ratio is formed (Fieller).
    """
    kept = 1.0 - np.asarray(margin)
    p: Floats = special.stdtr(df, -(mean1 - kept * mean0) / np.sqrt(v1 + kept * kept * v0))
    return p
