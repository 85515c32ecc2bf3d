"""Looking often, many arms, many metrics: errors of whole runs and of whole families."""

import numpy as np

from stats import confidence_sequence, dunnett, group_sequential, multiplicity, proportions, sample_ratio, tails
from stats.arms import Arms
from stats.comparison import EXPECTED_MIN, rarer_outcomes
from stats.moments import of_means, restricted
from stats.terms import PLANNED_N
from tests.stats.simulation.gates import Gate, share

ALPHA = 0.05
LOOKS = 100
CHUNK = 5_000


def always_valid_rates(runs, seed):
    """A hundred daily looks at equal rates: how often a difference is ever found, on each side."""
    draw = np.random.default_rng(seed)
    for p, per_day, part in (
        (0.005, 1_000, 0.5), (0.02, 50, 0.5), (0.02, 100, 0.5), (0.05, 1_000, 0.5), (0.3, 200, 0.5),
        (0.005, 1_000, 0.05), (0.02, 1_000, 0.05), (0.1, 200, 0.05),
    ):  # fmt: skip
        day1 = max(1, round(per_day * part))
        called = [_called(draw, min(CHUNK, runs - at), p, per_day - day1, day1) for at in range(0, runs, CHUNK)]
        worse, better = (np.concatenate(each) for each in zip(*called, strict=True))
        name = f"always valid, 100 looks, p {100 * p:g} %, {per_day:,} a day, {part:.0%} treated"
        yield share(worse | better, f"{name}: ever called", 0, 5)
        yield share(worse, f"{name}: called worse", 0, 4)
        yield share(better, f"{name}: called better", 0, 4)


def always_valid_revenue(runs, seed):
    """A hundred looks at revenue: one in twenty pays a lognormal amount (sigma 1)."""
    draw = np.random.default_rng(seed)
    for per_day, part in ((400, 0.5), (400, 0.05)):
        sizes = [per_day - round(per_day * part), round(per_day * part)]
        found = []
        for _ in range(0, runs, 250):
            arms = [_paid(draw, 250, size) for size in sizes]
            moments = of_means(*arms)
            n = moments.n0 + moments.n1
            bound = restricted(moments, confidence_sequence.multiplier(n, PLANNED_N, ALPHA))
            p = confidence_sequence.p_value(bound.z_squared, n, PLANNED_N, ALPHA)
            found.append(((p < ALPHA) & (np.minimum(moments.n0, moments.n1) >= 100)).any(axis=1))
        label = f"always valid, 100 looks at revenue, {part:.0%} treated: ever called"
        yield share(np.concatenate(found), label, 0, 5)


def group_sequential_size(runs, seed):
    """Lan-DeMets bounds at equal, unequal and overrunning looks; power next to a test of one look."""
    draw = np.random.default_rng(seed)
    plans = [(f"{k} looks", tuple((i + 1) / k for i in range(k))) for k in (2, 5, 10, 20)]
    plans += [("unequal looks", (0.1, 0.35, 0.4, 0.9, 1.0)), ("an overrun of 8 %", (0.25, 0.5, 0.75, 1.08))]
    for rule in ("obrien_fleming", "pocock", "power"):
        for name, info in plans:
            limits = np.array(group_sequential.bounds(info, ALPHA, rule))
            z = _paths(draw, runs, info)
            yield share((np.abs(z) >= limits).any(axis=1), f"{rule}, {name}: ever called", 4.8, 5.2)
            if rule == "obrien_fleming":
                drift = 1.959964 + 0.7926
                found = (z + drift * np.sqrt(info) >= limits).any(axis=1)
                label = f"{rule}, {name}: power at 78.6 % of one look"
                yield share(found, label, 0.96 * 78.6, 100)
    info = tuple(np.arange(1, 501) / 500)
    critical = group_sequential.continuous_critical(np.array(info), ALPHA)
    chunks = [_paths(draw, min(10_000, runs - at), info) for at in range(0, runs, 10_000)]
    called = np.concatenate([(np.abs(z) >= critical).any(axis=1) for z in chunks])
    yield share(called, "endless looks until the horizon (500 of them): ever called", 4.0, 5.0)
    drift = (1.959964 + 0.7926) * np.sqrt(np.array(info))
    found = np.concatenate([(z + drift >= critical).any(axis=1) for z in chunks])
    yield share(found, "endless looks until the horizon: power at 78.6 % of one look", 0.96 * 78.6, 100)


