import numpy as np
import pytest

from stats.means import welch_df
from stats.moments import Moments, restricted
from stats.tails import student_critical, student_two_sided


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
        critical = student_critical(np.asarray(df), 0.01)
        assert float(student_two_sided(critical, np.asarray(df))) == pytest.approx(0.01, rel=1e-9)


def test_a_small_arm_cannot_look_precise_before_it_meets_rare_values():
    """With almost no variance seen in a small arm, the pooled variance is used."""
    difference, v0, n0, v1, n1, critical = arrays(0.5, 10.0 / 9500, 9500, 1e-9, 500, 3.0)

    moments = Moments(np.zeros(()), v0, n0, difference, v1, n1, df=n1)

    found = restricted(moments, critical)

    assert float(found.v1) > 0.018
    assert float(found.v0) < 0.0011
    assert float(found.z_squared) < 0.25 / float(found.v0 + found.v1)
    assert found.critical > critical
