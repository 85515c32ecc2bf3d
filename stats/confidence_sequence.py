"""The always-valid kernel: one normal mixture, valid at every look at once.

Asymptotic confidence sequence (Waudby-Smith et al. 2023, eq. 9; Howard et al. 2021, eq. 14); the same
formula as the mixture sequential probability ratio test. `n` counts the visitors of both arms.
"""

import numpy as np

from stats.saddle_point import Floats


def mixing_ratio(planned_n: float, alpha: float) -> float:
    """Give the prior's weight in visitors that makes the interval narrowest near `planned_n` visitors."""
    evidence = -2.0 * float(np.log(alpha))
    return planned_n / (evidence + float(np.log1p(evidence)))


def multiplier(n: Floats, planned_n: float, alpha: float) -> Floats:
    """Give the number of standard errors on either side that holds at every look, level 1 - `alpha`."""
    g = mixing_ratio(planned_n, alpha)
    squared: Floats = (1.0 + g / n) * (np.log1p(n / g) - 2.0 * np.log(alpha))
    return np.sqrt(squared)


@np.errstate(all="ignore")
def p_value(z_squared: Floats, n: Floats, planned_n: float, alpha: float) -> Floats:
    """Give the always-valid p-value, below `alpha` exactly when |z| is beyond `multiplier`."""
    g = mixing_ratio(planned_n, alpha)
    log_e = 0.5 * (z_squared * (n / (n + g)) - np.log1p(n / g))
    p: Floats = np.exp(-np.maximum(log_e, 0.0))
    return p
