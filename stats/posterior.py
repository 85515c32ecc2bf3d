"""The Bayesian second view: a posterior under a stated normal prior, and what a choice risks."""

import numpy as np

from stats import special
from stats.saddle_point import Floats

# Four or five are what is needed; far from a wide prior's middle more.
_NEWTON_STEPS_MAX = 60
_NEWTON_STEP_MAX = 1.0
_NEWTON_TOLERANCE = 1e-9


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


@np.errstate(all="ignore")
def ratio_of_means_posterior(
    mean0: Floats, spread0: Floats, mean1: Floats, spread1: Floats, prior_sd: float
) -> tuple[Floats, Floats]:
    """Give the same for two independent means, however few events they rest on.

    A spread, the variance of a mean over that mean, is taken to stay as it is while the mean moves, as for counts.
    The likelihood of the log ratio x is then that of a share: of mean0 / spread0 + mean1 / spread1 events the
    latter fell to arm 1, where a share of expit(x + log(spread0 / spread1)) is expected. A normal law about the
    ratio that was seen knows next to nothing of an arm that nearly nobody converts in, and leaves the prior as it
    was. So the posterior is taken as normal about its own maximum, which Newton's method finds: it is concave.
    """
    events1 = mean1 / spread1
    events, offset = mean0 / spread0 + events1, np.log(spread0 / spread1)
    precision = 1.0 / (prior_sd * prior_sd)
    mode = np.zeros(np.broadcast_shapes(np.shape(events), np.shape(offset)))
    goes_on = np.ones(mode.shape, dtype=np.bool_)  # each stops by itself, whatever stands beside it
    for _ in range(_NEWTON_STEPS_MAX):
        share = special.expit(mode + offset)
        step = (events1 - events * share - mode * precision) / (events * share * (1.0 - share) + precision)
        mode = mode + np.where(goes_on, np.clip(step, -_NEWTON_STEP_MAX, _NEWTON_STEP_MAX), 0.0)
        goes_on = goes_on & (np.abs(step) > _NEWTON_TOLERANCE)
        if not goes_on.any():
            break
    share = special.expit(mode + offset)
    sd = 1.0 / np.sqrt(events * share * (1.0 - share) + precision)
    chance, loss, _ = chance_and_losses(mode, sd)
    return chance, loss
