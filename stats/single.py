"""One treatment against its control, as a record with words: what pages and programs read."""

from math import isfinite
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from stats.arms import Arms
from stats.comparison import EXPECTED_MIN, VISITORS_MIN, Comparisons, Kind, compare_arms, rarer_outcomes
from stats.limits import Limits
from stats.not_enough_data import NotEnoughData
from stats.tally import Tally
from stats.terms import DEFAULT_TERMS, Regime, Terms

__all__ = ["Bayes", "Comparison", "Interval", "Monitored", "NotEnoughData", "Verdict", "compare", "row_of"]

Verdict: TypeAlias = Literal["better", "worse", "inconclusive"]

_VISITORS_MAX = 2.0**53


class Interval(msgspec.Struct, frozen=True):
    """An estimate with its limits; None is unbounded."""

    estimate: float
    low: float | None
    high: float | None


class Monitored(msgspec.Struct, frozen=True):
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

    `verdict` and `reason` follow `regime`; `relative` is treatment / control - 1. Where several treatments
    share a control, everything is the family's: `alpha` is its error and `correction` how it is kept.
    """

    absolute: Interval
    relative: Interval | NotEnoughData
    p_value: float
    always_valid: Monitored | NotEnoughData
    group_sequential: Monitored | NotEnoughData | None
    bayes: Bayes | NotEnoughData
    verdict: Verdict
    reason: str
    method: str
    correction: str | None
    alpha: float
    regime: Regime
    planned_n: float


def compare(
    control: Tally,
    treatment: Tally,
    *,
    kind: Kind,
    terms: Terms = DEFAULT_TERMS,
    info: float | None = None,
) -> Comparison | NotEnoughData:
    """Compare two arms so that difference, ratio and p-value never disagree about the sign.

    `info` are the visitors over those of a stated horizon. Raises ValueError for the group sequential
    regime without it.
    """
    arms = Arms.of_tallies([control]), Arms.of_tallies([treatment])
    return row_of(compare_arms(*arms, kind, terms, info=info), (0,))


def row_of(found: Comparisons, at: tuple[int, ...], alpha: float | None = None) -> Comparison | NotEnoughData:
    """Give the comparison at an index of (..., k), plain floats throughout; `alpha` is that goal's share."""
    control, treatment = _tally(found, at, found.control), _tally(found, at, found.treatment)
    if _at(found.impossible, at, found):
        return NotEnoughData(_why_impossible(control, treatment, found.kind))
    level = found.terms.alpha if alpha is None else alpha
    difference = _at(found.difference, at, found)
    fixed = _limits_at(found.limits.fixed, at, found)
    always_valid = _monitored(found, found.limits.always_valid, at, control, treatment)
    until_horizon = None
    if found.limits.group_sequential is not None:
        until_horizon = _monitored(
            found, found.limits.group_sequential, at, control, treatment, until_horizon=True
        )
    verdict, reason = _verdict(found, fixed, always_valid, until_horizon, level)
    return Comparison(
        absolute=Interval(difference, fixed[1], fixed[2]),
        relative=_relative(found, at, fixed[3], fixed[4]),
        p_value=fixed[0],
        always_valid=always_valid,
        group_sequential=until_horizon,
        bayes=_bayes(found, at),
        verdict=verdict,
        reason=reason,
        method=_method(found, at),
        correction=_correction(found),
        alpha=level,
        regime=found.terms.regime,
        planned_n=found.terms.planned_n,
    )


def _at(array: npt.NDArray[Any], at: tuple[int, ...], found: Comparisons) -> float:
    """Give one number of an array that broadcasts to the comparisons' shape."""
    shape = array.shape
    if shape == found.difference.shape:
        return float(array[at])
    index = tuple(0 if size == 1 else i for i, size in zip(at[len(at) - len(shape) :], shape, strict=True))
    return float(array[index])


def _tally(found: Comparisons, at: tuple[int, ...], arms: Arms) -> Tally:
    return Tally(*(_at(field, at, found) for field in (arms.n, arms.sum, arms.m2)))


def _limits_at(
    limits: Limits, at: tuple[int, ...], found: Comparisons
) -> tuple[float, float, float, float, float]:
    fields = (limits.p_value, limits.low, limits.high, limits.lift_low, limits.lift_high)
    p, low, high, lift_low, lift_high = (_at(field, at, found) for field in fields)
    return p, low, high, lift_low, lift_high


def _monitored(
    found: Comparisons,
    limits: Limits,
    at: tuple[int, ...],
    control: Tally,
    treatment: Tally,
    *,
    until_horizon: bool = False,
) -> Monitored | NotEnoughData:
    if _at(found.too_early, at, found):
        return NotEnoughData(_why_too_early(control, treatment, found.kind))
    if until_horizon and _at(found.past_horizon, at, found):
        return NotEnoughData(
            "The planned number of visitors is passed: what holds is what was known when it was reached."
        )
    p, low, high, lift_low, lift_high = _limits_at(limits, at, found)
    if not (isfinite(low) and isfinite(high)):
        return NotEnoughData("There are too few visitors yet for the number of visitors planned.")
    return Monitored(p, low, high, _relative(found, at, lift_low, lift_high))


