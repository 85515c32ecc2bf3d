"""Two rates: the score test and the difference and ratio intervals that agree with it.

The test, Miettinen & Nurminen's difference interval and Koopman's ratio interval all measure by the
variance restricted to the hypothesis, with the same N / (N - 1). They coincide at "no difference", so
one excludes it exactly when the others do. Arrays broadcast; counts are whole and every n is >= 1.
"""

from collections.abc import Callable
from math import isfinite, sqrt

import numpy as np

from stats.saddle_point import Floats

# Newton from the right of a convex function, started where it is at most twice its target: 5 steps as a
# rule. A root stands still once its step is below the tolerance, so its bits do not depend on the batch.
_NEWTON_STEPS_MAX = 30
_NEWTON_TOLERANCE = 1e-14
# Up to so many roots are found one by one: a step of all of them takes numpy 28 calls, however few they are.
_FEW = 16


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
    fall, rise = _roots(_reach, _reach_one, sides)
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
    sides = _sides(target, target_high, (s0, s1), (n0, n1), (s1, s0), (n1, n0))
    low, low_exchanged = _roots(_ratio_low, _ratio_low_one, sides)
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


def _roots(of_all: Callable[..., Floats], of_one: Callable[..., float], sides: list[Floats]) -> Floats:
    """Find all roots by arrays, or few one by one: the same operations in the same order, so the same bits."""
    if sides[0].size > _FEW:
        return of_all(*sides)
    try:
        found = [of_one(*each) for each in zip(*(side.ravel().tolist() for side in sides), strict=True)]
    except (ZeroDivisionError, ValueError):  # where an infinity or no number is right, arrays give it
        return of_all(*sides)
    return np.array(found).reshape(sides[0].shape)


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
    s, n = np.stack((s_a, s_b)), np.stack((n_a, n_b))
    d, spread = (n - 2.0 * s) / n, 4.0 * (s / n) * ((n - s) / n)
    m = np.min(n * _multiplier_alone(d, spread, 2.0 * target / n), axis=0)
    for _ in range(_NEWTON_STEPS_MAX):
        k = m / n
        level = 1.0 + k * d
        root = np.sqrt((k + d) ** 2 + spread)
        # Two ways to write root - level: take the one that adds positive numbers.
        part = np.where(level > 0.0, k * k * spread / (root + level), root - level)
        slope = ((k + d) / root - d).sum(axis=0)
        step = ((n * part).sum(axis=0) - 2.0 * target) / slope
        moves = np.abs(step) > _NEWTON_TOLERANCE * m
        if not moves.any():
            break
        m = np.where(moves, m - step, m)
    # No finite multiplier: the difference is already at its end, -1.
    fall: Floats = np.where(np.isfinite(m), target / m, 0.0)
    return fall


def _reach_one(s_a: float, n_a: float, s_b: float, n_b: float, target: float) -> float:
    """Give what `_reach` gives for one root, to the bit; ZeroDivisionError or ValueError where there is none."""
    _refuse_infinite(s_a + n_a + s_b + n_b + target)
    d_a, d_b = (n_a - 2.0 * s_a) / n_a, (n_b - 2.0 * s_b) / n_b
    spread_a = 4.0 * (s_a / n_a) * ((n_a - s_a) / n_a)
    spread_b = 4.0 * (s_b / n_b) * ((n_b - s_b) / n_b)
    m = min(
        n_a * _multiplier_alone_one(d_a, spread_a, 2.0 * target / n_a),
        n_b * _multiplier_alone_one(d_b, spread_b, 2.0 * target / n_b),
    )
    _refuse_infinite(m)
    for _ in range(_NEWTON_STEPS_MAX):
        k_a, k_b = m / n_a, m / n_b
        part_a, slope_a = _part_one(k_a, d_a, spread_a)
        part_b, slope_b = _part_one(k_b, d_b, spread_b)
        step = ((n_a * part_a + n_b * part_b) - 2.0 * target) / (slope_a + slope_b)
        if not abs(step) > _NEWTON_TOLERANCE * m:
            break
        m -= step
    _refuse_infinite(m)
    return target / m


def _part_one(k: float, d: float, spread: float) -> tuple[float, float]:
    """Give what one arm adds to z squared, in units of n / 2, and its slope."""
    level = 1.0 + k * d
    root = sqrt((k + d) * (k + d) + spread)
    part = k * k * spread / (root + level) if level > 0.0 else root - level
    return part, (k + d) / root - d


def _multiplier_alone_one(d: float, spread: float, e: float) -> float:
    root = sqrt((e * d) * (e * d) + spread * e * (2.0 + e))
    return (e * d + root) / spread if d > 0.0 else e * (2.0 + e) / (root - e * d)


def _refuse_infinite(number: float) -> None:
    if not isfinite(number):
        raise ValueError


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


def _ratio_low_one(s0: float, n0: float, s1: float, n1: float, target: float) -> float:
    """Give what `_ratio_low` gives for one root, to the bit; as `_reach_one` does."""
    _refuse_infinite(s0 + n0 + s1 + n1 + target)
    q0, q1 = (n0 - s0) / n0, (n1 - s1) / n1
    first = 2.0 * target * s1 / (target + sqrt(target * (target + 4.0 * q1 * s1)))
    second = (target + sqrt(target * (target + 4.0 * q0 * s0))) / (2.0 * q0)
    m = min(first, second)
    for _ in range(_NEWTON_STEPS_MAX):
        left, right = s1 - m, s0 + m
        over_left, over_square = (q1 / left, q1 / (left * left)) if q1 > 0.0 else (0.0, 0.0)
        value = m * m * (over_left + q0 / right) - target
        slope = m * ((2.0 * s1 - m) * over_square + q0 * (2.0 * s0 + m) / (right * right))
        if not abs(value) > _NEWTON_TOLERANCE * m * slope:
            break
        m -= value / slope
    _refuse_infinite(m)
    if q1 == 0.0 and second >= n1:
        m, rate1 = n1, 1.0 / (target / n1 + s0 * (n0 + n1) / (n0 * (s0 + n1)))
    else:
        rate1 = 1.0 if q1 == 0.0 else (s1 - m) / (n1 - m)
    return max(rate1 * ((n0 + m) / (s0 + m)), 0.0) if s1 > 0.0 else 0.0


def _over(numerator: Floats, denominator: Floats) -> Floats:
    result: Floats = np.where(numerator > 0.0, numerator / denominator, 0.0)
    return result
