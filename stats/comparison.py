"""One treatment against its control: estimate, intervals, p-values, second view and verdict."""

from math import inf, isfinite
from typing import Literal, TypeAlias

import msgspec
import numpy as np

from stats import evidence as evidence_of
from stats import posterior
from stats.evidence import Evidence
from stats.not_enough_data import NotEnoughData
from stats.tally import Tally

__all__ = [
    "AlwaysValid",
    "Bayes",
    "Comparison",
    "Interval",
    "Kind",
    "NotEnoughData",
    "Regime",
    "Verdict",
    "compare",
]

Kind: TypeAlias = Literal["conversion", "count", "value"]
Regime: TypeAlias = Literal["always_valid", "fixed"]
Verdict: TypeAlias = Literal["better", "worse", "inconclusive"]

ALPHA_MIN = 1e-15
PLANNED_N = 5_000.0
PRIOR_LOG_RATIO_SD = 0.05

# A p-value is never reported as 0: below this it is this.
_SMALLEST_P = 2.2250738585072014e-308
# An approximation by normal laws holds once the rarer outcome is expected this often in either arm.
_EXPECTED_MIN = 10.0
_VISITORS_MIN = 100.0
# Up to here a float counts without a gap.
_VISITORS_MAX = 2.0**53


class Interval(msgspec.Struct, frozen=True):
    """An estimate with its limits; None is unbounded."""

    estimate: float
    low: float | None
    high: float | None


class AlwaysValid(msgspec.Struct, frozen=True):
    """A p-value and limits of the absolute difference that hold at every look, with the same for the lift."""

    p_value: float
    low: float
    high: float
    relative: Interval | NotEnoughData


class Bayes(msgspec.Struct, frozen=True):
    """The chance that the treatment's mean is higher, and the expected loss of choosing it.

    The loss is in units of the log ratio: near 0, a fraction of the control's mean.
    """

    chance_to_beat: float
    expected_loss: float


class Comparison(msgspec.Struct, frozen=True):
    """Treatment against control; `absolute`, `relative` and `p_value` hold for one look, planned before.

    `verdict` and `reason` follow `regime`; `relative` is treatment / control - 1.
    """

    absolute: Interval
    relative: Interval | NotEnoughData
    p_value: float
    always_valid: AlwaysValid | NotEnoughData
    bayes: Bayes | NotEnoughData
    verdict: Verdict
    reason: str
    method: str
    alpha: float
    regime: Regime
    planned_n: float


def compare(
    control: Tally,
    treatment: Tally,
    *,
    kind: Kind,
    alpha: float = 0.05,
    method: Regime = "always_valid",
    planned_n: float = PLANNED_N,
    prior_log_ratio_sd: float = PRIOR_LOG_RATIO_SD,
) -> Comparison | NotEnoughData:
    """Compare two arms so that difference, ratio and p-value never disagree about the sign.

    `alpha` is two-sided; `planned_n` is the visitors of both arms at which the always-valid interval is
    narrowest, it holds at any; the prior of the log ratio is normal about 0. Raises ValueError for an
    `alpha` outside [1e-15, 1) and a `planned_n` or a prior that is not positive.
    """
    if not (ALPHA_MIN <= alpha < 1.0 and 0.0 < planned_n < inf and 0.0 < prior_log_ratio_sd < inf):
        raise ValueError(f"no test has {alpha=}, {planned_n=}, {prior_log_ratio_sd=}")
    impossible = _why_impossible(control, treatment, kind)
    if impossible:
        return NotEnoughData(impossible)
    if kind == "conversion":
        evidence = evidence_of.of_proportions(control, treatment, alpha, planned_n)
    else:
        least = -1.0 if kind == "count" else -inf
        evidence = evidence_of.of_means(control, treatment, alpha, planned_n, least_lift=least)
    low, high = (float(limit[0]) for limit in (evidence.difference_low, evidence.difference_high))
    always_valid = _always_valid(control, treatment, kind, evidence)
    verdict, reason = _verdict(low, high, always_valid, method, alpha)
    return Comparison(
        absolute=Interval(evidence.difference, low, high),
        relative=_relative(control, treatment, evidence, 0),
        p_value=max(evidence.p_value, _SMALLEST_P),
        always_valid=always_valid,
        bayes=_bayes(evidence, prior_log_ratio_sd),
        verdict=verdict,
        reason=reason,
        method=evidence.method,
        alpha=alpha,
        regime=method,
        planned_n=planned_n,
    )


