"""Everything two tallies say about each other, before it is put into words."""

from typing import TypeAlias

import msgspec
import numpy as np
from scipy import special

from stats import confidence_sequence, exact, fieller, means, proportions, tails
from stats.saddle_point import Floats
from stats.tally import Tally

# Below this the correction of one half of a converter is made (Anscombe 1956): no logarithm of 0.
_CORRECTED_BELOW = 10.0
_BORDER = 1e-9
_CALIBRATION_LIMIT = 1e-3

_Counts: TypeAlias = tuple[Floats, Floats, Floats, Floats]


class Evidence(msgspec.Struct, frozen=True):
    """Test, limits and log ratio of treatment against control; pairs are (fixed, always-valid).

    A limit that does not exist is infinite, a lift that has no meaning is nan.
    """

    method: str
    difference: float
    p_value: float
    p_value_always_valid: float
    difference_low: Floats
    difference_high: Floats
    lift_low: Floats
    lift_high: Floats
    log_ratio: float
    log_ratio_variance: float


@np.errstate(all="ignore")
def of_proportions(control: Tally, treatment: Tally, alpha: float, planned_n: float) -> Evidence:
    """Weigh two rates by the score family, with the exact mid-P where a cell is below ten."""
    s0, n0, s1, n1 = counts = _counts(control, treatment)
    total = n0 + n1
    z = np.abs(proportions.score_z(*counts))
    critical, p, method = _fixed_test(counts, z, alpha)
    criticals = np.stack([critical, confidence_sequence.multiplier(total, planned_n, alpha)])
    low, high = proportions.difference_interval(s0, n0, s1, n1, criticals)
    ratio_low, ratio_high = proportions.ratio_interval(s0, n0, s1, n1, criticals)
    log_ratio, variance = _log_ratio_of_rates(*counts)
    return Evidence(
        method=method,
        difference=float(s1 / n1 - s0 / n0),
        p_value=float(p),
        p_value_always_valid=float(confidence_sequence.p_value(z * z, total, planned_n, alpha)),
        difference_low=low,
        difference_high=high,
        lift_low=ratio_low - 1.0,
        lift_high=ratio_high - 1.0,
        log_ratio=float(log_ratio),
        log_ratio_variance=float(variance),
    )


@np.errstate(all="ignore")
def of_means(control: Tally, treatment: Tally, alpha: float, planned_n: float, *, least_lift: float) -> Evidence:
    """Weigh two means by Welch's t and Fieller's lift with the same critical value."""
    n0, mean0, v0 = _mean_and_variance(control)
    n1, mean1, v1 = _mean_and_variance(treatment)
    difference, total = mean1 - mean0, n0 + n1
    df = means.welch_df(v0, n0, v1, n1)
    sequential = confidence_sequence.multiplier(total, planned_n, alpha)
    z_squared, w0, w1, widened = means.restricted(difference, v0, n0, v1, n1, critical=sequential)
    criticals = np.stack([tails.student_critical(df, alpha), widened])
    u0, u1 = np.stack([v0, w0]), np.stack([v1, w1])
    margin = criticals * np.sqrt(u0 + u1)
    lift_low, lift_high = fieller.lift_interval(mean0, u0, mean1, u1, criticals, least=least_lift)
    log_ratio = np.log(mean1 / mean0)
    variance = v0 / mean0 / mean0 + v1 / mean1 / mean1
    return Evidence(
        method="Welch t test, Fieller interval of the lift",
        difference=float(difference),
        p_value=float(tails.student_two_sided(difference / np.sqrt(v0 + v1), df)),
        p_value_always_valid=float(confidence_sequence.p_value(z_squared, total, planned_n, alpha)),
        difference_low=difference - margin,
        difference_high=difference + margin,
        lift_low=lift_low,
        lift_high=lift_high,
        log_ratio=float(log_ratio),
        log_ratio_variance=float(variance),
    )


def _fixed_test(counts: _Counts, z: Floats, alpha: float) -> tuple[Floats, Floats, str]:
    """Give the critical value, the p-value and the name of the test these counts call for.

    With a cell below ten the p-value is the exact mid-P. Where it decides otherwise than the score
    test, the critical value is scaled so that the score intervals follow the exact decision.
    """
    critical: Floats = np.asarray(-special.ndtri(alpha / 2.0))
    if exact.smallest_cell(*counts) >= exact.SMALL_CELL:
        p: Floats = 2.0 * special.ndtr(-z)
        return critical, p, "score test, Miettinen-Nurminen and Koopman intervals"
    # Equal rates are no evidence, whatever the discrete tails say.
    p = np.where(z > 0.0, exact.mid_p(*counts), 1.0)
    if (p < alpha) != (z > critical):
        exact_z = np.maximum(-special.ndtri(p / 2.0), critical * _CALIBRATION_LIMIT)
        # Never on the border itself: an interval that touches 0 would not show the decision.
        critical = critical * (z / exact_z) * np.where(p < alpha, 1.0 - _BORDER, 1.0 + _BORDER)
    return critical, p, "exact mid-P test, calibrated Miettinen-Nurminen and Koopman intervals"


def _log_ratio_of_rates(s0: Floats, n0: Floats, s1: Floats, n1: Floats) -> tuple[Floats, Floats]:
    extra = np.where(np.minimum(s0, s1) < _CORRECTED_BELOW, 0.5, 0.0)
    a0, a1, m0, m1 = s0 + extra, s1 + extra, n0 + 2.0 * extra, n1 + 2.0 * extra
    estimate: Floats = np.log((a1 / m1) / (a0 / m0))
    return estimate, (1.0 - a0 / m0) / a0 + (1.0 - a1 / m1) / a1


def _counts(control: Tally, treatment: Tally) -> _Counts:
    s0, n0, s1, n1 = (np.asarray(x, np.float64) for x in (control.sum, control.n, treatment.sum, treatment.n))
    return s0, n0, s1, n1


def _mean_and_variance(tally: Tally) -> tuple[Floats, Floats, Floats]:
    n, total, m2 = (np.asarray(x, np.float64) for x in (tally.n, tally.sum, tally.m2))
    return n, total / n, m2 / (n * (n - 1.0))
