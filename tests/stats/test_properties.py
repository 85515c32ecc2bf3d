"""What is true of all comparisons, whatever the tallies: batches, merges, permutations, edges."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stats import arms as arms_of
from stats import cuped, drift, single
from stats.arms import Arms
from stats.comparison import compare_arms, compare_moments
from stats.not_enough_data import NotEnoughData
from stats.ratio_metrics import RatioArm, of_ratios
from stats.sample_ratio import splits
from stats.strata import of_epochs
from stats.tally import Tally
from stats.terms import Terms

COUNTS = [0.0, 1.0, 2.0, 3.0, 10.0, 99.0, 1_000.0, 54_321.0, 1e6, 1e9, 1e12]


def every_rate():
    """Tally arms of 0 to 1e12 visitors of whom nobody, one, some, all but one or all converted."""
    pairs = [(s, n) for n in COUNTS for s in {0.0, min(1.0, n), n // 20, max(n - 1, 0.0), n}]
    s, n = np.array(pairs).T
    return Arms.of_proportions(s, n)


def every_mean():
    """Tally arms of 0 to 1e12 visitors around offsets up to 1e9, some without variance."""
    rows = [
        (n, n * mean, max(n - 1, 0.0) * variance)
        for n in COUNTS
        for mean in (0.0, 1e-9, 1.0, -5.0, 1e9)
        for variance in (0.0, 1e-6, 1.0, 1e12)
    ]
    return Arms(*np.array(rows).T)


def pairs_of(arms):
    """Pair every arm with every arm: (m, 1) controls against (m, 1) treatments."""
    i, j = (index.ravel() for index in np.indices((arms.n.size, arms.n.size)))
    return tuple(Arms(arms.n[k, None], arms.sum[k, None], arms.m2[k, None]) for k in (i, j))


TERMS = Terms(regime="group_sequential")


@pytest.mark.parametrize(("kind", "arms"), [("conversion", every_rate()), ("value", every_mean())])
def test_every_pair_of_edges_is_a_number_or_a_reason(kind, arms):
    """No warning, no NaN in a record: every number is finite, unbounded as None, or has a reason."""
    control, treatment = pairs_of(arms)

    found = compare_arms(control, treatment, kind, TERMS, info=0.5)

    for row in single.rows_of(found)[::7]:
        if isinstance(row, NotEnoughData):
            assert row.reason
            continue
        # JSON has no NaN and no infinity: msgspec writes them as null.
        text = msgspec.json.encode(row)
        numbers = list(_floats(row))
        assert all(math.isfinite(x) for x in numbers), text
        assert 0.0 < row.p_value <= 1.0


def _floats(value):
    """Walk through all floats of records within records."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, msgspec.Struct):
        yield from _floats(msgspec.structs.asdict(value))
    elif isinstance(value, dict):
        for each in value.values():
            yield from _floats(each)


@pytest.mark.parametrize("regime", ["fixed", "always_valid", "group_sequential"])
@pytest.mark.parametrize(("kind", "arms"), [("conversion", every_rate()), ("value", every_mean())])
def test_a_verdict_is_what_both_scales_and_the_p_value_say(kind, arms, regime):
    """Difference, lift and p-value of the deciding regime agree for every pair of edges."""
    control, treatment = pairs_of(arms)
    terms = Terms(regime=regime)

    found = compare_arms(control, treatment, kind, terms, info=0.5)

    limits, spoken = found.deciding, ~found.silent
    clear = spoken & (np.abs(limits.p_value / terms.alpha - 1) > 1e-5)
    apart = (limits.low > 0) | (limits.high < 0)
    assert (apart == (limits.p_value < terms.alpha))[clear].all()
    # Means 1e-9 and 1e9 are too far apart for a ratio in floats.
    known = clear & (found.control_mean > 1e-6) & (np.abs(found.lift) < 1e12)
    assert (apart == ((limits.lift_low > 0) | (limits.lift_high < 0)))[known].all()
    assert (np.isin(found.verdicts, (-1, 1)) == apart)[spoken].all()


rate_arms = st.lists(st.tuples(st.integers(1, 10**9), st.floats(0, 1)), min_size=4, max_size=4)


def tallied(arms):
    """Tally (visitors, share) pairs as rates."""
    n = np.array([float(n) for n, _ in arms])
    return Arms.of_proportions(np.floor(n * np.array([share for _, share in arms])), n)


