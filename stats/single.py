"""One treatment against its control, as a record with words: what pages and programs read."""

from math import inf, isfinite, prod
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from stats.arms import Arms
from stats.comparison import EXPECTED_MIN, VISITORS_MIN, Comparisons, Kind, compare_arms
from stats.limits import Limits
from stats.not_enough_data import NotEnoughData
from stats.saddle_point import Floats
from stats.tally import Tally
from stats.terms import DEFAULT_TERMS, Regime, Terms

__all__ = ["Bayes", "Comparison", "Interval", "Monitored", "NotEnoughData", "Verdict", "compare", "rows_of"]

Verdict: TypeAlias = Literal["better", "worse", "inconclusive"]

_VISITORS_MAX = 2.0**53


class Interval(msgspec.Struct, frozen=True, gc=False):
    """An estimate with its limits; None is unbounded."""

    estimate: float
    low: float | None
    high: float | None


class Monitored(msgspec.Struct, frozen=True, gc=False):
    """A p-value and limits of the absolute difference that hold at every look, with the same for the lift."""

    p_value: float
    low: float
    high: float
    relative: Interval | NotEnoughData


class Bayes(msgspec.Struct, frozen=True, gc=False):
    """The chance that the treatment's mean is higher, and the expected loss of choosing it.

    The loss is in units of the log ratio: near 0, a fraction of the control's mean.
    """

    chance_to_beat: float
    expected_loss: float


class Comparison(msgspec.Struct, frozen=True, gc=False):
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
    return rows_of(compare_arms(*arms, kind, terms, info=info))[0]


def rows_of(found: Comparisons, alpha: Floats | None = None) -> list[Comparison | NotEnoughData]:
    """Give comparisons (..., k) one after another, the last axis fastest, plain floats throughout.

    `alpha` (...) is the level of those whose share of it is not that of the terms.
    """
    shape = found.difference.shape
    levels = _listed(np.asarray(found.terms.alpha if alpha is None else alpha[..., None]), shape)
    columns = [_listed(array, shape) for array in _arrays(found)]
    limits = (found.limits.fixed, found.limits.always_valid, found.limits.group_sequential)
    columns += [_listed_limits(each, shape) for each in limits]
    return [_row(found, _Numbers._make(each), level) for level, *each in zip(levels, *columns, strict=True)]


class _Reached(NamedTuple):
    """One regime's limits of one comparison."""

    p_value: float
    low: float
    high: float
    lift_low: float
    lift_high: float


class _Numbers(NamedTuple):
    """The numbers of one comparison."""

    control_n: float
    control_sum: float
    control_m2: float
    treatment_n: float
    treatment_sum: float
    treatment_m2: float
    control_mean: float
    treatment_mean: float
    difference: float
    lift: float
    chance_to_beat: float
    expected_loss: float
    impossible: bool
    too_early: bool
    past_horizon: bool
    by_exact_test: bool
    fixed: _Reached
    always_valid: _Reached
    group_sequential: _Reached | None

    @property
    def control(self) -> Tally:
        return Tally(self.control_n, self.control_sum, self.control_m2)

    @property
    def treatment(self) -> Tally:
        return Tally(self.treatment_n, self.treatment_sum, self.treatment_m2)


def _arrays(found: Comparisons) -> tuple[npt.NDArray[Any], ...]:
    """The arrays behind the numbers of a comparison, in their order, but for the limits."""
    control, treatment = found.control, found.treatment
    return (
        *(control.n, control.sum, control.m2, treatment.n, treatment.sum, treatment.m2),
        *(found.control_mean, found.treatment_mean, found.difference, found.lift, *found.bayes),
        *(found.impossible, found.too_early, found.past_horizon, found.limits.by_exact_test),
    )


def _listed_limits(limits: Limits | None, shape: tuple[int, ...]) -> list[_Reached] | list[None]:
    if limits is None:
        return [None] * prod(shape)
    fields = (limits.p_value, limits.low, limits.high, limits.lift_low, limits.lift_high)
    return [_Reached(*each) for each in zip(*(_listed(field, shape) for field in fields), strict=True)]


