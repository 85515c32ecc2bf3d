"""Simulated A/A experiments, seeded: how often a difference is found where there is none."""

import numpy as np
import pytest
from scipy import special

from stats import confidence_sequence, exact, means, proportions, tails
from stats.moments import Moments, restricted
from stats.sample_ratio import sample_ratio
from stats.single import compare
from stats.tally import Tally

ALPHA = 0.05


def tails_of_rates(p, n0, n1, runs, seed):
    """Give the share of A/A runs called worse and better by the test `compare` uses at one look."""
    draw = np.random.default_rng(seed)
    s0, s1 = (draw.binomial(n, p, runs).astype(float) for n in (n0, n1))
    counts = s0, np.full(runs, float(n0)), s1, np.full(runs, float(n1))
    z = proportions.score_z(*counts)
    few = exact.smallest_cell(*counts) < exact.SMALL_CELL
    p_value = 2 * special.ndtr(-np.abs(z))
    p_value[few] = exact.mid_p(*(x[few] for x in counts))
    found = (p_value < ALPHA) & (s0 + s1 > 0)
    return [100 * float(np.mean(found & (sign * z > 0))) for sign in (-1, 1)]


@pytest.mark.parametrize(
    ("p", "n0", "n1"), [(0.02, 10_000, 10_000), (0.05, 2_000, 2_000), (0.3, 500, 500), (0.05, 18_000, 2_000)]
)
def test_each_tail_of_the_score_test_has_its_size(p, n0, n1):
    """Both tails are 2.5 %, within .3 points; never the delta method's -8.2 / +0."""
    worse, better = tails_of_rates(p, n0, n1, 100_000, seed=11)

    assert 2.2 <= worse <= 2.8
    assert 2.2 <= better <= 2.8


@pytest.mark.parametrize(("p", "n0", "n1"), [(0.02, 500, 500), (0.01, 18_000, 2_000), (0.005, 19_000, 1_000)])
def test_tails_of_small_arms_stay_near_their_size(p, n0, n1):
    """With five to twenty conversions expected in an arm each tail is below 3.5 %."""
    worse, better = tails_of_rates(p, n0, n1, 50_000, seed=12)

    assert 0.5 <= worse <= 3.5
    assert 0.5 <= better <= 3.5


@pytest.mark.parametrize(("n0", "n1"), [(5, 5), (10, 40), (500, 500)])
def test_each_tail_of_welch_has_its_size(n0, n1):
    """Normal values with as few as five an arm: 2.5 % a side, where z has 4."""
    draw = np.random.default_rng(13)
    runs = 40_000
    x, y = draw.standard_normal((runs, n0)), draw.standard_normal((runs, n1))
    v0, v1 = x.var(axis=1, ddof=1) / n0, y.var(axis=1, ddof=1) / n1
    df = means.welch_df(v0, np.float64(n0), v1, np.float64(n1))
    t = (y.mean(axis=1) - x.mean(axis=1)) / np.sqrt(v0 + v1)

    critical = tails.student_critical(df, ALPHA)

    assert 2.0 <= 100 * np.mean(t > critical) <= 3.0
    assert 2.0 <= 100 * np.mean(t < -critical) <= 3.0


LOOKS = np.arange(1, 101)


@pytest.mark.parametrize(
    ("p", "per_day", "share"), [(0.05, 1000, 0.5), (0.02, 1000, 0.05), (0.005, 1000, 0.05), (0.02, 100, 0.5)]
)
def test_a_hundred_looks_at_rates_find_nothing_in_nineteen_of_twenty(p, per_day, share):
    """Under the always-valid interval at most 5 % of A/A runs are ever called, 4 % on a side."""
    runs, draw = 2_000, np.random.default_rng(14)
    day1 = int(per_day * share)
    n1, n0 = day1 * LOOKS * 1.0, (per_day - day1) * LOOKS * 1.0
    s1 = draw.binomial(day1, p, (runs, 100)).cumsum(axis=1)
    s0 = draw.binomial(per_day - day1, p, (runs, 100)).cumsum(axis=1)
    z = proportions.score_z(s0, n0, s1, n1)

    called = confidence_sequence.p_value(z * z, n0 + n1, 5000.0, ALPHA) < ALPHA
    called &= n1 * ((s0 + s1) / (n0 + n1)) >= 10.0

    worse, better = (100 * np.mean((called & (sign * z > 0)).any(axis=1)) for sign in (-1, 1))
    assert worse + better <= 5.0
    assert max(worse, better) <= 4.0


@pytest.mark.parametrize("share", [0.5, 0.05])
def test_a_hundred_looks_at_revenue_find_nothing_in_nineteen_of_twenty(share):
    """One visitor in twenty pays a lognormal amount (sigma 1): at most 5 % of A/A runs are ever called."""
    runs, per_day, draw = 500, 400, np.random.default_rng(15)
    sizes = [per_day - int(per_day * share), int(per_day * share)]
    sums, squares = [], []
    for size in sizes:
        paid = draw.random((runs, 100, size), np.float32) < 0.05
        amounts = np.where(paid, np.exp(draw.standard_normal((runs, 100, size), np.float32)), np.float32(0))
        sums.append(amounts.sum(axis=2, dtype=np.float64).cumsum(axis=1))
        squares.append((amounts * amounts).sum(axis=2, dtype=np.float64).cumsum(axis=1))
    n0, n1 = (size * LOOKS * 1.0 for size in sizes)
    mean0, mean1 = sums[0] / n0, sums[1] / n1
    v0, v1 = ((q / n - m * m) / (n - 1) for q, n, m in ((squares[0], n0, mean0), (squares[1], n1, mean1)))
    critical = confidence_sequence.multiplier(n0 + n1, 5000.0, ALPHA)

    found = restricted(Moments(mean0, v0, n0, mean1, v1, n1, df=n0 + n1), critical)

    called = confidence_sequence.p_value(found.z_squared, n0 + n1, 5000.0, ALPHA) < ALPHA
    assert 100 * np.mean((called & (np.minimum(n0, n1) >= 100)).any(axis=1)) <= 5.0


def test_the_verdict_of_compare_keeps_the_promise_of_its_kernels():
    """300 A/A runs of 20 looks through `compare` itself are rarely called, and a lift of 20 % is found."""
    draw = np.random.default_rng(16)

    def ever_called(p0, p1):
        s0, s1 = (draw.binomial(500, p, 20).cumsum() for p in (p0, p1))
        return any(
            compare(
                Tally.of_proportion(int(a), 500 * look), Tally.of_proportion(int(b), 500 * look), kind="conversion"
            ).verdict
            != "inconclusive"
            for look, (a, b) in enumerate(zip(s0, s1, strict=True), start=1)
        )

    assert sum(ever_called(0.1, 0.1) for _ in range(100)) <= 6
    assert sum(ever_called(0.1, 0.13) for _ in range(20)) >= 18


def test_a_hundred_looks_at_the_split_raise_few_alarms():
    """The e-value at level .01 is crossed in at most 1 % of honest splits, and finds a lost tenth."""
    draw = np.random.default_rng(17)

    def ever_unhealthy(share):
        seen = draw.binomial(1000, share, 20).cumsum()
        return any(
            sample_ratio((int(a), 1000 * look - int(a)), (1, 1)).e_value >= 100.0
            for look, a in enumerate(seen, start=1)
        )

    assert sum(ever_unhealthy(0.5) for _ in range(150)) <= 4
    assert all(ever_unhealthy(0.47) for _ in range(10))
