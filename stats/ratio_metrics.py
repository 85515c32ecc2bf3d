"""Ratio metrics: a sum over visitors divided by another, as revenue per order, by the delta method.

Orders are not independent, visitors are: the variance is that of visitors.
"""

import msgspec
import numpy as np

from stats.means import welch_df
from stats.moments import Moments
from stats.saddle_point import Floats


class RatioArm(msgspec.Struct, frozen=True):
    """One arm: visitors, means of numerator and denominator, and their centred squares and products."""

    n: Floats
    numerator: Floats
    denominator: Floats
    numerator_m2: Floats
    denominator_m2: Floats
    product: Floats


@np.errstate(all="ignore")
def ratio_of_means(arm: RatioArm) -> tuple[Floats, Floats]:
    """Give numerator / denominator and its variance (Deng, Knoblich & Lu 2018, eq. 4).

    Each visitor counts as numerator - ratio * denominator, over the mean denominator. nan for a
    denominator of 0 and below two visitors.
    """
    ratio = arm.numerator / arm.denominator
    m2 = arm.numerator_m2 - 2.0 * ratio * arm.product + ratio * ratio * arm.denominator_m2
    variance = np.maximum(m2, 0.0) / (arm.n * (arm.n - 1.0)) / (arm.denominator * arm.denominator)
    return ratio, variance


@np.errstate(all="ignore")
def of_ratios(control: RatioArm, treatment: RatioArm) -> Moments:
    """Take the ratios of two independent arms as their means."""
    (mean0, v0), (mean1, v1) = ratio_of_means(control), ratio_of_means(treatment)
    return Moments(
        mean0=mean0,
        v0=v0,
        n0=control.n,
        mean1=mean1,
        v1=v1,
        n1=treatment.n,
        df=welch_df(v0, control.n, v1, treatment.n),
    )
