import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.saddle_point import deviance, log_factorial_excess, stirling_error


@given(st.floats(0.5, 1e12), st.floats(-0.9, 5))
def test_the_deviance_keeps_its_digits_near_the_mean(mean, apart):
    """The deviance x ln(x / mean) - x + mean agrees with forty decimal digits, also where it nearly cancels."""
    x = mean * (1 + apart * 10 ** -abs(apart * 2))

    with localcontext() as context:
        context.prec = 60
        expected = Decimal(x) * (Decimal(x) / Decimal(mean)).ln() - Decimal(x) + Decimal(mean)

    assert float(deviance(np.asarray(x), np.asarray(mean))) == pytest.approx(
        float(expected), rel=1e-11, abs=1e-290
    )


def test_the_deviance_of_nothing_is_the_mean():
    """No observation where three are expected deviates by three."""
    assert float(deviance(np.asarray(0.0), np.asarray(3.0))) == 3.0


@pytest.mark.parametrize("x", [1, 2, 9, 15, 16, 17, 100, 5000])
def test_stirling_errors_complete_the_factorial(x):
    """The factorial of x is rebuilt from Stirling's formula and its error, against exact integers."""
    log_factorial = math.log(math.factorial(x)) if x < 200 else math.lgamma(x + 1)

    rebuilt = x * math.log(x) - x + float(log_factorial_excess(np.asarray(float(x))))

    assert rebuilt == pytest.approx(log_factorial, rel=1e-14, abs=1e-14)
    assert float(stirling_error(np.asarray(float(x)))) == pytest.approx(1 / (12 * x), rel=1 / x**2 / 25)
    assert float(log_factorial_excess(np.asarray(0.0))) == 0.0
