"""Arms compared within each epoch and combined: the number to report when weights changed on the way.

Pooling across a change of weights compares different times with each other: a 90/10 run that becomes
50/50 while the rate drifts shows a lift that is not there.
"""

import numpy as np

from stats.arms import Arms
from stats.means import welch_df
from stats.moments import Moments
from stats.saddle_point import Floats

_VISITORS_MIN = 2.0


@np.errstate(all="ignore")
def of_epochs(control: Arms, treatment: Arms, *, proportions: bool = False) -> Moments:
    """Average the epochs' means (axis 0), each weighed by the visitors of both arms in it.

    Post-stratification (Cochran 1977, 5A.9; Miratrix, Sekhon & Yu 2013). An epoch in which an arm has
    fewer than two visitors compares nothing and is left out. For `proportions` the variance of an epoch
    is that of a common rate where it is larger: a small arm without converters does not look precise.
    """
    complete = (control.n >= _VISITORS_MIN) & (treatment.n >= _VISITORS_MIN)
    total = np.where(complete, control.n + treatment.n, 0.0)
    weight = total / total.sum(axis=0)
    square = weight * weight
    v0, v1, spreads = control.variance_of_mean, treatment.variance_of_mean, None
    if proportions:
        common0, common1 = _common_variances(control, treatment)
        rate = _over_epochs(weight, (control.sum + treatment.sum) / total)
        spreads = _over_epochs(square, common0) / rate, _over_epochs(square, common1) / rate
        larger = _over_epochs(square, common0 + common1) > _over_epochs(square, v0 + v1)
        v0, v1 = np.where(larger, common0, v0), np.where(larger, common1, v1)
    parts = (weight * control.mean, square * v0, weight * treatment.mean, square * v1)
    mean0, s0, mean1, s1 = (np.where(complete, part, 0.0).sum(axis=0) for part in parts)
    share = np.where(complete, square * (v0 + v1) / (s0 + s1), 0.0)
    df = 1.0 / np.where(share > 0.0, share * share / welch_df(v0, control.n, v1, treatment.n), 0.0).sum(axis=0)
    n0, n1 = (np.where(complete, arm.n, 0.0).sum(axis=0) for arm in (control, treatment))
    return Moments(mean0, s0, n0, mean1, s1, n1, df, poolable=False, spreads=spreads)


def _over_epochs(weight: Floats, each: Floats) -> Floats:
    total: Floats = np.where(weight > 0.0, weight * each, 0.0).sum(axis=0)
    return total


def _common_variances(control: Arms, treatment: Arms) -> tuple[Floats, Floats]:
    total = control.n + treatment.n
    rate = (control.sum + treatment.sum) / total
    spread = rate * (1.0 - rate) * total / (total - 1.0)
    return spread / control.n, spread / treatment.n
