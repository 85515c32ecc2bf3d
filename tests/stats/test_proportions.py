from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from scipy.optimize import brentq

from stats.proportions import difference_interval, ratio_interval, score_z

Z95 = np.asarray(-special.ndtri(0.025))


def arrays(*numbers):
    """Turn numbers into arrays of no dimension."""
    return tuple(np.asarray(number, np.float64) for number in numbers)


def counts_of(inputs):
    """Control and treatment of a vector; x1 / n1 is the arm counted as treatment."""
    if "x1" in inputs:
        return arrays(inputs["x2"], inputs["n2"], inputs["x1"], inputs["n1"])
    control, treatment = inputs["control"], inputs["treatment"]
    return arrays(control["x"], control["n"], treatment["x"], treatment["n"])


def expected_of(vector):
    """Computed digits where the published ones are fewer, with the tolerance of their print."""
    return pytest.approx(vector.get("computed") or vector["expected"], rel=1e-9, abs=1e-9)


def test_difference_intervals_are_those_of_mee_and_of_miettinen_and_nurminen(vector):
    """Both score intervals of a difference equal the reference vectors, published ones to their print."""
    unbiased = vector["inputs"]["method"] == "miettinen_nurminen"

    interval = difference_interval(*counts_of(vector["inputs"]), Z95, unbiased=unbiased)

    assert interval == expected_of(vector)
    assert interval == pytest.approx(vector["expected"], abs=max(vector["tolerance"], 1e-8))


test_difference_intervals_are_those_of_mee_and_of_miettinen_and_nurminen.families = {
    "mee_score",
    "miettinen_nurminen",
}


def test_ratio_intervals_are_those_of_koopman_and_of_miettinen_and_nurminen(vector):
    """Both score intervals of a ratio equal the reference vectors, published ones to their print."""
    unbiased = vector["inputs"]["method"] == "miettinen_nurminen_ratio"

    interval = ratio_interval(*counts_of(vector["inputs"]), Z95, unbiased=unbiased)

    assert interval == expected_of(vector)
    assert interval == pytest.approx(vector["expected"], abs=vector["tolerance"])


test_ratio_intervals_are_those_of_koopman_and_of_miettinen_and_nurminen.families = {
    "koopman_score_ratio",
    "miettinen_nurminen_ratio",
}


def test_the_pooled_z_is_that_of_the_reference(reference):
    """Without N / (N - 1) the score test is the pooled z of 1000 / 10000 against 1100 / 10000."""
    inputs, near = reference("house_pooled_z")

    z = score_z(*counts_of(inputs), unbiased=False)

    assert {"z": float(z), "p": float(2 * special.ndtr(-z))} == near(
        {"z": 2.30663477381701, "p": 0.02107518927379783}
    )


def test_a_control_without_conversions_has_a_ratio_bounded_on_one_side(reference):
    """0 / 1000 against 5 / 1000: Koopman's ratio is above 1.304 and unbounded, its mirror below .767."""
    inputs, near = reference("edge_0_of_1000_vs_5_of_1000")
    mirrored, _ = reference("edge_5_vs_0")

    low, high = ratio_interval(*counts_of(inputs), Z95, unbiased=False)
    mirror = ratio_interval(*counts_of(mirrored), Z95, unbiased=False)

    assert float(low) == near(1.30441992816962)
    assert high == np.inf
    assert mirror == near([0.0, 0.7666242890073094])


@pytest.mark.parametrize(
    ("x1", "n1", "x2", "n2", "low", "high"),
    [(0, 10, 0, 20, -0.165760, 0.284381), (0, 10, 0, 10, -0.287934, 0.287934), (10, 10, 0, 10, 0.663642, 1.0)],
)
def test_empty_and_full_cells_have_intervals(x1, n1, x2, n2, low, high):
    """Newcombe 1998, contrasts (e), (f), (h), by Miettinen & Nurminen."""
    interval = difference_interval(*arrays(x2, n2, x1, n1), Z95)

    assert interval == pytest.approx((low, high), abs=1e-6)


