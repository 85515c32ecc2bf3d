"""One planned look: size of each tail, coherence, coverage, CUPED, skewed values, epochs, calibration."""

import numpy as np

from stats import cuped, winsor
from stats.arms import Arms
from stats.comparison import BETTER, WORSE, compare_arms, compare_moments
from stats.strata import of_epochs
from stats.terms import Terms
from tests.stats.simulation.gates import Gate, share

FIXED = Terms(regime="fixed")
CHUNK = 50_000


def size_of_rates(runs, seed):
    """Each tail of an A/A test of rates, wherever the small arm expects ten converters."""
    draw = np.random.default_rng(seed)
    for p in (0.005, 0.02, 0.05, 0.3):
        for n in (500, 2_000, 10_000):
            for part in (0.5, 0.1):
                n1 = round(2 * n * part)
                n0 = 2 * n - n1
                if n1 * p < 10:
                    continue
                verdicts = _verdicts(draw, runs, (p, n0), (p, n1))
                low, high = (1.5, 3.5) if n1 * p < 30 else (2.2, 2.8)
                for name, code in (("worse", WORSE), ("better", BETTER)):
                    label = f"A/A of rates, p {100 * p:g} %, {n0:,} against {n1:,}, called {name}"
                    yield share(verdicts == code, label, low, high)


def coherence(runs, seed):
    """Difference, lift, p-value and estimate never contradict each other, from empty to full cells."""
    draw = np.random.default_rng(seed)
    n0, n1 = (np.floor(10 ** draw.uniform(0, 6, (runs, 1))) for _ in range(2))
    s0, s1 = (np.floor(n * draw.choice([0, 1e-3, 0.01, 0.1, 0.5, 0.99, 1], (runs, 1))) for n in (n0, n1))
    s0, s1 = (np.clip(s + draw.integers(-2, 3, (runs, 1)), 0, n) for s, n in ((s0, n0), (s1, n1)))
    found = compare_arms(Arms.of_proportions(s0, n0), Arms.of_proportions(s1, n1), "conversion")
    yield from _contradictions(found, found.limits.fixed, ~found.impossible, "one look, rates")
    spoken = ~found.impossible & ~found.too_early
    yield from _contradictions(found, found.limits.always_valid, spoken, "always valid, rates")
    n0, n1 = (np.floor(10 ** draw.uniform(0.5, 6, (runs, 1))) for _ in range(2))
    mean0, mean1 = draw.uniform(0.1, 10, (runs, 1)), draw.uniform(-10, 10, (runs, 1))
    control, treatment = (
        Arms(n, n * mean, n * draw.lognormal(0, 3, (runs, 1))) for n, mean in ((n0, mean0), (n1, mean1))
    )
    found = compare_arms(control, treatment, "value")
    yield from _contradictions(found, found.limits.fixed, ~found.impossible, "one look, means")
    spoken = ~found.impossible & ~found.too_early & np.isfinite(found.limits.always_valid.low)
    yield from _contradictions(found, found.limits.always_valid, spoken, "always valid, means")


def coverage(runs, seed):
    """95 % intervals of difference and lift hold the truth, near zero and far from it."""
    draw = np.random.default_rng(seed)
    for lift in (-0.3, 0.0, 0.2, 1.0):
        for p, n in ((0.01, 5_000), (0.05, 500), (0.1, 2_000)):
            s0, s1 = (draw.binomial(n, rate, (runs, 1)) for rate in (p, p * (1 + lift)))
            found = compare_arms(Arms.of_proportions(s0, n), Arms.of_proportions(s1, n), "conversion", FIXED)
            high = 95.8 if n * p * min(1, 1 + lift) >= 30 else 97.0
            for name, gate in _covers(found, p * lift, lift):
                yield share(
                    gate, f"95 % interval of the {name}, p {100 * p:g} %, n {n:,}, lift {lift:+.0%}", 94.5, high
                )
        n = 1_000
        (m0, q0), (m1, q1) = (_normal_arm(draw, runs, 10 * (1 + each), 8.0, n) for each in (0.0, lift))
        found = compare_arms(_arms(n, m0, q0), _arms(n, m1, q1), "value", FIXED)
        for name, gate in _covers(found, 10 * lift, lift):
            yield share(gate, f"95 % interval of the {name} of means, lift {lift:+.0%}", 94.5, 95.8)