@settings(max_examples=60)
@given(rate_arms, st.sampled_from(["fixed", "always_valid"]))
def test_a_batch_says_what_each_comparison_alone_says(arms, regime):
    """A comparison in a batch has the numbers it has by itself, to 1e-13."""
    every = tallied(arms)
    terms = Terms(regime=regime)
    control = Arms(every.n[:2, None], every.sum[:2, None], every.m2[:2, None])
    treatment = Arms(every.n[2:, None], every.sum[2:, None], every.m2[2:, None])

    batch = compare_arms(control, treatment, "conversion", terms)

    for i in (0, 1):
        tallies = [
            Tally(*(float(x) for x in (arm.n[i, 0], arm.sum[i, 0], arm.m2[i, 0]))) for arm in (control, treatment)
        ]
        alone = single.compare(*tallies, kind="conversion", terms=terms)
        together = single.rows_of(batch)[i]
        assert type(alone) is type(together)
        if not isinstance(alone, NotEnoughData):
            assert list(_floats(together)) == pytest.approx(list(_floats(alone)), rel=1e-13, abs=1e-300)
            assert together.verdict == alone.verdict


@settings(max_examples=60)
@given(rate_arms, st.permutations([0, 1, 2]))
# The control is 20,000 times smaller than a treatment.
@example([(111, 0.0), (1_371_060, 1.0), (2_314_107, 1.0), (741_929, 1.0)], [2, 1, 0])
@example([(111, 0.0), (1_370_589, 0.0), (2_314_440, 1.0), (742_068, 1.0)], [2, 1, 0])
def test_the_order_of_the_variants_does_not_matter(arms, order):
    """Permuted treatments have permuted results; a family's levels stay."""
    every = tallied(arms)

    def compared(picked):
        control, treatment = (Arms(every.n[k], every.sum[k], every.m2[k]) for k in ([0], picked))
        return compare_arms(control, treatment, "conversion")

    straight, permuted = compared([1, 2, 3]), compared([1 + i for i in order])

    assert (permuted.verdicts == straight.verdicts[order]).all()
    for name in ("p_value", "low", "high"):
        one, other = (getattr(each.limits.fixed, name) for each in (permuted, straight))
        usable = ~permuted.impossible
        assert one[usable] == pytest.approx(other[order][usable], rel=1e-9, abs=1e-12)


@given(st.integers(0, 3), st.integers(2, 40), st.integers(2, 40), st.sampled_from([0.0, 1e6, 1e9]))
def test_tallies_with_covariates_merge_into_that_of_the_whole(seed, first, second, offset):
    """Two halves of an arm, merged, are the arm; CUPED says the same of both."""
    draw = np.random.default_rng(seed)
    x, noise = draw.normal(size=(2, first + second))
    y = offset + x + noise

    whole = covariate_arm(x, y)
    merged = cuped.merge(covariate_arm(x[:first], y[:first]), covariate_arm(x[first:], y[first:]))

    rounding = 1e-15 * offset * len(x)
    for name in ("n", "y", "yy", "x", "xx", "xy"):
        expected = getattr(whole, name)
        assert getattr(merged, name) == pytest.approx(expected, rel=1e-9, abs=1e-12 + 50 * rounding)


def covariate_arm(x, y):
    """Tally one arm with one covariate."""
    dx, dy = x - x.mean(), y - y.mean()
    parts = (len(x), y.mean(), dy @ dy, [x.mean()], [[dx @ dx]], [dx @ dy])
    return cuped.CovariateArm(*(np.array(part, np.float64) for part in parts))


def test_arms_merge_as_their_tallies_do():
    """Merging arrays of arms is merging each, empty ones too."""
    a, b = every_mean(), every_mean()
    b = Arms(b.n[::-1], b.sum[::-1], b.m2[::-1])

    both = arms_of.merge(a, b)

    assert np.isfinite(both.m2).all()
    assert both.n == pytest.approx(a.n + b.n)
    empty = b.n == 0
    assert (both.m2[empty] == a.m2[empty]).all()


def test_several_covariates_are_adjusted_for_together():
    """Least squares with two covariates, one of them useless and one there twice, loses nothing."""
    draw = np.random.default_rng(8)
    n = 4_000
    x = draw.normal(size=(2, n, 1))
    rows = [np.concatenate([each, np.zeros((n, 1)), each * 2.0], axis=1) for each in x]
    y = [2.0 * each[:, 0] + draw.normal(size=n) + shift for each, shift in zip(x, (10.0, 10.5), strict=True)]

    def arm(x, y):
        dx, dy = x - x.mean(axis=0), y - y.mean()
        parts = (n, y.mean(), dy @ dy, x.mean(axis=0), dx.T @ dx, dx.T @ dy)
        return cuped.CovariateArm(*(np.array(part, np.float64) for part in parts))

    found = cuped.adjust(arm(rows[0], y[0]), arm(rows[1], y[1]))

    assert float(found.variance_ratio) == pytest.approx(0.2, abs=0.02)
    assert float(found.adjusted.difference) == pytest.approx(0.5, abs=0.1)
    assert not drift.imbalanced(found.imbalance_z).any()


