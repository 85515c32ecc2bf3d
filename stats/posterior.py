"""The Bayesian second view: a normal posterior under a stated normal prior, and what a choice risks."""

import numpy as np

from stats import special
from stats.saddle_point import Floats


@np.errstate(all="ignore")
def normal_posterior(
    estimate: Floats, variance: Floats, prior_mean: Floats | float = 0.0, prior_variance: Floats | float = np.inf
) -> tuple[Floats, Floats]:
    """Give mean and standard deviation of an effect after an estimate with this variance was seen.

    An infinite prior variance is the flat prior, whose intervals are those of one look: no protection
    against looking often.
    """
    trust = np.where(np.isinf(prior_variance), 1.0, prior_variance / (prior_variance + variance))
    mean = estimate * trust + prior_mean * (1.0 - trust)
    return mean, np.sqrt(variance * trust)


@np.errstate(all="ignore")
def chance_and_losses(mean: Floats, sd: Floats) -> tuple[Floats, Floats, Floats]:
    """Give the chance that an effect is above 0, and the expected loss of choosing it and of leaving it.

    Closed form, E max(-effect, 0) = sd phi(t) - mean Phi(-t): in units of the effect.
    """
    t = mean / sd
    chance: Floats = special.ndtr(t)
    density = np.exp(-0.5 * t * t) / np.sqrt(2.0 * np.pi)
    choosing: Floats = sd * (density - t * special.ndtr(-t))
    leaving: Floats = sd * (density + t * chance)
    return chance, np.maximum(choosing, 0.0), np.maximum(leaving, 0.0)


def log_ratio_posterior(estimate: Floats, variance: Floats, prior_sd: float) -> tuple[Floats, Floats]:
    """Give the chance that the log ratio is above 0 and the expected loss of acting as if it were.

    The loss is in units of the log ratio: near 0, a fraction of the control's mean.
    """
    mean, sd = normal_posterior(estimate, variance, 0.0, prior_sd * prior_sd)
    chance, loss, _ = chance_and_losses(mean, sd)
    return chance, loss