small = st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@settings(max_examples=60)
@given(small, small, st.sampled_from([0.3, 1.96, 3.5]))
def test_limits_are_where_the_maximised_likelihood_puts_the_score_test(control, treatment, critical):
    """The limits equal those of a search with the restricted maximum found by search (independent code)."""
    (s0, n0), (s1, n1) = control, treatment
    factor = (n0 + n1) / (n0 + n1 - 1)

    def restricted_z_squared(difference):
        low, high = max(0.0, -difference), min(1.0, 1.0 - difference)

        def slope(p):
            q = p + difference
            terms = [(s1, q), (s1 - n1, 1 - q), (s0, p), (s0 - n0, 1 - p)]
            return sum(weight / rate for weight, rate in terms if weight)

        edge = 1e-13
        inner = (low + edge, high - edge)
        ends = [slope(x) for x in inner]
        if ends[0] <= 0:
            p = low
        elif ends[1] >= 0:
            p = high
        else:
            p = brentq(slope, *inner, xtol=1e-15)
        q = p + difference
        variance = (q * (1 - q) / n1 + p * (1 - p) / n0) * factor
        return (s1 / n1 - s0 / n0 - difference) ** 2 / variance if variance > 0 else np.inf

    low, high = (float(x) for x in difference_interval(*arrays(s0, n0, s1, n1), np.asarray(critical)))

    for limit in (low, high):
        if -1 + 1e-6 < limit < 1 - 1e-6:
            assert restricted_z_squared(limit) == pytest.approx(critical**2, rel=1e-5)


anything = st.tuples(st.floats(0, 12), st.floats(0, 1), st.integers(-3, 3))


def count(drawn):
    """Draw arms of 1 to 1e12 visitors, crowded where nobody or everybody converts."""
    exponent, share, edge = drawn
    n = float(int(10**exponent))
    return float(np.clip(np.floor(n * share) if edge == 0 else edge % (n + 1), 0, n)), n


@given(anything, anything, st.floats(1e-3, 300))
def test_difference_ratio_and_test_never_disagree(control, treatment, critical):
    """One interval excludes no difference exactly when the other does and the test rejects."""
    s0, n0, s1, n1 = (float(x) for pair in (count(control), count(treatment)) for x in pair)
    case = arrays(s0, n0, s1, n1)
    if n0 + n1 == 2:
        critical = min(critical, 30.0)

    z = abs(float(score_z(*case)))
    low, high = (float(x) for x in difference_interval(*case, np.asarray(critical)))
    ratio_low, ratio_high = (float(x) for x in ratio_interval(*case, np.asarray(critical)))

    assert not np.isnan([low, high, ratio_low]).any()
    assert -1 <= low <= s1 / n1 - s0 / n0 + 1e-15
    assert s1 / n1 - s0 / n0 - 1e-15 <= high <= 1
    if abs(z / critical - 1) > 1e-6:
        assert (low > 0 or high < 0) == (z > critical)
        assert (ratio_low > 1 or ratio_high < 1) == (z > critical)


@given(anything, anything)
def test_swapped_arms_mirror_the_interval_to_the_bit(control, treatment):
    """Exchanging the arms flips the signs of the difference and inverts the ratio."""
    one, other = arrays(*count(control)), arrays(*count(treatment))

    low, high = difference_interval(*one, *other, Z95)
    swapped_low, swapped_high = difference_interval(*other, *one, Z95)

    assert (float(low), float(high)) == (-float(swapped_high), -float(swapped_low))


def test_a_row_of_a_batch_has_the_bits_of_the_row_alone():
    """Computing thousands at once changes no digit of any."""
    draw = np.random.default_rng(7)
    n0, n1 = draw.integers(1, 10**6, (2, 500)).astype(float)
    s0, s1 = np.floor(n0 * draw.random(500) ** 4), np.floor(n1 * draw.random(500) ** 4)

    batch = np.stack(difference_interval(s0, n0, s1, n1, Z95) + ratio_interval(s0, n0, s1, n1, Z95))

    for i in range(500):
        row = arrays(s0[i], n0[i], s1[i], n1[i])
        alone = np.stack(difference_interval(*row, Z95) + ratio_interval(*row, Z95))
        assert np.array_equal(batch[:, i], alone, equal_nan=False)


def test_a_score_of_37_keeps_its_tail():
    """The p-value of z = 37 is 1.145e-299, where 1 - cdf gives 0."""
    assert float(2 * special.ndtr(-37.0)) == pytest.approx(1.145114244504785e-299, rel=1e-12)
    assert log(float(2 * special.ndtr(-5.0))) == pytest.approx(log(5.733031437583866e-07), rel=1e-13)
