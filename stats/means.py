"""Two means: Welch's degrees of freedom, and the variance restricted to the hypothesis for monitoring."""

import numpy as np

from stats.saddle_point import Floats


def welch_df(v0: Floats, n0: Floats, v1: Floats, n1: Floats) -> Floats:
    """Give the Welch-Satterthwaite degrees of freedom for the variances `v` of two means."""
    share0, share1 = v0 / (v0 + v1), v1 / (v0 + v1)
    return 1.0 / (share0 * share0 / (n0 - 1.0) + share1 * share1 / (n1 - 1.0))


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
