"""Two rates: the score test and the difference and ratio intervals that agree with it.

The test, Miettinen & Nurminen's difference interval and Koopman's ratio interval all measure by the
variance restricted to the hypothesis, with the same N / (N - 1). They coincide at "no difference", so
one excludes it exactly when the others do. Arrays broadcast; counts are whole and every n is >= 1.
"""

import numpy as np

from stats.saddle_point import Floats

# Newton from the right of a convex function, started where it is at most twice its target: 5 steps as a
# rule. A root stands still once its step is below the tolerance, so its bits do not depend on the batch.
_NEWTON_STEPS_MAX = 30
_NEWTON_TOLERANCE = 1e-14


@np.errstate(all="ignore")
def score_z(s0: Floats, n0: Floats, s1: Floats, n1: Floats, *, unbiased: bool = True) -> Floats:
    """Give the score statistic of rate 1 minus rate 0, 0 where nobody or everybody converted.

    `unbiased` carries the N / (N - 1) of Miettinen & Nurminen 1985; without it, the pooled z.
    """
    total = n0 + n1
    spread = ((s0 + s1) / total) * (((n0 - s0) + (n1 - s1)) / total)
    variance = spread * (1.0 / n0 + 1.0 / n1) * _variance_factor(total, unbiased=unbiased)
    z: Floats = np.where(variance > 0.0, (s1 / n1 - s0 / n0) / np.sqrt(variance), 0.0)
    return z


def difference_interval(
    s0: Floats,
    n0: Floats,
    s1: Floats,
    n1: Floats,
    critical: Floats,
    critical_high: Floats | None = None,
    *,
    unbiased: bool = True,
) -> tuple[Floats, Floats]:
    """Give the limits of rate 1 minus rate 0 within which |score z| <= `critical`, inside [-1, 1].

    `critical_high` is that of the upper limit where it is another one. Miettinen & Nurminen 1985; Mee 1984
    without `unbiased`.
    """
    target, target_high = _targets(critical, critical_high, n0 + n1, unbiased=unbiased)
    estimate = s1 / n1 - s0 / n0
    # The upper limit is the lower one of the visitors who did not convert: both are found at once.
    sides = _sides(target, target_high, (s1, n1 - s1), (n1, n1), (n0 - s0, s0), (n0, n0))
    fall, rise = _reach(*sides)
    return np.clip(estimate - fall, -1.0, 1.0), np.clip(estimate + rise, -1.0, 1.0)


@np.errstate(all="ignore")
def ratio_interval(
    s0: Floats,
    n0: Floats,
    s1: Floats,
    n1: Floats,
    critical: Floats,
    critical_high: Floats | None = None,
    *,
    unbiased: bool = True,
) -> tuple[Floats, Floats]:
    """Give the limits of rate 1 over rate 0 within which |score z| <= `critical`; inf is unbounded.

    `critical_high` is that of the upper limit where it is another one. Koopman 1984 with Miettinen &
    Nurminen's N / (N - 1); Koopman's own without `unbiased`.
    """
    target, target_high = _targets(critical, critical_high, n0 + n1, unbiased=unbiased)
    # The upper limit is one over the lower one of the arms exchanged.
    low, low_exchanged = _ratio_low(*_sides(target, target_high, (s0, s1), (n0, n1), (s1, s0), (n1, n0)))
    return low, 1.0 / low_exchanged


def _sides(target: Floats, target_high: Floats, *pairs: tuple[Floats, Floats]) -> list[Floats]:
    """Put what gives the lower limit and what gives the upper one beside each other, the targets last."""
    shape = np.broadcast_shapes(target.shape, target_high.shape, *(each.shape for pair in pairs for each in pair))
    found = []
    for pair in (*pairs, (target, target_high)):
        both = np.empty((2, *shape))
        both[0], both[1] = pair
        found.append(both)
    return found


def _targets(
    critical: Floats, critical_high: Floats | None, total: Floats, *, unbiased: bool
) -> tuple[Floats, Floats]:
    factor = _variance_factor(total, unbiased=unbiased)
    low = critical * critical * factor
    return low, low if critical_high is None else critical_high * critical_high * factor


def _variance_factor(total: Floats, *, unbiased: bool) -> Floats:
    return total / (total - 1.0) if unbiased else np.ones_like(total)


