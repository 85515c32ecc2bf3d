import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.means import fieller_lift, restricted, welch_critical, welch_df, welch_p


def arrays(*numbers):
    """Turn numbers into arrays of no dimension."""
    return tuple(np.asarray(number, np.float64) for number in numbers)


def test_welch_is_that_of_the_nist_handbook(reference):
    """NIST AUTO83B: t = -12.946 with 136.87 degrees of freedom."""
    inputs, near = reference("nist_auto83b_welch")
    m1, s1, n1, m2, s2, n2 = (inputs[key] for key in ("m1", "s1", "n1", "m2", "s2", "n2"))
    v1, v2 = s1**2 / n1, s2**2 / n2

    df = welch_df(*arrays(v1, n1, v2, n2))

    t = (m1 - m2) / np.sqrt(v1 + v2)
    assert {"t": t, "df": float(df)} == near({"t": -12.94626756565885, "df": 136.8749900936937})


def test_critical_value_and_p_value_are_inverse():
    """The p-value at the critical value is alpha, from 1 to 1e12 degrees of freedom."""
    for df in (1.0, 2.5, 30.0, 1e4, 1e8, 1e12):
        critical = welch_critical(np.asarray(df), 0.01)
        assert float(welch_p(critical, np.asarray(df))) == pytest.approx(0.01, rel=1e-9)


positive = st.floats(1e-3, 1e3)


@given(positive, st.floats(-1e3, 1e3), positive, positive, st.floats(0.5, 30))
def test_lift_and_difference_never_disagree(mean0, mean1, sd0, sd1, critical):
    """The lift excludes 0 exactly when the difference does, bounded or not, and holds the estimate."""
    mean0, mean1, v0, v1, critical = arrays(mean0, mean1, sd0**2, sd1**2, critical)

    low, high = fieller_lift(mean0, v0, mean1, v1, critical, least=-np.inf)

    distance, margin = abs(mean1 - mean0), critical * np.sqrt(v0 + v1)
    lift = (mean1 - mean0) / mean0
    assert low <= lift + 1e-9 * (1 + abs(lift))
    assert high >= lift - 1e-9 * (1 + abs(lift))
    if abs(distance / margin - 1) > 1e-9:
        assert (low > 0 or high < 0) == (distance > margin)


def test_limits_of_the_lift_solve_fiellers_equation():
    """At a finite limit r the distance |mean1 - r mean0| is critical * sqrt(v1 + r^2 v0)."""
    draw = np.random.default_rng(3)
    mean0, mean1, sd0, sd1 = draw.uniform([[1], [-3], [0.01], [0.01]], [[2], [5], [1], [1]], (4, 2000))
    critical = np.asarray(2.0)

    limits = fieller_lift(mean0, sd0**2, mean1, sd1**2, critical, least=-np.inf)

    for limit in limits:
        r = 1 + limit[np.isfinite(limit)]
        m0, m1, a, b = (x[np.isfinite(limit)] for x in (mean0, mean1, sd0, sd1))
        assert abs(m1 - r * m0) == pytest.approx(critical * np.hypot(b, r * a), rel=1e-8, abs=1e-8)


def test_a_control_that_may_be_zero_leaves_the_lift_unbounded():
    """A control mean of 1 with a standard error of 1 bounds the lift of 20 from below only."""
    low, high = fieller_lift(*arrays(1.0, 1.0, 20.0, 1.0, 1.96), least=-1.0)

    assert high == np.inf
    assert low > 0


def test_a_small_arm_cannot_look_precise_before_it_meets_rare_values():
    """With almost no variance seen in a small arm, the pooled variance is used."""
    difference, v0, n0, v1, n1, critical = arrays(0.5, 10.0 / 9500, 9500, 1e-9, 500, 3.0)

    z_squared, w0, w1, widened = restricted(difference, v0, n0, v1, n1, critical=critical)

    assert float(w1) > 0.018
    assert float(w0) < 0.0011
    assert float(z_squared) < 0.25 / float(w0 + w1)
    assert widened > critical
