"""CUPED: means adjusted by what was known of visitors before they saw anything.

Deng, Xu, Kohavi & Walker 2013; per arm after Lin 2013, which no split and no heterogeneous effect harms.
The adjusted means share the pooled mean of the covariates: they covary, and Fieller is told so.
"""

from typing import Literal

import msgspec
import numpy as np

from stats.arms import Arms
from stats.means import welch_df
from stats.moments import Moments, of_means
from stats.saddle_point import Floats

# Covariates more collinear than this are ridged.
_CONDITION_MAX = 1e10
_RIDGE = 1e-8


class CovariateArm(msgspec.Struct, frozen=True):
    """One arm with p covariates: visitors, means, centred squares and products.

    Shapes: `n`, `y`, `yy` (...), `x` and `xy` (..., p), `xx` (..., p, p).
    """

    n: Floats
    y: Floats
    yy: Floats
    x: Floats
    xx: Floats
    xy: Floats

    @property
    def arms(self) -> Arms:
        """Give the arm as it is without covariates."""
        return Arms(self.n, self.y * self.n, self.yy)


class Adjusted(msgspec.Struct, frozen=True):
    """Adjusted means and the unadjusted ones beside them.

    `theta0`, `theta1` (..., p) are the slopes of the arms, `variance_ratio` the variance of the difference
    after adjustment over that before, `imbalance_z` (..., p) how far the covariates themselves differ.
    """

    adjusted: Moments
    unadjusted: Moments
    theta0: Floats
    theta1: Floats
    variance_ratio: Floats
    imbalance_z: Floats


@np.errstate(all="ignore")
def adjust(
    control: CovariateArm,
    treatment: CovariateArm,
    slopes: Literal["per_arm", "pooled", "within"] = "per_arm",
) -> Adjusted:
    """Adjust both means to the covariates that all visitors together have.

    Slopes `per_arm` (Lin 2013), `pooled` over all visitors (Deng et al. 2013) or `within` arms (ANCOVA).
    Needs more visitors in each arm than covariates + 1; nan below.
    """
    theta0, theta1 = _slopes(control, treatment, slopes)
    n = control.n + treatment.n
    center = (control.n[..., None] * control.x + treatment.n[..., None] * treatment.x) / n[..., None]
    # The variance of that center, as of means of visitors.
    spread = merge(control, treatment).xx / (n * (n - 1.0))[..., None, None]
    # Slopes of its own cost an arm as many degrees of freedom as there are covariates.
    spent = 1.0 + (control.x.shape[-1] if slopes == "per_arm" else 0)
    (mean0, v0, left0), (mean1, v1, left1) = (
        _about(arm, theta, center, spent) for arm, theta in ((control, theta0), (treatment, theta1))
    )
    covariance = _form(theta0, spread, theta1) + (_dot(theta1, left0) + _dot(theta0, left1)) / n
    total0 = v0 + _form(theta0, spread, theta0) + 2.0 * _dot(theta0, left0) / n
    total1 = v1 + _form(theta1, spread, theta1) + 2.0 * _dot(theta1, left1) / n
    plain = of_means(control.arms, treatment.arms)
    adjusted = Moments(
        mean0=mean0,
        v0=np.maximum(total0, 0.0),
        n0=control.n,
        mean1=mean1,
        v1=np.maximum(total1, 0.0),
        n1=treatment.n,
        df=welch_df(v0, control.n, v1, treatment.n),
        covariance=covariance,
        poolable=False,
    )
    return Adjusted(
        adjusted, plain, theta0, theta1, adjusted.variance / plain.variance, imbalance_z(control, treatment)
    )


@np.errstate(all="ignore")
def imbalance_z(control: CovariateArm, treatment: CovariateArm) -> Floats:
    """Give how many standard errors the arms' covariates are apart; beyond 3.3, assignment is suspect."""
    variance = _diagonal(control) + _diagonal(treatment)
    z: Floats = np.where(variance > 0.0, (treatment.x - control.x) / np.sqrt(variance), 0.0)
    return z


@np.errstate(all="ignore")
def merge(a: CovariateArm, b: CovariateArm) -> CovariateArm:
    """Tally two disjoint groups of visitors of one arm as one (Chan, Golub & LeVeque 1983)."""
    n = a.n + b.n
    dy, dx = b.y - a.y, b.x - a.x
    weight = a.n * (b.n / n)
    return CovariateArm(
        n=n,
        y=a.y + dy * (b.n / n),
        yy=a.yy + b.yy + dy * dy * weight,
        x=a.x + dx * (b.n / n)[..., None],
        xx=a.xx + b.xx + dx[..., :, None] * dx[..., None, :] * weight[..., None, None],
        xy=a.xy + b.xy + dx * (dy * weight)[..., None],
    )


def _slopes(control: CovariateArm, treatment: CovariateArm, slopes: str) -> tuple[Floats, Floats]:
    if slopes == "per_arm":
        return _solve(control.xx, control.xy), _solve(treatment.xx, treatment.xy)
    if slopes == "within":
        theta = _solve(control.xx + treatment.xx, control.xy + treatment.xy)
    else:
        whole = merge(control, treatment)
        theta = _solve(whole.xx, whole.xy)
    return theta, theta


def _solve(xx: Floats, xy: Floats) -> Floats:
    """Give the least-squares slopes; a covariate without variance gets 0, collinear ones are ridged."""
    scale = np.sqrt(np.einsum("...ii->...i", xx))
    scale = np.where(scale > 0.0, scale, 1.0)
    matrix = xx / scale[..., :, None] / scale[..., None, :]
    identity = np.eye(xx.shape[-1])
    empty = np.einsum("...ii->...i", matrix) <= 0.0
    matrix = matrix + empty[..., :, None] * identity
    usable = np.isfinite(matrix).all(axis=(-2, -1))
    matrix = np.where(usable[..., None, None], matrix, identity)
    collinear = np.linalg.cond(matrix) > _CONDITION_MAX
    matrix = matrix + np.where(collinear, _RIDGE, 0.0)[..., None, None] * identity
    slopes: Floats = np.linalg.solve(matrix, (xy / scale)[..., None])[..., 0] / scale
    return slopes


def _about(arm: CovariateArm, theta: Floats, center: Floats, spent: float) -> tuple[Floats, Floats, Floats]:
    """Give the adjusted mean, the variance of its residuals' mean, and what they still share with x."""
    mean = arm.y - _dot(theta, arm.x - center)
    m2 = arm.yy - 2.0 * _dot(theta, arm.xy) + _form(theta, arm.xx, theta)
    left = (arm.xy - np.einsum("...ij,...j->...i", arm.xx, theta)) / (arm.n - 1.0)[..., None]
    return mean, np.where(arm.n > spent, np.maximum(m2, 0.0) / (arm.n * (arm.n - spent)), np.nan), left


def _diagonal(arm: CovariateArm) -> Floats:
    diagonal: Floats = np.einsum("...ii->...i", arm.xx) / (arm.n * (arm.n - 1.0))[..., None]
    return diagonal


def _dot(a: Floats, b: Floats) -> Floats:
    product: Floats = np.einsum("...i,...i->...", a, b)
    return product


def _form(a: Floats, matrix: Floats, b: Floats) -> Floats:
    form: Floats = np.einsum("...i,...ij,...j->...", a, matrix, b)
    return form
