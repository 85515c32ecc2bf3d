"""Quantiles of values, as a page's P90 load time, with an interval from order statistics.

Deng, Knoblich & Lu 2018, section 4: the outer interval of ranks, and its width as the standard error.
"""

import msgspec
import numpy as np

from stats import tails
from stats.means import welch_df
from stats.moments import Moments
from stats.saddle_point import Floats


class QuantileArm(msgspec.Struct, frozen=True):
    """One arm: observations, the quantile, and the order statistics at its outer ranks for `alpha`."""

    n: Floats
    quantile: Floats
    low: Floats
    high: Floats


def outer_ranks(n: int, q: float, alpha: float = 0.05, cluster_factor: float = 1.0) -> tuple[int, int]:
    """Give the ranks, from 1, between which the quantile `q` lies with chance 1 - `alpha` about.

    `cluster_factor` is the variance of a share of observations over that of independent ones, above 1 when
    visitors bring several observations each.
    """
    margin = float(tails.critical(alpha)) * np.sqrt(n * q * (1.0 - q) * cluster_factor)
    return max(1, int(np.floor(n * q - margin))), min(n, int(np.ceil(n * q + margin)) + 1)


def of_values(values: Floats, q: float, alpha: float = 0.05, cluster_factor: float = 1.0) -> QuantileArm:
    """Take the quantile of one arm's values with its outer order statistics; raises ValueError for none."""
    if values.size == 0 or not 0.0 < q < 1.0:
        raise ValueError(f"no quantile {q} of {values.size} values")
    ordered = np.sort(values)
    low, high = outer_ranks(values.size, q, alpha, cluster_factor)
    at = ordered[min(values.size - 1, int(np.floor(values.size * q)))]
    return QuantileArm(
        *(np.asarray(x, np.float64) for x in (values.size, at, ordered[low - 1], ordered[high - 1]))
    )


def of_quantiles(control: QuantileArm, treatment: QuantileArm, alpha: float = 0.05) -> Moments:
    """Take the quantiles of two independent arms as their means; equal outer ranks are a variance of 0.

    The standard error is the outer interval's width over 2 z (with n - 1 for n, as of a sample): ranks must
    have been taken at `alpha`.
    """
    z = tails.critical(alpha)
    v0, v1 = (((arm.high - arm.low) / (2.0 * z)) ** 2 * ((arm.n - 1.0) / arm.n) for arm in (control, treatment))
    return Moments(
        mean0=control.quantile,
        v0=v0,
        n0=control.n,
        mean1=treatment.quantile,
        v1=v1,
        n1=treatment.n,
        df=welch_df(v0, control.n, v1, treatment.n),
        poolable=False,
    )