def _why_impossible(control: Tally, treatment: Tally, kind: Kind) -> str | None:
    reasons = (_why_no_arm("control", control, kind), _why_no_arm("treatment", treatment, kind))
    if any(reasons):
        return reasons[0] or reasons[1]
    if kind == "conversion":
        converters = control.sum + treatment.sum
        if converters == 0.0:
            return "Nobody has converted in either arm yet."
        if converters == control.n + treatment.n:
            return "Everybody has converted in both arms, so the rates cannot be told apart."
    elif not control.m2 / control.n / control.n + treatment.m2 / treatment.n / treatment.n > 0.0:
        return "Within each arm every visitor has the same value, so chance cannot be measured."
    return None


def _why_no_arm(name: str, arm: Tally, kind: Kind) -> str | None:
    if not (arm.n <= _VISITORS_MAX and isfinite(arm.sum) and 0.0 <= arm.m2 < inf):
        return f"The tally of the {name} is beyond what can be computed with."
    fewest = 1.0 if kind == "conversion" else 2.0
    if arm.n < fewest:
        return f"The {name} has too few visitors ({arm.n:.0f}); a comparison needs at least {fewest:.0f}."
    if kind == "conversion" and not 0.0 <= arm.sum <= arm.n:
        return f"The {name} has {arm.sum:.0f} converters among {arm.n:.0f} visitors, which is no rate."
    return None


def _why_too_early(control: Tally, treatment: Tally, kind: Kind) -> str | None:
    """Say why no always-valid verdict is given yet, judged without looking at the difference."""
    smaller = min(control.n, treatment.n)
    if kind != "conversion":
        if smaller >= _VISITORS_MIN:
            return None
        return f"The smaller arm has {smaller:.0f} visitors; an always-valid verdict needs {_VISITORS_MIN:.0f}."
    total, converters = control.n + treatment.n, control.sum + treatment.sum
    expected = smaller * (min(converters, total - converters) / total)
    if expected >= _EXPECTED_MIN:
        return None
    outcome = "conversions" if converters <= total - converters else "visitors without a conversion"
    return (
        f"At the common rate the smaller arm expects {expected:.1f} {outcome};"
        f" an always-valid verdict needs {_EXPECTED_MIN:.0f}."
    )


def _always_valid(control: Tally, treatment: Tally, kind: Kind, evidence: Evidence) -> AlwaysValid | NotEnoughData:
    too_early = _why_too_early(control, treatment, kind)
    if too_early:
        return NotEnoughData(too_early)
    low, high = float(evidence.difference_low[1]), float(evidence.difference_high[1])
    if not (isfinite(low) and isfinite(high)):
        return NotEnoughData("There are too few visitors yet for the number of visitors planned.")
    return AlwaysValid(
        p_value=max(evidence.p_value_always_valid, _SMALLEST_P),
        low=low,
        high=high,
        relative=_relative(control, treatment, evidence, 1),
    )


def _relative(
    control: Tally, treatment: Tally, evidence: Evidence, which: Literal[0, 1]
) -> Interval | NotEnoughData:
    if control.mean <= 0.0:
        return NotEnoughData("The mean of the control is not above zero, so a lift over it has no meaning.")
    estimate = evidence.difference / control.mean
    low, high = float(evidence.lift_low[which]), float(evidence.lift_high[which])
    if not isfinite(estimate) or not (low < inf and high > -inf):
        return NotEnoughData(
            f"The means {control.mean:.6g} and {treatment.mean:.6g} are too far apart for a ratio."
        )
    return Interval(estimate, _bounded(low), _bounded(high))


def _bounded(limit: float) -> float | None:
    return limit if isfinite(limit) else None


def _bayes(evidence: Evidence, prior_sd: float) -> Bayes | NotEnoughData:
    estimate, variance = evidence.log_ratio, evidence.log_ratio_variance
    if not (isfinite(estimate) and isfinite(variance) and variance > 0.0):
        return NotEnoughData("A mean is not above zero, so the ratio of the means has no logarithm.")
    chance, loss = posterior.log_ratio_posterior(np.asarray(estimate), np.asarray(variance), prior_sd)
    return Bayes(float(chance), float(loss))


def _verdict(
    low: float, high: float, always_valid: AlwaysValid | NotEnoughData, method: Regime, alpha: float
) -> tuple[Verdict, str]:
    """Judge by the interval of the regime asked for, and say so in a sentence."""
    name = f"The {100.0 * (1.0 - alpha):.6g} % interval"
    if method == "always_valid":
        if isinstance(always_valid, NotEnoughData):
            return "inconclusive", always_valid.reason
        low, high = always_valid.low, always_valid.high
        name = f"The always-valid {100.0 * (1.0 - alpha):.6g} % interval"
    if low > 0.0:
        return "better", f"{name} of the difference lies above zero."
    if high < 0.0:
        return "worse", f"{name} of the difference lies below zero."
    return "inconclusive", f"{name} of the difference contains zero."