def _listed(array: npt.NDArray[Any], shape: tuple[int, ...]) -> list[Any]:
    """Give the numbers of an array that broadcasts to a shape: looked up one by one they took most of the time."""
    whole = array if array.shape == shape else np.broadcast_to(array, shape)
    return whole.ravel().tolist()


def _row(found: Comparisons, numbers: _Numbers, alpha: float) -> Comparison | NotEnoughData:
    if numbers.impossible:
        return NotEnoughData(_why_impossible(numbers.control, numbers.treatment, found.kind))
    fixed = numbers.fixed
    always_valid = _monitored(found, numbers, numbers.always_valid)
    until_horizon = None
    if numbers.group_sequential is not None:
        until_horizon = _monitored(found, numbers, numbers.group_sequential, until_horizon=True)
    verdict, reason = _verdict(found, fixed, always_valid, until_horizon, alpha)
    return Comparison(
        absolute=Interval(numbers.difference, fixed.low, fixed.high),
        relative=_relative(numbers, fixed),
        p_value=fixed.p_value,
        always_valid=always_valid,
        group_sequential=until_horizon,
        bayes=_bayes(numbers),
        verdict=verdict,
        reason=reason,
        method=_method(found, numbers),
        correction=_correction(found),
        alpha=alpha,
        regime=found.terms.regime,
        planned_n=found.terms.planned_n,
    )


def _monitored(
    found: Comparisons, numbers: _Numbers, limits: _Reached, *, until_horizon: bool = False
) -> Monitored | NotEnoughData:
    if numbers.too_early:
        return NotEnoughData(_why_too_early(numbers.control, numbers.treatment, found.kind))
    if until_horizon and numbers.past_horizon:
        return NotEnoughData(
            "The planned number of visitors is passed: what holds is what was known when it was reached."
        )
    if not (isfinite(limits.low) and isfinite(limits.high)):
        return NotEnoughData("There are too few visitors yet for the number of visitors planned.")
    return Monitored(limits.p_value, limits.low, limits.high, _relative(numbers, limits))


def _relative(numbers: _Numbers, limits: _Reached) -> Interval | NotEnoughData:
    if numbers.control_mean <= 0.0:
        return NotEnoughData("The mean of the control is not above zero, so a lift over it has no meaning.")
    low, high = limits.lift_low, limits.lift_high
    if not isfinite(numbers.lift) or not (low < inf and high > -inf):
        return NotEnoughData(
            f"The means {numbers.control_mean:.6g} and {numbers.treatment_mean:.6g} are too far apart for a ratio."
        )
    return Interval(numbers.lift, low if isfinite(low) else None, high if isfinite(high) else None)


def _bayes(numbers: _Numbers) -> Bayes | NotEnoughData:
    if not isfinite(numbers.chance_to_beat):
        return NotEnoughData("A mean is not above zero, so the ratio of the means has no logarithm.")
    return Bayes(numbers.chance_to_beat, numbers.expected_loss)


def _verdict(
    found: Comparisons,
    fixed: _Reached,
    always_valid: Monitored | NotEnoughData,
    until_horizon: Monitored | NotEnoughData | None,
    alpha: float,
) -> tuple[Verdict, str]:
    """Say what the limits of the deciding regime say."""
    percent = f"{100.0 * (1.0 - alpha):.6g} % interval"
    low, high, name = fixed.low, fixed.high, f"The {percent}"
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


def _method(found: Comparisons, numbers: _Numbers) -> str:
    if found.stratified:
        return "Epochs compared each in itself and combined by their visitors, Fieller interval of the lift"
    if found.kind != "conversion":
        return "Welch t test, Fieller interval of the lift"
    if numbers.by_exact_test:
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
    if not (arm.n <= _VISITORS_MAX and isfinite(arm.sum) and 0.0 <= arm.m2 < inf):
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
    total, converters = control.n + treatment.n, control.sum + treatment.sum
    # As `comparison.rarer_outcomes` says for arrays.
    expected = min(control.n, treatment.n) * (min(converters, total - converters) / total)
    common = 2.0 * converters <= total
    return (
        f"At the common rate the smaller arm expects {expected:.1f}"
        f" {'conversions' if common else 'visitors without a conversion'};"
        f" an always-valid verdict needs {EXPECTED_MIN:.0f}."
    )
