from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.tally import Tally, merge

values = st.lists(st.integers(-(10**6), 10**6), max_size=30)
offsets = st.sampled_from([0, 10**6, 10**9, -(10**9)])


def exact(numbers):
    """Tally whole numbers by their exact sums."""
    return Tally.from_exact_sums(len(numbers), sum(numbers), sum(x * x for x in numbers))


@given(values, values, offsets)
def test_tallies_of_two_halves_merge_into_the_tally_of_the_whole(left, right, offset):
    """Splitting visitors and merging their tallies gives the tally of all of them."""
    left, right = [x + offset for x in left], [x + offset for x in right]

    merged, whole = merge(exact(left), exact(right)), exact(left + right)

    assert merged.n == whole.n
    assert merged.sum == whole.sum
    # The mean has 16 digits of its offset, so the squares between the halves carry its rounding.
    rounding = 1e-15 * abs(offset) * (len(left) + len(right)) * 4e6
    assert merged.m2 == pytest.approx(whole.m2, rel=1e-12, abs=1e-9 + rounding)


@given(values)
def test_merging_an_empty_tally_changes_nothing(numbers):
    """An empty tally is neutral on either side."""
    tally, empty = exact(numbers), Tally(0.0, 0.0, 0.0)

    assert merge(tally, empty) == tally
    assert merge(empty, tally) == tally


@given(st.integers(1, 10**12), st.data())
def test_a_proportion_is_tallied_as_ones_and_zeros(n, data):
    """Converters among visitors have the centred squares of their ones and zeros."""
    successes = data.draw(st.integers(0, n))

    tally, of_sums = Tally.of_proportion(successes, n), Tally.from_exact_sums(n, successes, successes)

    assert (tally.n, tally.sum) == (of_sums.n, of_sums.sum)
    assert tally.m2 == pytest.approx(of_sums.m2, rel=1e-12)


@pytest.mark.parametrize(("offset", "expected"), [(1e6, 0.9970940305894558), (1e8, 0.9970940307326873)])
def test_the_variance_survives_an_offset_that_swallows_sums_of_squares(offset, expected):
    """10,000 values at 1e6 and 1e8 keep their variance, where float sums give .9969 and 3.28.

    Reference vector variance_cancellation: offset + N(0, 1), numpy default_rng(1).
    """
    numbers = [Fraction(float(x)) for x in offset + np.random.default_rng(1).standard_normal(10_000)]

    tally = Tally.from_exact_sums(len(numbers), sum(numbers), sum(x * x for x in numbers))

    assert tally.variance == pytest.approx(expected, rel=1e-6)


def test_decimal_sums_are_centred_without_rounding():
    """Three amounts of money a cent apart at a billion keep their variance to the last digit."""
    amounts = [Decimal("999999999.99"), Decimal("1000000000.00"), Decimal("1000000000.01")]

    tally = Tally.from_exact_sums(3, sum(amounts), sum(x * x for x in amounts))

    assert tally == Tally(3.0, 3e9, 0.0002)
    assert tally.mean == 1e9
    assert tally.variance == 0.0001


@pytest.mark.parametrize(("n", "total", "squares"), [(2, 10, 49), (0, 1, 1), (-1, 0, 0), (0, 0, 1)])
def test_sums_that_no_numbers_have_are_refused(n, total, squares):
    """Squares below total^2 / n, or sums of nothing, raise."""
    with pytest.raises(ValueError, match="real numbers"):
        Tally.from_exact_sums(n, total, squares)
