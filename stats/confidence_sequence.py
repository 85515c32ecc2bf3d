"""The always-valid kernel: one normal mixture, valid at every look at once.

Asymptotic confidence sequence (Waudby-Smith et al. 2023, eq. 9; Howard et al. 2021, eq. 14); the same
formula as the mixture sequential probability ratio test. `n` counts the visitors of both arms.
"""

import numpy as np

from stats import special
from stats.saddle_point import Floats

_STEPS_MAX = 60


def mixing_ratio(planned_n: Floats | float, alpha: Floats | float) -> Floats:
    """Give the prior's weight in visitors that makes the interval narrowest near `planned_n` visitors."""
    evidence = -2.0 * np.log(alpha)
    ratio: Floats = planned_n / (evidence + np.log1p(evidence))
    return ratio


def exact_mixing_ratio(planned_n: Floats | float, alpha: Floats | float) -> Floats:
    """Give the prior's weight that makes the interval narrowest at exactly `planned_n` visitors.

    By the lower branch of Lambert's W; the interval there is 3e-5 narrower than with `mixing_ratio`.
    """
    level = np.asarray(alpha, dtype=np.float64)
    ratio: Floats = planned_n / (-special.lambertw(-level * level / np.e, -1).real - 1.0)
    return ratio


def multiplier(n: Floats, planned_n: Floats | float, alpha: Floats | float) -> Floats:
    """Give the number of standard errors on either side that holds at every look, level 1 - `alpha`."""
    return multiplier_of(n, mixing_ratio(planned_n, alpha), -2.0 * np.log(alpha))


def multiplier_of(n: Floats, g: Floats | float, evidence: Floats | float) -> Floats:
    """Give the same from the prior's weight and the evidence asked for, -2 ln alpha."""
    squared: Floats = (1.0 + g / n) * (np.log1p(n / g) + evidence)
    return np.sqrt(squared)


def log_e_value(z_squared: Floats, n: Floats, g: Floats | float) -> Floats:
    """Give the logarithm of the evidence against "no difference", an e-value at every look."""
    evidence: Floats = 0.5 * (z_squared * (n / (n + g)) - np.log1p(n / g))
    return evidence


@np.errstate(all="ignore")
def p_value(z_squared: Floats, n: Floats, planned_n: Floats | float, alpha: Floats | float) -> Floats:
    """Give the always-valid p-value, below `alpha` exactly when |z| is beyond `multiplier`."""
    log_e = log_e_value(z_squared, n, mixing_ratio(planned_n, alpha))
    p: Floats = np.exp(-np.maximum(log_e, 0.0))
    return p


def boundary(v: Floats | float, v_planned: Floats | float, alpha: float) -> Floats:
    """Give the sum that a martingale of variance `v` exceeds in size, ever, with chance `alpha` at most.

    Howard et al. 2021, eq. 14, narrowest near the variance `v_planned`.
    """
    rho = mixing_ratio(v_planned, alpha)
    bound: Floats = np.sqrt((v + rho) * (np.log1p(v / rho) - 2.0 * np.log(alpha)))
    return bound


def one_sided_boundary(v: Floats | float, v_planned: Floats | float, alpha: float) -> Floats:
    """Give the sum that a martingale of variance `v` exceeds, ever, with chance `alpha` at most.

    The half-normal mixture of Howard et al. 2021 (proposition 6), by Newton from above.
    """
    rho = mixing_ratio(v_planned, 2.0 * alpha)
    total = np.asarray(v + rho, dtype=np.float64)
    # In units of sqrt(v + rho): x^2 / 2 + ln Phi(x) = target, increasing and nearly a parabola.
    target = -np.log(alpha) - 0.5 * np.log(4.0 * rho / total)
    x = np.sqrt(2.0 * np.maximum(target, 0.0)) + 1.0
    for _ in range(_STEPS_MAX):
        log_phi = special.log_ndtr(x)
        slope = x + np.exp(-0.5 * x * x - log_phi) / np.sqrt(2.0 * np.pi)
        step = (0.5 * x * x + log_phi - target) / slope
        x = x - step
        if (np.abs(step) < 1e-14 * (1.0 + np.abs(x))).all():
            break
    bound: Floats = x * np.sqrt(total)
    return bound
