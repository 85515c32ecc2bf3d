"""Two means with the variances of these means: what means, ratio metrics, CUPED and strata come down to."""

import msgspec
import numpy as np

from stats.arms import Arms
from stats.means import welch_df
from stats.saddle_point import Floats


class Moments(msgspec.Struct, frozen=True):
    """Means of arm 0 (control) and arm 1, the variances `v` of these means and their covariance.

    `n` are visitors, `df` the degrees of freedom of the difference's variance. `poolable`: the arms have
    one variance under the hypothesis of no difference, so that it may be estimated from both. `spreads` are the
    variances of the means over these means, of arm 0 and of arm 1, where they are known better than by dividing.
    """

    mean0: Floats
    v0: Floats
    n0: Floats
    mean1: Floats
    v1: Floats
    n1: Floats
    df: Floats
    covariance: Floats | float = 0.0
    poolable: bool = True
    spreads: tuple[Floats, Floats] | None = None

    @property
    def difference(self) -> Floats:
        """Give mean 1 less mean 0."""
        return self.mean1 - self.mean0

    @property
    def variance(self) -> Floats:
        """Give the variance of the difference."""
        return np.maximum(self.v0 + self.v1 - 2.0 * self.covariance, 0.0)


@np.errstate(all="ignore")
def of_means(control: Arms, treatment: Arms) -> Moments:
    """Take the means of independent arms, with Welch's degrees of freedom; nan below two visitors."""
    v0, v1 = control.variance_of_mean, treatment.variance_of_mean
    return Moments(
        mean0=control.mean,
        v0=v0,
        n0=control.n,
        mean1=treatment.mean,
        v1=v1,
        n1=treatment.n,
        df=welch_df(v0, control.n, v1, treatment.n),
    )


class Restricted(msgspec.Struct, frozen=True):
    """The means' variances and z squared under the hypothesis, and the critical value widened by it."""

    z_squared: Floats
    v0: Floats
    v1: Floats
    critical: Floats


@np.errstate(all="ignore")
def restricted(moments: Moments, critical: Floats) -> Restricted:
    """Take the variances about means bound to "no difference", as monitoring needs; inf: no interval yet.

    That adds h * difference^2 to a variance, h its share of a visitor. Of the arms' own variance and a
    common one, where the arms are `poolable`, the weaker evidence is used: a small arm that has not yet
    met its rare large values cannot look precise.
    """
    difference, variance, n0, n1 = moments.difference, moments.variance, moments.n0, moments.n1
    v0, v1 = moments.v0, moments.v1
    square = critical * critical
    if moments.poolable:
        share0, share1 = v0 / variance, v1 / variance
        h = share0 * share0 / n0 + share1 * share1 / n1
        h_common = 1.0 / (n0 + n1)
        within = (v0 * n0 * (n0 - 1.0) + v1 * n1 * (n1 - 1.0)) / (n0 + n1 - 2.0)
        common = within / n0 + within / n1
        widest, widest_common = (
            square * v / np.maximum(1.0 - square * each, 0.0) for v, each in ((variance, h), (common, h_common))
        )
        pooled = widest_common > widest
        v0, v1 = np.where(pooled, within / n0, v0), np.where(pooled, within / n1, v1)
        h, variance = np.where(pooled, h_common, h), np.where(pooled, common, variance)
    else:
        h = 1.0 / moments.df
    z_squared = 1.0 / (variance / difference / difference + h)
    widened = critical / np.sqrt(np.maximum(1.0 - square * h, 0.0))
    return Restricted(np.where(difference == 0.0, 0.0, z_squared), v0, v1, widened)