def _relative(found: Comparisons, at: tuple[int, ...], low: float, high: float) -> Interval | NotEnoughData:
    control_mean = _at(found.control_mean, at, found)
    if control_mean <= 0.0:
        return NotEnoughData("The mean of the control is not above zero, so a lift over it has no meaning.")
    estimate = _at(found.lift, at, found)
    if not isfinite(estimate) or not (low < np.inf and high > -np.inf):
        treatment_mean = _at(found.treatment_mean, at, found)
        return NotEnoughData(
            f"The means {control_mean:.6g} and {treatment_mean:.6g} are too far apart for a ratio."
        )
    return Interval(estimate, low if isfinite(low) else None, high if isfinite(high) else None)


def _bayes(found: Comparisons, at: tuple[int, ...]) -> Bayes | NotEnoughData:
    chance, loss = (_at(field, at, found) for field in found.bayes)
    if not isfinite(chance):
        return NotEnoughData("A mean is not above zero, so the ratio of the means has no logarithm.")
    return Bayes(chance, loss)


def _verdict(
    found: Comparisons,
    fixed: tuple[float, ...],
    always_valid: Monitored | NotEnoughData,
    until_horizon: Monitored | NotEnoughData | None,
    alpha: float,
) -> tuple[Verdict, str]:
    """Say what the limits of the deciding regime say."""
    percent = f"{100.0 * (1.0 - alpha):.6g} % interval"
    low, high, name = fixed[1], fixed[2], f"The {percent}"
    if found.terms.regime != "fixed":
        deciding = always_valid if found.terms.regime == "always_valid" else until_horizon
        if deciding is None or isinstance(deciding, NotEnoughData):
            return "inconclusive", deciding.reason if deciding else ""
        low, high = deciding.low, deciding.high
        name = f"The {'always-valid' if found.terms.regime == 'always_valid' else 'group sequential'} {percent}"
    if low > 0.0:
        return "better", f"{name} of the difference lies above zero."
    if high < 0.0:
        return "worse", f"{name} of the difference lies below zero."
    return "inconclusive", f"{name} of the difference contains zero."


def _method(found: Comparisons, at: tuple[int, ...]) -> str:
    if found.stratified:
        return "Epochs compared each in itself and combined by their visitors, Fieller interval of the lift"
    if found.kind != "conversion":
        return "Welch t test, Fieller interval of the lift"
    if _at(found.limits.by_exact_test, at, found):
        return "exact mid-P test, calibrated Miettinen-Nurminen and Koopman intervals"
    return "score test, Miettinen-Nurminen and Koopman intervals"


def _correction(found: Comparisons) -> str | None:
    if found.family.size == 1:
        return None
    return f"{found.family.size} variants: Dunnett for one look, Bonferroni for monitoring"


def _why_impossible(control: Tally, treatment: Tally, kind: Kind) -> str:
    reason = _why_no_arm("control", control, kind) or _why_no_arm("treatment", treatment, kind)
    if reason:
        return reason
    if kind == "conversion":
        if control.sum + treatment.sum == 0.0:
            return "Nobody has converted in either arm yet."
        if control.sum + treatment.sum == control.n + treatment.n:
            return "Everybody has converted in both arms, so the rates cannot be told apart."
    return "Within each arm every visitor has the same value, so chance cannot be measured."


def _why_no_arm(name: str, arm: Tally, kind: Kind) -> str | None:
    if not (arm.n <= _VISITORS_MAX and isfinite(arm.sum) and 0.0 <= arm.m2 < np.inf):
        return f"The tally of the {name} is beyond what can be computed with."
    fewest = 1.0 if kind == "conversion" else 2.0
    if arm.n < fewest:
        return f"The {name} has too few visitors ({arm.n:.0f}); a comparison needs at least {fewest:.0f}."
    if kind == "conversion" and not 0.0 <= arm.sum <= arm.n:
        return f"The {name} has {arm.sum:.0f} converters among {arm.n:.0f} visitors, which is no rate."
    return None


def _why_too_early(control: Tally, treatment: Tally, kind: Kind) -> str:
    if kind != "conversion":
        smaller = min(control.n, treatment.n)
        return f"The smaller arm has {smaller:.0f} visitors; an always-valid verdict needs {VISITORS_MIN:.0f}."
    expected = float(rarer_outcomes(Arms.of_tallies([control]), Arms.of_tallies([treatment]))[0])
    common = 2.0 * (control.sum + treatment.sum) <= control.n + treatment.n
    return (
        f"At the common rate the smaller arm expects {expected:.1f}"
        f" {'conversions' if common else 'visitors without a conversion'};"
        f" an always-valid verdict needs {EXPECTED_MIN:.0f}."
    )
