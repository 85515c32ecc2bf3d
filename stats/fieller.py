"""Fieller's interval of a ratio of two means, with whatever critical value their difference has."""

import numpy as np

from stats.saddle_point import Floats, Mask


@np.errstate(all="ignore")
def lift_interval(
    mean0: Floats,
    v0: Floats,
    mean1: Floats,
    v1: Floats,
    critical: Floats,
    *,
    covariance: Floats | float = 0.0,
    least: Floats | float = -np.inf,
) -> tuple[Floats, Floats]:
    """Give the limits of mean 1 / mean 0 - 1 for mean 0 > 0, -inf and inf where unbounded.

    Fieller 1954: every ratio r with |mean1 - r mean0| <= critical * sqrt(v1 - 2 r covariance + r^2 v0), so
    that no lift is excluded exactly when the difference's interval with the same `critical` excludes 0.
    `v` are variances of the means. The true mean 0 is taken as positive, which leaves one ray of the two
    that an imprecise mean 0 gives. `least` is the smallest lift there can be: -1 for values that are
    never negative.
    """
    # What is left of mean 1 beside mean 0: the covariance becomes a shift of the ratio.
    slope = np.where(v0 > 0.0, covariance / v0, 0.0)
    rest1, v_rest = mean1 - slope * mean0, np.maximum(v1 - slope * covariance, 0.0)
    noise0, noise1 = critical * np.sqrt(v0), critical * np.sqrt(v_rest)
    noise = np.hypot(noise1, (1.0 - slope) * noise0)
    # Everything in units of the largest: no square leaves the range of a float.
    unit = np.maximum(np.maximum(mean0, np.abs(mean1)), np.maximum(noise0, noise))
    m0, m1, noise0, noise1, noise = mean0 / unit, rest1 / unit, noise0 / unit, noise1 / unit, noise / unit
    # The limits solve a x^2 - 2 b x + c = 0 in the lift x; c > 0 exactly when no lift is excluded.
    difference = (mean1 - mean0) / unit
    apart = np.abs(difference)
    a, c = (m0 - noise0) * (m0 + noise0), (apart - noise) * (apart + noise)
    b = m0 * difference + (1.0 - slope) * noise0 * noise0
    inside = (m1 * noise0) ** 2 + noise1 * noise1 * a
    root = np.sqrt(np.maximum(inside, 0.0))
    up, down = b + root, b - root
    low = np.where(b >= 0.0, c / up, down / a)
    high = np.where(b >= 0.0, up / a, c / down)
    ray = a <= 0.0
    if ray.any():
        low, high = _one_ray(low, high, c / down, c, m1, ray, ray & (inside < 0.0))
    return np.maximum(low, least), high


def _one_ray(
    low: Floats, high: Floats, upper: Floats, c: Floats, m1: Floats, ray: Mask, whole: Mask
) -> tuple[Floats, Floats]:
    """Keep the ray that holds the estimate; where the dropped one holds "no lift", nothing is excluded."""
    # With a correlation the upper ray may begin above no lift while the lower one holds it.
    low = np.where(whole | (ray & ((m1 < 0.0) | ((c <= 0.0) & (low > 0.0)))), -np.inf, low)
    high = np.where(ray & ((m1 >= 0.0) | whole | (c <= 0.0)), np.inf, high)
    return low, np.where(ray & ~whole & (m1 < 0.0) & (c > 0.0), upper, high)
