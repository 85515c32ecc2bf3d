"""The Bayesian second view: a posterior under a stated normal prior, and what a choice risks."""

from collections.abc import Callable

import numpy as np

from stats import special
from stats.saddle_point import Floats

# Four or five are what is needed; far from a wide prior's middle more.
_NEWTON_STEPS_MAX = 60
_NEWTON_STEP_MAX = 1.0
_NEWTON_TOLERANCE = 1e-9
# A rate that is 1 is taken to leave out so many.
_REST_MIN = 1e-12


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
    with np.errstate(all="ignore"):
        events1 = mean1 / spread1
        events, offset = mean0 / spread0 + events1, np.log(spread0 / spread1)

    def slope(x: Floats) -> tuple[Floats, Floats]:
        share = special.expit(x + offset)
        return events1 - events * share, events * share * (1.0 - share)

    return _about_maximum(slope, np.broadcast_shapes(np.shape(events), np.shape(offset)), prior_sd)


def ratio_of_rates_posterior(
    s0: Floats, n0: Floats, s1: Floats, n1: Floats, prior_sd: float
) -> tuple[Floats, Floats]:
    """Give the same for two rates, s of n each, by their binomial likelihood, whatever the rates.

    Rate 0 is at each log ratio x the one that fits best (Koopman 1984), so that slope and information are those
    of the score test of a ratio: (s1 - n1 p1) / (1 - p1) and 1 / ((1 - p0) / (n0 p0) + (1 - p1) / (n1 p1)).
    """

    def slope(x: Floats) -> tuple[Floats, Floats]:
        ratio = np.exp(x)
        a, b, c = (n0 + n1) * ratio, n0 + s1 + (n1 + s0) * ratio, s0 + s1
        # The smaller root of a p^2 - b p + c = 0, in the form that does not cancel.
        p0 = 2.0 * c / (b + np.sqrt(np.maximum(b * b - 4.0 * a * c, 0.0)))
        p1 = ratio * p0
        q0, q1 = np.maximum(1.0 - p0, _REST_MIN), np.maximum(1.0 - p1, _REST_MIN)
        return (s1 - n1 * p1) / q1, 1.0 / (q0 / (n0 * p0) + q1 / (n1 * p1))

    shapes = (np.shape(each) for each in (s0, n0, s1, n1))
    return _about_maximum(slope, np.broadcast_shapes(*shapes), prior_sd)


@np.errstate(all="ignore")
def _about_maximum(
    slope: Callable[[Floats], tuple[Floats, Floats]], shape: tuple[int, ...], prior_sd: float
) -> tuple[Floats, Floats]:
    """Take the posterior as normal about its maximum; `slope` gives a log likelihood's, and its information."""
    precision = 1.0 / (prior_sd * prior_sd)
    # Each stops by itself, whatever stands beside it.
    mode, goes_on = np.zeros(shape), np.ones(shape, dtype=np.bool_)
    for _ in range(_NEWTON_STEPS_MAX):
        gradient, information = slope(mode)
        step = (gradient - mode * precision) / (information + precision)
        mode = mode + np.where(goes_on, np.clip(step, -_NEWTON_STEP_MAX, _NEWTON_STEP_MAX), 0.0)
        goes_on = goes_on & (np.abs(step) > _NEWTON_TOLERANCE)
        if not goes_on.any():
            break
    _, information = slope(mode)
    chance, loss, _ = chance_and_losses(mode, 1.0 / np.sqrt(information + precision))
    return chance, loss
