import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.confidence_sequence import mixing_ratio, multiplier, p_value


@pytest.mark.parametrize("n", [500, 1000, 10000, 500000])
def test_multipliers_are_those_of_the_reference(reference, n):
    """The multiplier at N* = 5000 equals the closed form of Waudby-Smith et al. 2023, eq. 9."""
    inputs, near = reference(f"cs_multiplier_n{n}_Nstar5000")
    expected = {500: 3.855054633530311, 1000: 3.363887725782782, 10000: 3.061477218867417, 500000: 3.5616410409189}

    assert float(multiplier(np.asarray(float(inputs["n"])), 5000.0, 0.05)) == near(expected[n])


@pytest.mark.parametrize(
    ("v", "v_opt", "alpha", "bound"),
    [
        (100, 100, 0.05, 30.35208990376253),
        (1000, 500, 0.05, 96.81241016338852),
        (1e4, 1e4, 0.01, 357.162997087045),
    ],
)
def test_the_multiplier_is_confseqs_normal_mixture_bound(v, v_opt, alpha, bound):
    """The bound on a sum is the multiplier times its standard deviation (confseq.normal_mixture_bound)."""
    assert float(multiplier(np.asarray(float(v)), float(v_opt), alpha)) * v**0.5 == pytest.approx(bound, rel=1e-9)


def test_the_p_value_is_the_inverse_of_confseqs_mixture():
    """A sum of 30 with variance 100 has log e-value 2.9014 (confseq.normal_log_mixture)."""
    p = p_value(np.asarray(30.0**2 / 100), np.asarray(100.0), 100.0, 0.05)

    assert float(p) == pytest.approx(np.exp(-2.901375010405018), rel=1e-10)


def test_the_house_example_has_its_always_valid_interval(reference):
    """1000 / 10000 against 1100 / 10000 with the unpooled variance, as GrowthBook's absolute scale."""
    _, near = reference("house_asymp_cs_absolute")
    variance = 0.1 * 0.9 / 10_000 + 0.11 * 0.89 / 10_000
    n = np.asarray(20000.0)

    radius = float(multiplier(n, 5000.0, 0.05)) * variance**0.5

    expected = {"ci": [-0.003555237271372602, 0.02355523727137259], "p": 0.4337202134257064}
    assert [0.01 - radius, 0.01 + radius] == near(expected["ci"])
    assert float(p_value(np.asarray(0.01**2 / variance), n, 5000.0, 0.05)) == near(expected["p"])


@given(st.floats(2, 1e13), st.floats(1, 1e9), st.floats(1e-6, 0.5), st.floats(0, 100))
def test_the_p_value_is_below_alpha_beyond_the_multiplier_only(n, planned_n, alpha, z):
    """Interval and p-value take the same decision at every n."""
    c = float(multiplier(np.asarray(n), planned_n, alpha))
    p = float(p_value(np.asarray(z * z), np.asarray(n), planned_n, alpha))

    assert 0 <= p <= 1
    if abs(z / c - 1) > 1e-9:
        assert (p < alpha) == (z > c)


def test_the_interval_is_narrowest_near_the_planned_visitors():
    """The multiplier, 3.0352 at N* = 5000, grows on either side of it on the scale of sqrt(n)."""
    scale = [float(multiplier(np.asarray(5000.0), planned, 0.05)) for planned in (500.0, 5000.0, 50000.0)]

    assert scale[1] == pytest.approx(3.0352, abs=1e-4)
    assert scale[1] < min(scale[0], scale[2])
    assert mixing_ratio(5000.0, 0.05) == pytest.approx(5000 / (-2 * np.log(0.05) + np.log(1 - 2 * np.log(0.05))))