def test_a_covariate_without_variance_changes_nothing():
    """The adjusted difference is then the unadjusted one."""
    y = np.random.default_rng(9).normal(size=(2, 50))
    arms = [covariate_arm(np.ones(50), each) for each in y]

    found = cuped.adjust(*arms)

    assert float(found.adjusted.difference) == pytest.approx(float(found.unadjusted.difference), rel=1e-12)


def test_epochs_of_one_split_say_what_pooling_says():
    """Stratified over equal epochs, difference and error are nearly those of the pooled arms."""
    n = np.array([[5_000.0], [5_000.0]])
    control, treatment = (Arms.of_proportions(np.array(s), n) for s in ([[500.0], [520.0]], [[560.0], [540.0]]))

    found = of_epochs(control, treatment)

    assert found.difference[0] == pytest.approx(0.008, rel=1e-12)
    pooled = Arms.of_proportions(np.array([1_020.0]), np.array([10_000.0])).variance_of_mean[0]
    assert found.v0[0] == pytest.approx(pooled, rel=1e-3)


def test_an_epoch_without_an_arm_is_left_out():
    """Only epochs in which both arms had visitors compare anything; none at all is a reason."""
    control = Arms.of_proportions(np.array([[50.0], [90.0]]), np.array([[500.0], [900.0]]))
    treatment = Arms.of_proportions(np.array([[60.0], [0.0]]), np.array([[500.0], [0.0]]))
    nobody = Arms.of_proportions(np.zeros((2, 1)), np.array([[0.0], [1.0]]))

    moments = of_epochs(control, treatment, proportions=True)
    empty = of_epochs(control, nobody)
    pooled = Arms.of_proportions(np.array([140.0]), np.array([1_400.0]))
    found = compare_moments(empty, pooled, Arms.of_proportions(np.zeros(1), np.ones(1)), "conversion")

    assert moments.difference[0] == pytest.approx(0.02, rel=1e-12)
    assert isinstance(single.rows_of(found)[0], NotEnoughData)


def test_a_ratio_metric_is_that_of_a_regression_on_its_visitors():
    """Revenue per order by the delta method equals the variance of the linearised visitors."""
    draw = np.random.default_rng(10)
    orders = draw.poisson(3.0, (2, 500)) + 1.0
    revenue = orders * draw.lognormal(0, 1, (2, 500))

    def arm(y, x):
        dy, dx = y - y.mean(), x - x.mean()
        parts = (len(y), y.mean(), x.mean(), dy @ dy, dx @ dx, dy @ dx)
        return RatioArm(*(np.array(part) for part in parts))

    found = of_ratios(*(arm(y, x) for y, x in zip(revenue, orders, strict=True)))

    for y, x, mean, v in zip(revenue, orders, (found.mean0, found.mean1), (found.v0, found.v1), strict=True):
        linear = (y - mean * x) / x.mean()
        assert float(v) == pytest.approx(linear.var(ddof=1) / len(y), rel=1e-12)


def test_splits_of_any_size_are_numbers():
    """From nobody to 1e12 visitors, arms without weight left out: finite evidence, no warning."""
    observed = np.array([[0, 0, 0], [1, 0, 0], [5, 5, 7], [1e12, 1e12, 0], [1e12, 0, 5]])

    found = splits(observed, np.array([1.0, 1.0, 0.0]))

    assert np.isfinite(found.log_e).all()
    assert np.isfinite(found.p_value).all()
    assert found.df.tolist() == [0.0, 1.0, 1.0, 1.0, 1.0]
    assert found.healthy.tolist() == [True, True, True, True, False]


@pytest.mark.parametrize("weights", [[1.0, 2.0, 0.0], None])
def test_many_splits_are_each_what_it_is_alone(weights):
    """Thousands are worked out some at a time, with weights that all share or with their own."""
    draw = np.random.default_rng(5)
    observed = draw.poisson(500.0, size=(2_500, 3)).astype(float)
    own = np.array(weights) if weights else draw.integers(0, 4, size=(2_500, 3)) + np.array([1.0, 1.0, 0.0])

    found = splits(observed, own)

    for i in (0, 681, 682, 683, 1_365, 2_499):
        alone = splits(observed[i], own if weights else own[i])
        assert float(found.log_e[i]) == pytest.approx(float(alone.log_e), rel=1e-12)


def test_novelty_is_a_slope_over_days():
    """A difference that fades by .01 a day is found; two days are too few to say."""
    days = np.arange(10.0)
    fading = np.array([0.2 - 0.01 * days, np.zeros(10)])
    variances = np.full((2, 10), 1e-4)

    slope, p = drift.novelty(fading, variances, days)
    short, _ = drift.novelty(fading[:, :2], variances[:, :2], days[:2])

    assert slope == pytest.approx([-0.01, 0.0], abs=1e-12)
    assert p[0] < 1e-10
    assert p[1] == 1.0
    assert np.isnan(short).all()