def cuped_coverage(runs, seed):
    """95 % intervals after CUPED, absolute and relative, with a slope that the treatment changes."""
    draw = np.random.default_rng(seed)
    for rho in (0.0, 0.5, 0.95):
        for lift in (0.0, 0.1, 0.5):
            for n0, n1 in ((1_000, 1_000), (1_800, 200)):
                steeper = 1.0 + lift
                control = _covariate_arm(draw, runs, n0, 10.0, rho, 1.0)
                treatment = _covariate_arm(draw, runs, n1, 10.0 * (1 + lift), rho, steeper)
                found = cuped.adjust(control, treatment)
                compared = compare_moments(found.adjusted, control.arms, treatment.arms, "value", FIXED)
                for name, gate in _covers(compared, 10 * lift, lift):
                    label = f"CUPED interval of the {name}, rho {rho:g}, lift {lift:+.0%}, {n0:,}/{n1:,}"
                    yield share(gate, label, 94.5, 95.8)
                if lift == 0.0:
                    left, wanted = 100 * float(found.variance_ratio.mean()), 100 * (1 - rho * rho)
                    label = f"CUPED variance left, rho {rho:g}, {n0:,}/{n1:,}"
                    yield Gate(label, left, wanted - 1, wanted + 1, runs)


def skewed_revenue(runs, seed):
    """One visitor in twenty pays a lognormal amount (sigma 2): the size holds, and the flag is raised."""
    draw = np.random.default_rng(seed)
    for n in (1_000, 10_000):
        arms = [_paid(draw, runs, n) for _ in range(2)]
        found = compare_arms(*(arm for arm, _ in arms), "value", FIXED)
        yield share(np.abs(found.verdicts) == 1, f"A/A of skewed revenue, n {n:,}", 0.0, 5.5)
        skewness = arms[0][1]
        yield share(winsor.needs_cap(np.asarray(float(n)), skewness), f"skewness flagged, n {n:,}", 95.0, 100.0)


def changed_weights(runs, seed):
    """90/10, then 50/50 at twice the rate: epochs compared each in itself, no lift is made up."""
    draw = np.random.default_rng(seed)
    n0, n1 = np.array([9_000.0, 5_000.0])[:, None, None], np.array([1_000.0, 5_000.0])[:, None, None]
    p = np.array([0.05, 0.1])[:, None, None]
    control, treatment = (Arms.of_proportions(draw.binomial(n.astype(int), p, (2, runs, 1)), n) for n in (n0, n1))
    moments = of_epochs(control, treatment, proportions=True)
    pooled = [Arms.of_proportions(arm.sum.sum(axis=0), arm.n.sum(axis=0)) for arm in (control, treatment)]
    found = compare_moments(moments, *pooled, "conversion", FIXED)
    naive = compare_arms(*pooled, "conversion", FIXED)
    yield share(found.verdicts == WORSE, "A/A over changed weights, called worse", 2.0, 2.8)
    yield share(found.verdicts == BETTER, "A/A over changed weights, called better", 2.0, 2.8)
    yield share(naive.verdicts == BETTER, "the same pooled, as must not be done: called better", 90.0, 100.0)


