import numpy as np
import pytest
from scipy.integrate import quad

from stats.posterior import log_ratio_posterior


@pytest.mark.parametrize(("estimate", "variance"), [(0.1, 0.001), (-0.3, 0.04), (0.0, 1.0), (0.02, 1e-5)])
def test_chance_and_loss_are_the_integrals_they_stand_for(estimate, variance):
    """Both equal quadrature over prior times likelihood."""
    prior_sd = 0.05

    def density(x):
        return np.exp(-0.5 * (x / prior_sd) ** 2 - 0.5 * (x - estimate) ** 2 / variance)

    whole, gain, loss = (
        quad(f, -0.8, 0.8, points=[estimate, 0.0], epsabs=0, epsrel=1e-12, limit=500)[0]
        for f in (density, lambda x: density(x) * (x > 0), lambda x: density(x) * max(-x, 0))
    )

    chance, expected_loss = log_ratio_posterior(np.asarray(estimate), np.asarray(variance), prior_sd)

    assert float(chance) == pytest.approx(gain / whole, rel=1e-8)
    assert float(expected_loss) == pytest.approx(loss / whole, rel=1e-6, abs=1e-15)


def test_no_data_leaves_the_prior():
    """With a huge variance the chance is one half and the loss that of the prior."""
    chance, loss = log_ratio_posterior(np.asarray(5.0), np.asarray(1e12), 0.05)

    assert float(chance) == pytest.approx(0.5, abs=1e-6)
    assert float(loss) == pytest.approx(0.05 / np.sqrt(2 * np.pi), rel=1e-6)
