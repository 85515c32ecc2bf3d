"""Two means: Welch's test, the variance restricted to the hypothesis, and Fieller's interval of the lift."""

import numpy as np
from scipy import special

from stats.saddle_point import Floats


def welch_df(v0: Floats, n0: Floats, v1: Floats, n1: Floats) -> Floats:
    """Give the Welch-Satterthwaite degrees of freedom for the variances `v` of two means."""
    share0, share1 = v0 / (v0 + v1), v1 / (v0 + v1)
    return 1.0 / (share0 * share0 / (n0 - 1.0) + share1 * share1 / (n1 - 1.0))


def welch_p(t: Floats, df: Floats) -> Floats:
    """Give the two-sided p-value of Welch's t."""
    p: Floats = 2.0 * special.stdtr(df, -np.abs(t))
    return p


def welch_critical(df: Floats, alpha: float) -> Floats:
    """Give the t beyond which Welch's test rejects at the two-sided level `alpha`."""
    critical: Floats = -special.stdtrit(df, alpha / 2.0)
    return critical


@np.errstate(all="ignore")
def restricted(
    difference: Floats, v0: Floats, n0: Floats, v1: Floats, n1: Floats, *, critical: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Give z squared, the two variances and the widened critical value for monitoring two means.

    Both Welch's and the pooled variance are taken about means bound to the hypothesis, which adds
    h * difference^2 to them; the one with the weaker evidence is used. A small arm that has not yet met
    its rare large values cannot look precise. inf where no interval exists.
    """
    total = n0 + n1
    share0, share1 = v0 / (v0 + v1), v1 / (v0 + v1)
    h_welch = share0 * share0 / n0 + share1 * share1 / n1
    within = (v0 * n0 * (n0 - 1.0) + v1 * n1 * (n1 - 1.0)) / (total - 2.0)
    h_pooled = 1.0 / total
    widest = [
        critical * critical * v / np.maximum(1.0 - critical * critical * h, 0.0)
        for v, h in ((v0 + v1, h_welch), (within / n0 + within / n1, h_pooled))
    ]
    pooled = widest[1] > widest[0]
    v0, v1 = np.where(pooled, within / n0, v0), np.where(pooled, within / n1, v1)
    h = np.where(pooled, h_pooled, h_welch)
    z_squared: Floats = 1.0 / ((v0 + v1) / difference / difference + h)
    widened: Floats = critical / np.sqrt(np.maximum(1.0 - critical * critical * h, 0.0))
    return np.where(difference == 0.0, 0.0, z_squared), v0, v1, widened


@np.errstate(all="ignore")
def fieller_lift(
    mean0: Floats, v0: Floats, mean1: Floats, v1: Floats, critical: Floats, *, least: float
) -> tuple[Floats, Floats]:
    """Give the limits of mean 1 / mean 0 - 1 for mean 0 > 0, -inf and inf where unbounded.

    Fieller 1954: every ratio r with |mean1 - r mean0| <= critical * sqrt(v1 + r^2 v0), so that no lift is
    excluded exactly when mean1 - mean0 +- critical * sqrt(v0 + v1) excludes 0. The true mean 0 is taken
    as positive, which leaves one ray of the two that an imprecise mean 0 gives. `least` is the smallest
    lift there can be: -1 for values that are never negative, else -inf.
    """
    # Everything in units of the largest: no square leaves the range of a float.
    noise0, noise1 = critical * np.sqrt(v0), critical * np.sqrt(v1)
    unit = np.maximum(np.maximum(mean0, np.abs(mean1)), np.maximum(noise0, noise1))
    m0, m1, noise0, noise1 = mean0 / unit, mean1 / unit, noise0 / unit, noise1 / unit
    # The limits solve a x^2 - 2 b x + c = 0 in the lift x; c > 0 exactly when no lift is excluded.
    apart, noise = np.abs(mean1 - mean0) / unit, np.hypot(noise0, noise1)
    a, c = (m0 - noise0) * (m0 + noise0), (apart - noise) * (apart + noise)
    b = m0 * ((mean1 - mean0) / unit) + noise0 * noise0
    inside = (m1 * noise0) ** 2 + noise1 * noise1 * a
    root = np.sqrt(np.maximum(inside, 0.0))
    low = np.where(b >= 0.0, c / (b + root), (b - root) / a)
    high = np.where(b >= 0.0, (b + root) / a, c / (b - root))
    ray, whole = a <= 0.0, (a <= 0.0) & (inside < 0.0)
    # A dropped ray may hold "no lift": then nothing can be excluded.
    low = np.where(whole | (ray & (m1 < 0.0)), -np.inf, low)
    high = np.where(ray & ((m1 >= 0.0) | whole | (c <= 0.0)), np.inf, high)
    high = np.where(ray & ~whole & (m1 < 0.0) & (c > 0.0), c / (b - root), high)
    return np.maximum(low, least), high
