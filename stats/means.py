"""Welch's degrees of freedom of a difference of two means."""

from stats.saddle_point import Floats


def welch_df(v0: Floats, n0: Floats, v1: Floats, n1: Floats) -> Floats:
    """Give the Welch-Satterthwaite degrees of freedom for the variances `v` of two means."""
    share0, share1 = v0 / (v0 + v1), v1 / (v0 + v1)
    return 1.0 / (share0 * share0 / (n0 - 1.0) + share1 * share1 / (n1 - 1.0))
