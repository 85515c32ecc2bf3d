from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.sample_ratio import NotEnoughData, SampleRatio, sample_ratio, sample_ratio_by_epoch


@pytest.mark.parametrize(
    ("observed", "weights", "p", "rel"),
    [
        ((600, 400), (0.5, 0.5), 2.5396e-10, 1e-4),
        ((44_000, 45_000), (0.5, 0.5), 0.00080228, 1e-5),
        ((502, 498), (0.5, 0.5), 0.89934, 1e-5),
        ((821_588, 815_482), (0.5, 0.5), 1.82179e-06, 1e-5),
        ((166_080, 171_180, 166_300), (1, 1, 1), 3.116329865438465e-22, 1e-9),
        ((500, 560, 0), (0.5, 0.5, 0), 0.06534575162837782, 1e-10),
    ],
)
def test_chi_square_p_values_are_those_of_the_references(observed, weights, p, rel):
    """Kohavi, Tang & Xu 2020, Statsig's and Eppo's examples; an arm without weight takes no part."""
    assert sample_ratio(observed, weights).p_value == pytest.approx(p, rel=rel)


def test_the_e_value_is_the_mixture_of_lindon_and_malek():
    """600 / 400 at even weights has the log Bayes factor 15.7132 (mixture of k = 1e2 to 1e5)."""
    assert log(sample_ratio((600, 400), (1, 1)).e_value) == pytest.approx(15.7132429728225, rel=1e-10)


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.floats(0.01, 0.99))
def test_any_counts_have_an_answer(a, b, share):
    """Up to 1e12 visitors an arm give finite numbers, p in (0, 1] and e above 0."""
    result = sample_ratio((a, b), (share, 1 - share))

    if a + b == 0:
        assert isinstance(result, NotEnoughData)
    else:
        assert 0 < result.p_value <= 1
        assert 0 <= result.e_value < float("inf")
        assert result.observed == (a, b)
        assert sum(result.expected) == pytest.approx(a + b)


@given(st.lists(st.integers(0, 10**6), min_size=3, max_size=3))
def test_the_order_of_the_arms_does_not_matter(counts):
    """Permuted arms give the same numbers."""
    one = sample_ratio(counts, (0.2, 0.3, 0.5))
    other = sample_ratio(counts[::-1], (0.5, 0.3, 0.2))

    if isinstance(one, SampleRatio):
        assert (one.p_value, one.e_value) == pytest.approx((other.p_value, other.e_value), rel=1e-9)
        assert one.healthy == other.healthy


def test_a_million_million_visitors_keep_the_digits_of_the_e_value():
    """An even split of 2e12 visitors has the e-value of its closed form, sqrt-like in n."""
    result = sample_ratio((10**12, 10**12), (1, 1))

    # The largest concentration gives nearly all: ln BF is (ln k - ln(n + k)) / 2, up to 1 / k.
    mixture = sum((k / (2e12 + k)) ** 0.5 for k in (1e2, 1e3, 1e4, 1e5)) / 4
    assert result.e_value == pytest.approx(mixture, rel=1e-3)
    assert result.healthy


def test_a_large_imbalance_is_unhealthy_and_finite():
    """A split that overflows every float still gives a number."""
    result = sample_ratio((10**9, 0), (1, 1))

    assert not result.healthy
    assert result.e_value < float("inf")
    assert result.p_value > 0


def test_a_changed_weight_is_tested_epoch_by_epoch():
    """90 / 10 then 50 / 50, each followed exactly, is healthy, where pooled weights would not be."""
    epochs = [((9_000, 1_000), (0.9, 0.1)), ((5_000, 5_000), (0.5, 0.5))]

    result = sample_ratio_by_epoch(epochs)

    assert result.healthy
    assert result.p_value == pytest.approx(1.0)
    assert result.expected == (14_000.0, 6_000.0)
    assert result.observed == (14_000, 6_000)


def test_opposite_deviations_of_two_epochs_do_not_cancel():
    """600 / 400 and then 400 / 600 is twice unhealthy; e-values multiply, chi-squares add."""
    one = sample_ratio((600, 400), (1, 1))

    both = sample_ratio_by_epoch([((600, 400), (1, 1)), ((400, 600), (1, 1))])

    assert not both.healthy
    assert both.e_value == pytest.approx(one.e_value**2)
    assert both.p_value == pytest.approx(3.7201e-18, rel=1e-3)  # exp(-80 / 2) with 2 degrees of freedom * 1


def test_an_epoch_of_a_few_visitors_does_not_raise_an_alarm():
    """Two visitors in an arm that expects a hundredth of one: too few for a chi-square."""
    result = sample_ratio((10, 1), (0.99, 0.01))

    assert result.healthy


@pytest.mark.parametrize(
    ("observed", "weights"), [((0, 0), (1, 1)), ((5, 5), (1, 0)), ((5, 5), (0, 0)), ((7,), (1,))]
)
def test_a_split_without_visitors_or_arms_says_so(observed, weights):
    """No visitors, or fewer than two arms with a weight, is not a p-value of 1."""
    assert isinstance(sample_ratio(observed, weights), NotEnoughData)
    assert isinstance(sample_ratio_by_epoch([]), NotEnoughData)


@pytest.mark.parametrize(
    ("observed", "weights"), [((1, 2), (1,)), ((1, -2), (1, 1)), ((1, 2), (1, -1)), ((1, 2), (1, float("inf")))]
)
def test_nonsense_is_refused(observed, weights):
    """Lengths that differ and negative or infinite entries raise."""
    with pytest.raises(ValueError, match=r"weights"):
        sample_ratio(observed, weights)