def families(runs, seed):
    """Several treatments against one control, and many correlated metrics."""
    draw = np.random.default_rng(seed)
    for k in (2, 3, 5, 8):
        for name, sizes in (("equal arms", np.ones(k)), ("unequal arms", np.linspace(0.2, 2, k))):
            loadings = dunnett.loadings(np.ones(1), sizes)
            each = draw.normal(size=(runs, k)) / np.sqrt(sizes) - draw.normal(size=(runs, 1))
            z = each / np.sqrt(1 / sizes + 1)
            p = np.concatenate(
                [dunnett.adjusted_p(part, loadings) for part in np.array_split(tails.two_sided(z), 40)]
            )
            yield share((p < ALPHA).any(axis=1), f"Dunnett, {k} treatments, {name}: any called", 4.9, 5.1)
            by_level = tails.two_sided(z) < dunnett.level(ALPHA, loadings)
            yield share((p < ALPHA) != by_level, f"Dunnett, {k}, {name}: p-value against interval", 0, 0)
    for rho in (0.0, 0.5):
        common = draw.normal(size=(runs, 1))
        z = np.sqrt(rho) * common + np.sqrt(1 - rho) * draw.normal(size=(runs, 20))
        false = np.arange(20) >= 5
        p = tails.two_sided(z + np.where(false, 0.0, 3.0))
        for rule in ("bonferroni", "holm"):
            wrong = (multiplicity.adjust(p, rule) <= ALPHA)[:, false].any(axis=1)
            yield share(wrong, f"{rule}, 15 of 20 without effect, correlation {rho}: any wrong", 0, 5)
        rejected = multiplicity.adjust(p, "bh") <= ALPHA
        wrong = rejected[:, false].sum(axis=1) / np.maximum(rejected.sum(axis=1), 1)
        label = f"Benjamini-Hochberg, correlation {rho}: share of wrong discoveries"
        yield Gate(label, 100 * float(wrong.mean()), 0, 5, runs)


def sample_ratios(runs, seed):
    """A hundred looks at the split: false alarms of the e-value, and how surely 51/49 is found."""
    draw = np.random.default_rng(seed)
    for weights in ([1, 1], [9, 1], [1, 1, 1], [5, 3, 1, 1], [1, 1, 1, 1, 1]):
        shares = np.array(weights) / sum(weights)
        log_e = _split_evidence(draw, runs, shares, shares)
        for alpha in (0.05, 0.01, 0.001):
            label = f"split {':'.join(map(str, weights))}, 100 looks: e-value beyond {1 / alpha:g}"
            yield share((log_e >= -np.log(alpha)).any(axis=1), label, 0, 100 * alpha)
    log_e = _split_evidence(draw, runs, np.array([0.51, 0.49]), np.array([0.5, 0.5]))
    found = (log_e >= -np.log(0.001)).any(axis=1)
    yield share(found, "a split of 51/49 at 1,000 a day is found in 100 days, level .001", 97, 100)


def _called(draw, runs, p, day0, day1):
    days = np.arange(1, LOOKS + 1)
    s0 = draw.binomial(day0, p, (runs, LOOKS)).cumsum(axis=1)
    s1 = draw.binomial(day1, p, (runs, LOOKS)).cumsum(axis=1)
    control, treatment = Arms.of_proportions(s0, day0 * days), Arms.of_proportions(s1, day1 * days)
    n = control.n + treatment.n
    z = proportions.score_z(control.sum, control.n, treatment.sum, treatment.n)
    p_value = confidence_sequence.p_value(z * z, n, PLANNED_N, ALPHA)
    called = (p_value < ALPHA) & (rarer_outcomes(control, treatment) >= EXPECTED_MIN)
    return tuple((called & (sign * z > 0)).any(axis=1) for sign in (-1, 1))


def _paid(draw, runs, per_day):
    paid = draw.random((runs, LOOKS, per_day), np.float32) < 0.05
    amounts = np.where(paid, np.exp(draw.standard_normal(paid.shape, np.float32)), np.float32(0))
    sums = amounts.sum(axis=2, dtype=np.float64).cumsum(axis=1)
    squares = (amounts.astype(np.float64) ** 2).sum(axis=2).cumsum(axis=1)
    n = np.broadcast_to(per_day * np.arange(1.0, LOOKS + 1), sums.shape)
    return Arms(n, sums, squares - sums * sums / n)


def _paths(draw, runs, info):
    steps = np.sqrt(np.diff(info, prepend=0.0))
    return (draw.normal(size=(runs, len(info))) * steps).cumsum(axis=1) / np.sqrt(info)


def _split_evidence(draw, runs, shares, planned):
    counts = draw.multinomial(1_000, shares, (runs, LOOKS)).cumsum(axis=1).astype(np.float64)
    return np.concatenate(
        [sample_ratio.splits(part, planned).log_e for part in np.array_split(counts, runs // 500 + 1)]
    )
