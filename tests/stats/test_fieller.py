import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stats.fieller import lift_interval


def arrays(*numbers):
    """Turn numbers into arrays of no dimension."""
    return tuple(np.asarray(number, np.float64) for number in numbers)


positive = st.floats(1e-3, 1e3)
correlation = st.floats(-0.99, 0.99)


# The set of ratios is two rays, and no lift is in the lower one.
@example(1.0, 6.0, 1.0, 1.5, 6.0, 0.8515625)
@given(positive, st.floats(-1e3, 1e3), positive, positive, st.floats(0.5, 30), correlation)
def test_lift_and_difference_never_disagree(mean0, mean1, sd0, sd1, critical, rho):
    """The lift excludes 0 exactly when the difference does, bounded or not, and holds the estimate."""
    mean0, mean1, v0, v1, critical = arrays(mean0, mean1, sd0**2, sd1**2, critical)

    covariance = np.asarray(rho * sd0 * sd1)
    low, high = lift_interval(mean0, v0, mean1, v1, critical, covariance=covariance)

    distance, margin = abs(mean1 - mean0), critical * np.sqrt(v0 + v1 - 2 * covariance)
    lift = (mean1 - mean0) / mean0
    assert low <= lift + 1e-9 * (1 + abs(lift))
    assert high >= lift - 1e-9 * (1 + abs(lift))
    if abs(distance / margin - 1) > 1e-9:
        assert (low > 0 or high < 0) == (distance > margin)


def test_limits_of_the_lift_solve_fiellers_equation():
    """At a finite limit r the distance |mean1 - r mean0| is critical * sqrt(v1 - 2 r covariance + r^2 v0)."""
    draw = np.random.default_rng(3)
    mean0, mean1, sd0, sd1 = draw.uniform([[1], [-3], [0.01], [0.01]], [[2], [5], [1], [1]], (4, 2000))
    critical = np.asarray(2.0)

    covariance = 0.6 * sd0 * sd1

    limits = lift_interval(mean0, sd0**2, mean1, sd1**2, critical, covariance=covariance)

    for limit in limits:
        r = 1 + limit[np.isfinite(limit)]
        m0, m1, a, b, ab = (x[np.isfinite(limit)] for x in (mean0, mean1, sd0, sd1, covariance))
        assert abs(m1 - r * m0) == pytest.approx(
            critical * np.sqrt(b**2 - 2 * r * ab + r**2 * a**2), rel=1e-7, abs=1e-7
        )


def test_a_control_that_may_be_zero_leaves_the_lift_unbounded():
    """A control mean of 1 with a standard error of 1 bounds the lift of 20 from below only."""
    low, high = lift_interval(*arrays(1.0, 1.0, 20.0, 1.0, 1.96), least=-1.0)

    assert high == np.inf
    assert low > 0