def calibration(runs, seed):
    """With effects drawn from the prior, a chance to beat of q comes true in a share q."""
    draw = np.random.default_rng(seed)
    effect = draw.normal(0, 0.05, (runs, 1))
    n, p = 20_000, 0.1
    s0, s1 = draw.binomial(n, p, (runs, 1)), draw.binomial(n, p * np.exp(effect))
    found = compare_arms(Arms.of_proportions(s0, n), Arms.of_proportions(s1, n), "conversion", FIXED)
    chance = found.bayes[0]
    for low in (0.05, 0.25, 0.45, 0.65, 0.85):
        chosen = (chance >= low) & (chance < low + 0.1)
        told = 100 * float(chance[chosen].mean())
        yield share(effect[chosen] > 0, f"chance to beat of about {told:.0f} % comes true", told - 1, told + 1)


def _verdicts(draw, runs, *arms):
    found = []
    for start in range(0, runs, CHUNK):
        count = min(CHUNK, runs - start)
        tallies = [Arms.of_proportions(draw.binomial(n, p, (count, 1)), n) for p, n in arms]
        found.append(compare_arms(*tallies, "conversion", FIXED).verdicts)
    return np.concatenate(found)


def _contradictions(found, limits, spoken, name):
    alpha, clear = found.terms.alpha, np.abs(limits.p_value / found.terms.alpha - 1) > 1e-6
    apart = (limits.low > 0) | (limits.high < 0)
    apart_lift = (limits.lift_low > 0) | (limits.lift_high < 0)
    known = spoken & (found.control_mean > 0)
    room = 1e-12 * (1 + np.abs(found.difference))
    outside = (limits.low > found.difference + room) | (limits.high < found.difference - room)
    yield share(spoken & clear & (apart != (limits.p_value < alpha)), f"interval against p-value, {name}", 0, 0)
    yield share(known & clear & (apart != apart_lift), f"difference against lift, {name}", 0, 0)
    yield share(spoken & outside, f"estimate outside its interval, {name}", 0, 0)


def _covers(found, difference, lift):
    limits, slack = found.limits.fixed, 1e-12
    yield "difference", (limits.low <= difference + slack) & (limits.high >= difference - slack)
    yield "lift", (limits.lift_low <= lift + slack) & (limits.lift_high >= lift - slack)


def _normal_arm(draw, runs, mean, sd, n):
    return draw.normal(mean, sd / np.sqrt(n), (runs, 1)), sd * sd * draw.chisquare(n - 1, (runs, 1))


def _arms(n, mean, m2):
    return Arms(np.full(mean.shape, float(n)), mean * n, m2)


def _covariate_arm(draw, runs, n, mean, rho, steeper):
    """Draw the sufficient statistics of n visitors: x standard normal, y = mean + 4 (steeper rho x + noise)."""
    noise_sd = np.sqrt(1 - rho * rho)
    x_mean, e_mean = draw.normal(0, 1 / np.sqrt(n), (2, runs, 1))
    # Bartlett: the scatter of two independent standard normals.
    a = np.sqrt(draw.chisquare(n - 1, (runs, 1)))
    b, c = draw.normal(size=(runs, 1)), np.sqrt(draw.chisquare(n - 2, (runs, 1)))
    xx, xe, ee = a * a, a * b, b * b + c * c
    slope, spread = 4 * steeper * rho, 4 * noise_sd
    return cuped.CovariateArm(
        n=np.full((runs, 1), float(n)),
        y=mean + slope * x_mean + spread * e_mean,
        yy=slope * slope * xx + 2 * slope * spread * xe + spread * spread * ee,
        x=x_mean[..., None],
        xx=xx[..., None, None],
        xy=(slope * xx + spread * xe)[..., None],
    )


def _paid(draw, runs, n):
    sums, squares, cubes = np.zeros((3, runs, 1))
    for i in range(runs):
        amounts = draw.lognormal(0, 2, draw.binomial(n, 0.05))
        sums[i], squares[i], cubes[i] = amounts.sum(), (amounts**2).sum(), (amounts**3).sum()
    mean = sums / n
    m2 = squares - n * mean**2
    skewness = (cubes / n - 3 * mean * squares / n + 2 * mean**3) / (m2 / n) ** 1.5
    return _arms(n, mean, m2), skewness
