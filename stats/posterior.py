"""The Bayesian second view: a normal posterior of the log ratio under a stated normal prior about 0."""

import numpy as np
from scipy import special

from stats.saddle_point import Floats


@np.errstate(all="ignore")
def log_ratio_posterior(estimate: Floats, variance: Floats, prior_sd: float) -> tuple[Floats, Floats]:
    """Give the chance that the log ratio is above 0 and the expected loss of acting as if it were.

    The loss is in units of the log ratio: near 0, a fraction of the control's mean.
    """
    prior = prior_sd * prior_sd
    trust = prior / (prior + variance)
    mean, sd = estimate * trust, np.sqrt(variance * trust)
    t = mean / sd
    chance: Floats = special.ndtr(t)
    loss: Floats = sd * (np.exp(-0.5 * t * t) / np.sqrt(2.0 * np.pi) - t * special.ndtr(-t))
    return chance, np.maximum(loss, 0.0)
