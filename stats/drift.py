"""Signs that a result will not last or was there before: novelty, and imbalance before the start."""

import numpy as np

from stats import tails
from stats.saddle_point import Floats, Mask

IMBALANCE_Z = 3.3


@np.errstate(all="ignore")
def novelty(differences: Floats, variances: Floats, days: Floats) -> tuple[Floats, Floats]:
    """Give the change of the difference per day, and the two-sided p-value against no change.

    Weighted least squares of each day's difference (last axis) on its day; days without a variance above 0
    are left out, and nan stands where fewer than three are left. Independent days: each visitor counts on
    the day of the first exposure.
    """
    usable = np.isfinite(variances) & (variances > 0.0) & np.isfinite(differences)
    weight = np.where(usable, 1.0 / np.where(usable, variances, 1.0), 0.0)
    value = np.where(usable, differences, 0.0)
    total = weight.sum(axis=-1, keepdims=True)
    apart = days - (weight * days).sum(axis=-1, keepdims=True) / total
    information = (weight * apart * apart).sum(axis=-1)
    slope = (weight * apart * value).sum(axis=-1) / information
    enough = (usable.sum(axis=-1) > 2) & (information > 0.0)  # noqa: PLR2004
    return np.where(enough, slope, np.nan), np.where(enough, tails.two_sided(slope * np.sqrt(information)), np.nan)


def imbalanced(z: Floats) -> Mask:
    """Say where a covariate from before the start differs by more than chance would (|z| > 3.3, 1 in 1,000)."""
    return np.asarray(np.abs(z) > IMBALANCE_Z)
