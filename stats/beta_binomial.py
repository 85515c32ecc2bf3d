"""Bayes for small counts: two rates with beta posteriors, compared exactly."""

import numpy as np

from stats import special

_TERMS_MAX = 10_000_000


def chance_to_beat(a0: float, b0: float, a1: float, b1: float) -> float:
    """Give the chance that the rate of beta(a1, b1) is above that of beta(a0, b0), whole a1 >= 1.

    The finite sum of Miller (Formulas for Bayesian A/B testing), on logarithms; for an `a1` that is not
    whole, by Gauss-Legendre over the quantiles.
    """
    _check(a0, b0, a1, b1)
    if a1 != int(a1) or a1 > _TERMS_MAX:
        return _by_quadrature(a0, b0, a1, b1)
    i = np.arange(int(a1), dtype=np.float64)
    terms = special.betaln(a0 + i, b0 + b1) - np.log(b1 + i) - special.betaln(1.0 + i, b1) - special.betaln(a0, b0)
    return float(np.clip(np.exp(terms).sum(), 0.0, 1.0))


def expected_loss(a0: float, b0: float, a1: float, b1: float) -> float:
    """Give what choosing arm 1 is expected to lose in rate, the mean of max(rate 0 - rate 1, 0)."""
    _check(a0, b0, a1, b1)
    mean0, mean1 = a0 / (a0 + b0), a1 / (a1 + b1)
    # E[rate 0; rate 0 > rate 1] is a mean times a chance under one more success.
    loss = mean0 * chance_to_beat(a1, b1, a0 + 1.0, b0) - mean1 * (1.0 - chance_to_beat(a0, b0, a1 + 1.0, b1))
    return max(loss, 0.0)


def _by_quadrature(a0: float, b0: float, a1: float, b1: float) -> float:
    nodes, weights = np.polynomial.legendre.leggauss(400)
    chance = 0.5 * (nodes + 1.0)
    return float(0.5 * weights @ special.betainc(a0, b0, special.betaincinv(a1, b1, chance)))


def _check(*parameters: float) -> None:
    if not all(0.0 < each < np.inf for each in parameters):
        raise ValueError(f"no beta laws have the parameters {parameters}")