@np.errstate(all="ignore")
def _reach(s_a: Floats, n_a: Floats, s_b: Floats, n_b: Floats, target: Floats) -> Floats:
    """Give how far the difference falls before z squared reaches `target`.

    With the Lagrange multiplier m of the restricted likelihood, z squared = m * fall, and each arm adds
    n (S - 1 - k d) / 2, where k = m / n, d = 1 - 2 s / n, S = sqrt((k + d)^2 + 1 - d^2): convex in m.
    """
    s, n, aim = (np.stack(pair) for pair in _paired(s_a, n_a, s_b, n_b, target))
    d, spread = (n - 2.0 * s) / n, 4.0 * (s / n) * ((n - s) / n)
    m = np.min(n * _multiplier_alone(d, spread, 2.0 * aim / n), axis=0)
    for _ in range(_NEWTON_STEPS_MAX):
        k = m / n
        level = 1.0 + k * d
        root = np.sqrt((k + d) ** 2 + spread)
        # Two ways to write root - level: take the one that adds positive numbers.
        part = np.where(level > 0.0, k * k * spread / (root + level), root - level)
        slope = ((k + d) / root - d).sum(axis=0)
        step = ((n * part).sum(axis=0) - 2.0 * aim[0]) / slope
        moves = np.abs(step) > _NEWTON_TOLERANCE * m
        if not moves.any():
            break
        m = np.where(moves, m - step, m)
    # No finite multiplier: the difference is already at its end, -1.
    fall: Floats = np.where(np.isfinite(m), aim[0] / m, 0.0)
    return fall


def _paired(
    s_a: Floats, n_a: Floats, s_b: Floats, n_b: Floats, target: Floats
) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats], tuple[Floats, Floats]]:
    s_a, n_a, s_b, n_b, target = np.broadcast_arrays(s_a, n_a, s_b, n_b, target)
    return (s_a, s_b), (n_a, n_b), (target, target)


def _multiplier_alone(d: Floats, spread: Floats, e: Floats) -> Floats:
    """Give the k at which one arm alone reaches its target (e = 2 target / n), inf if it never does."""
    root = np.sqrt((e * d) ** 2 + spread * e * (2.0 + e))
    result: Floats = np.where(d > 0.0, (e * d + root) / spread, e * (2.0 + e) / (root - e * d))
    return result


@np.errstate(all="ignore")
def _ratio_low(s0: Floats, n0: Floats, s1: Floats, n1: Floats, target: Floats) -> Floats:
    """Give the ratio below the estimate at which z squared reaches `target`.

    With m the multiplier times the restricted rate 1, both restricted rates are (s1 - m) / (n1 - m) and
    (s0 + m) / (n0 + m), and z squared = m^2 (q1 / (s1 - m) + q0 / (s0 + m)): convex in m, 0 <= m <= s1.
    """
    q0, q1 = (n0 - s0) / n0, (n1 - s1) / n1
    first = 2.0 * target * s1 / (target + np.sqrt(target * (target + 4.0 * q1 * s1)))
    second = (target + np.sqrt(target * (target + 4.0 * q0 * s0))) / (2.0 * q0)
    m = np.minimum(first, second)
    for _ in range(_NEWTON_STEPS_MAX):
        left, right = s1 - m, s0 + m
        value = m * m * (_over(q1, left) + q0 / right) - target
        slope = m * ((2.0 * s1 - m) * _over(q1, left * left) + q0 * (2.0 * s0 + m) / (right * right))
        moves = np.abs(value) > _NEWTON_TOLERANCE * m * slope
        if not moves.any():
            break
        m = np.where(moves, m - value / slope, m)
    # Everybody in arm 1 converted: rate 1 leaves 1 only once m has reached n1.
    stuck = (q1 == 0.0) & (second >= n1)
    held = 1.0 / (target / n1 + s0 * (n0 + n1) / (n0 * (s0 + n1)))
    m = np.where(stuck, n1, m)
    rate1 = np.where(stuck, held, np.where(q1 == 0.0, 1.0, (s1 - m) / (n1 - m)))
    theta = rate1 * ((n0 + m) / (s0 + m))
    low: Floats = np.where(s1 > 0.0, np.maximum(theta, 0.0), 0.0)
    return low


def _over(numerator: Floats, denominator: Floats) -> Floats:
    result: Floats = np.where(numerator > 0.0, numerator / denominator, 0.0)
    return result
