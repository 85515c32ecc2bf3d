"""Two means with the variances of these means: what means, ratio metrics, CUPED and strata come down to."""

import msgspec
import numpy as np

from stats.arms import Arms
from stats.means import welch_df
from stats.saddle_point import Floats


class Moments(msgspec.Struct, frozen=True):
    """Means of arm 0 (control) and arm 1, the variances `v` of these means and their covariance.

    `n` are visitors, `df` the degrees of freedom of the difference's variance. `poolable`: the arms have
    one variance under the hypothesis of no difference, so that it may be estimated from both.
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
