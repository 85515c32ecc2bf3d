"""The Bayesian second view: a posterior under a stated normal prior, and what a choice risks."""

import functools
from collections.abc import Callable

import numpy as np

from stats import special
from stats.saddle_point import Floats, Mask

# Four or five are what is needed; far from a wide prior's middle more.
_NEWTON_STEPS_MAX = 60
_NEWTON_STEP_MAX = 1.0
_NEWTON_TOLERANCE = 1e-9
# A rate that is 1 is taken to leave out so many.
_REST_MIN = 1e-12
# Where an arm leaves out fewer, a posterior that is taken as normal is off by a point of the chance and more.
_LEFT_MAX = 400.0
# So many standard deviations about the maximum hold all of it, and so many nodes on either side of no effect.
_REACH, _NODES = 24.0, 64
# So many posteriors are integrated at once, for the memory that takes.
_AT_ONCE = 256


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

    shape = np.broadcast_shapes(np.shape(events), np.shape(offset))
    chance, loss, _ = chance_and_losses(*_maximum(slope, shape, prior_sd))
    return chance, loss


@np.errstate(all="ignore")
def ratio_of_rates_posterior(
    s0: Floats, n0: Floats, s1: Floats, n1: Floats, prior_sd: float
) -> tuple[Floats, Floats]:
    """Give the same for two rates, s of n each, by their binomial likelihood, whatever the rates.

    Rate 0 is at each log ratio x the one that fits best (Koopman 1984), so that slope and information are those
    of the score test of a ratio: (s1 - n1 p1) / (1 - p1) and 1 / ((1 - p0) / (n0 p0) + (1 - p1) / (n1 p1)).
    Where nearly everybody converts the posterior leans, as those who do not are few: there it is integrated.
    """
    s0, n0, s1, n1 = np.broadcast_arrays(s0, n0, s1, n1)

    def slope(x: Floats) -> tuple[Floats, Floats]:
        p0, q0, p1, q1 = _fitting_rates(x, s0, n0, s1, n1)
        return (s1 - n1 * p1) / q1, 1.0 / (q0 / (n0 * p0) + q1 / (n1 * p1))

    mode, sd = _maximum(slope, s0.shape, prior_sd)
    chance, loss, _ = chance_and_losses(mode, sd)
    leans = np.isfinite(mode) & (_few_left(s0, n0) | _few_left(s1, n1))
    if leans.any():
        cases = np.stack([each[leans] for each in (mode, sd, s0, n0, s1, n1)])
        chance[leans], loss[leans] = _integrated(cases, prior_sd)
    return chance, loss


def _few_left(s: Floats, n: Floats) -> Mask:
    return np.asarray((n - s < _LEFT_MAX) & (s > n - s))


def _fitting_rates(
    x: Floats, s0: Floats, n0: Floats, s1: Floats, n1: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Give the two rates that fit best at a log ratio, each with what it leaves out.

    Rate 0 is the smaller root of a p^2 - b p + c = 0, in a form that does not cancel, nor does b^2 - 4 a c so.
    """
    ratio, left0, left1 = np.exp(x), n0 - s0, n1 - s1
    one, other, c = n0 + s1, (n1 + s0) * ratio, s0 + s1
    root = np.sqrt((one - other) ** 2 + 4.0 * ratio * left0 * left1)
    p0 = 2.0 * c / (one + other + root)
    # b - 2 c and b - 2 c ratio, which cancel where all convert.
    q0 = (left0 + ratio * left1 + (ratio - 1.0) * c + root) / (one + other + root)
    q1 = (left0 + ratio * left1 + (1.0 - ratio) * c + root) / (one + other + root)
    return p0, np.maximum(q0, _REST_MIN), ratio * p0, np.maximum(q1, _REST_MIN)


def _integrated(cases: Floats, prior_sd: float) -> tuple[Floats, Floats]:
    """Give chance and loss of posteriors by quadrature on either side of no effect.

    `cases` (6, m): for each the maximum, the standard deviation there, and both rates as s, n.
    """
    parts = [
        _integrated_at_once(cases[:, first : first + _AT_ONCE, None], prior_sd)
        for first in range(0, cases.shape[1], _AT_ONCE)
    ]
    return np.concatenate([chance for chance, _ in parts]), np.concatenate([loss for _, loss in parts])


def _integrated_at_once(cases: Floats, prior_sd: float) -> tuple[Floats, Floats]:
    mode, sd, s0, n0, s1, n1 = cases
    # An arm in which everybody converts leaves a tail of exp(n x), however sharp the maximum looks.
    reach = _REACH * np.sqrt(sd * sd + 1.0 / (n0 * n0) + 1.0 / (n1 * n1))
    low, high = mode - reach, mode + reach
    middle = np.clip(0.0, low, high)
    halves = 0.5 * (middle - low), 0.5 * (high - middle)
    places, weights = _nodes()
    x = np.concatenate([low + halves[0] * (1.0 + places), middle + halves[1] * (1.0 + places)], axis=1)
    p0, q0, p1, q1 = _fitting_rates(x, s0, n0, s1, n1)
    counts = ((s0, p0), (n0 - s0, q0), (s1, p1), (n1 - s1, q1))
    log_density = sum(special.xlogy(count, rate) for count, rate in counts) - 0.5 * (x / prior_sd) ** 2
    mass = np.concatenate([halves[0] * weights, halves[1] * weights], axis=1)
    mass = mass * np.exp(log_density - log_density.max(axis=1, keepdims=True))
    total = mass.sum(axis=1)
    chance: Floats = np.where(x > 0.0, mass, 0.0).sum(axis=1) / total
    loss: Floats = (mass * np.maximum(-x, 0.0)).sum(axis=1) / total
    return chance, loss


@functools.cache
def _nodes() -> tuple[Floats, Floats]:
    return np.polynomial.legendre.leggauss(_NODES)


@np.errstate(all="ignore")
def _maximum(
    slope: Callable[[Floats], tuple[Floats, Floats]], shape: tuple[int, ...], prior_sd: float
) -> tuple[Floats, Floats]:
    """Give where a posterior is highest, and the standard deviation of the normal law that is like it there.

    `slope` gives the slope of a log likelihood, and its information.
    """
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
    return mode, 1.0 / np.sqrt(information + precision)
