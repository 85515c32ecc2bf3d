import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from stats.exact import mid_p

arm = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, min(n, 12)), st.just(n)))


@given(arm, arm, st.booleans())
def test_mid_p_is_twice_the_smaller_tail_of_the_hypergeometric(control, treatment, few_fail):
    """The p-value equals scipy's hypergeometric tails, with half the observed table."""
    (s0, n0), (s1, n1) = control, treatment
    if few_fail:
        s0, s1 = n0 - s0, n1 - s1
    if min(s0, s1, n0 - s0, n1 - s1) >= 10:
        return

    p = float(mid_p(*(np.asarray(float(x)) for x in (s0, n0, s1, n1))))

    law = scipy_stats.hypergeom(n0 + n1, s0 + s1, n1)
    half = 0.5 * law.pmf(s1)
    assert p == pytest.approx(min(1.0, 2 * min(law.cdf(s1 - 1) + half, law.sf(s1) + half)), rel=1e-9)


def test_the_tail_is_exact_where_counts_are_a_million_million():
    """9 against 1 converters of 1e12 each is a fair coin: 2 (P(X = 0) + P(X = 1) / 2), X ~ B(10, 1/2)."""
    p = mid_p(*(np.asarray(x) for x in (1.0, 1e12, 9.0, 1e12)))

    assert float(p) == pytest.approx(2 * (1 + 10 / 2) / 1024, rel=1e-9)


def test_a_far_tail_is_summed_and_not_subtracted():
    """9 of 20 against a rate of .001 has a p-value near 1.7e-22, of which 1 - cdf keeps nothing."""
    p = mid_p(*(np.asarray(x) for x in (1000.0, 1e6, 9.0, 20.0)))

    law = scipy_stats.hypergeom(1_000_020, 1009, 20)
    assert float(p) == pytest.approx(2 * law.sf(9) + law.pmf(9), rel=1e-9)
