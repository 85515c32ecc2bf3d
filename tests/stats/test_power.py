import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.power import NotEnoughData, minimum_detectable_lift, sample_size_means, sample_size_proportions


def test_sample_sizes_of_rates_are_those_of_r(reference):
    """R power.prop.test(.50, .75, power = .90) needs 76.7 visitors an arm."""
    _, near = reference("r_power_prop_test_n")

    assert sample_size_proportions(0.5, 0.5, power=0.9) == near(76.7)


def test_sample_size_of_the_textbook_example():
    """Fleiss: .25 against .40 needs 151.869 an arm before the continuity correction."""
    assert sample_size_proportions(0.25, 0.6) == pytest.approx(151.869, abs=1e-3)


def test_sample_sizes_of_means_are_those_of_r(reference):
    """R power.t.test(delta = 1, sd = 1, power = .90) needs 22.02110 visitors an arm."""
    _, near = reference("r_power_t_test_n")

    assert sample_size_means(1.0, 1.0, power=0.9) == near(22.02110)


@pytest.mark.parametrize("d", [0.2, 0.5, 0.8])
def test_sample_sizes_of_means_are_cohens(reference, d):
    """Cohen 1992, table 2: 393, 64, 26."""
    _, near = reference(f"cohen1992_d{d}")

    assert sample_size_means(1.0, -d) == near({0.2: 393.0, 0.5: 64.0, 0.8: 26.0}[d])


def test_the_t_correction_joins_the_normal_formula():
    """Where the exact search hands over to the normal formula the sizes agree to a hundredth."""
    below, above = sample_size_means(1.0, 0.01253), sample_size_means(1.0, 0.01252)

    assert below * 0.01253**2 == pytest.approx(above * 0.01252**2, rel=1e-4)
    assert sample_size_means(1.0, 100.0) == 2.0


@given(st.floats(0.001, 0.9), st.floats(3, 9))
def test_the_detectable_lift_needs_exactly_the_visitors_given(baseline, exponent):
    """The minimum detectable lift is the inverse of the sample size."""
    n = 10**exponent

    lift = minimum_detectable_lift(baseline, n)

    if isinstance(lift, NotEnoughData):
        assert sample_size_proportions(baseline, 1 / baseline - 1) > n * (1 - 1e-9)
    else:
        assert sample_size_proportions(baseline, lift) == pytest.approx(n, rel=1e-4)


def test_too_few_visitors_detect_nothing():
    """Three visitors an arm cannot find even a rise from 50 % to 100 %."""
    assert isinstance(minimum_detectable_lift(0.5, 3), NotEnoughData)


@pytest.mark.parametrize(
    "nonsense",
    [
        lambda: sample_size_proportions(0.0, 0.1),
        lambda: sample_size_proportions(0.5, 0.0),
        lambda: sample_size_proportions(0.5, 1.5),
        lambda: sample_size_proportions(0.5, 0.1, alpha=0.0),
        lambda: sample_size_means(0.0, 1.0),
        lambda: sample_size_means(1.0, 0.0),
        lambda: minimum_detectable_lift(1.0, 10),
        lambda: minimum_detectable_lift(0.1, 0, power=0.9),
    ],
)
def test_plans_of_nothing_are_refused(nonsense):
    """Rates and levels outside (0, 1), and differences of 0, raise."""
    with pytest.raises(ValueError, match=r"rate|between|deviation"):
        nonsense()
