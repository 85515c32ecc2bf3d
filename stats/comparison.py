"""Treatments against their control: estimates, limits, p-values, second view and verdict, many at once."""

from math import inf
from typing import Literal, TypeAlias

import msgspec
import numpy as np

from stats import limits as limits_of
from stats import posterior
from stats.arms import Arms
from stats.limits import AllLimits, Family, Limits
from stats.moments import Moments, of_means
from stats.saddle_point import Floats, Mask
from stats.terms import DEFAULT_TERMS, Terms

Kind: TypeAlias = Literal["conversion", "count", "value"]

BETTER, WORSE, INCONCLUSIVE, IMPOSSIBLE = 1, -1, 0, 2

# An approximation by normal laws holds once the rarer outcome is expected this often in either arm.
EXPECTED_MIN = 10.0
VISITORS_MIN = 100.0
# Up to here a float counts without a gap.
_VISITORS_MAX = 2.0**53
# A mean of values that are all equal is taken to be known no better than this.
_RELATIVE_VARIANCE_MIN = 1e-12


class Comparisons(msgspec.Struct, frozen=True):
    """Treatments (..., k) against one control (..., 1) each; every array broadcasts to (..., k).

    `lift` is treatment / control - 1, nan where the control's mean is not above 0. `limits` holds each
    regime's; nan and inf stand where a number does not exist: `impossible` says for which comparisons none
    does, `too_early` for which no monitored regime speaks yet, `past_horizon` for which the group
    sequential one does no more. `bayes` is (chance to beat, expected loss in units of the log ratio).
    """

    kind: Kind
    terms: Terms
    control: Arms
    treatment: Arms
    control_mean: Floats
    treatment_mean: Floats
    difference: Floats
    lift: Floats
    family: Family
    limits: AllLimits
    bayes: tuple[Floats, Floats]
    impossible: Mask
    too_early: Mask
    past_horizon: Mask
    stratified: bool = False

    @property
    def deciding(self) -> Limits:
        """Give the limits of the regime that gives the verdict."""
        if self.terms.regime == "fixed":
            return self.limits.fixed
        if self.terms.regime == "group_sequential" and self.limits.group_sequential is not None:
            return self.limits.group_sequential
        return self.limits.always_valid

    @property
    def silent(self) -> Mask:
        """Say where the deciding regime does not speak."""
        if self.terms.regime == "fixed":
            return self.impossible
        bounded = np.isfinite(self.deciding.low) & np.isfinite(self.deciding.high)
        unspoken = self.impossible | self.too_early | ~bounded
        return unspoken | self.past_horizon if self.terms.regime == "group_sequential" else unspoken

    @property
    @np.errstate(all="ignore")
    def verdicts(self) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
        """Give BETTER, WORSE, INCONCLUSIVE or IMPOSSIBLE by the deciding limits of the difference."""
        spoken = ~self.silent
        better, worse = spoken & (self.deciding.low > 0.0), spoken & (self.deciding.high < 0.0)
        verdict = better.astype(np.int8) - worse.astype(np.int8)
        return np.where(self.impossible, np.int8(IMPOSSIBLE), verdict)


def compare_arms(
    control: Arms,
    treatment: Arms,
    kind: Kind,
    terms: Terms = DEFAULT_TERMS,
    *,
    alpha: Floats | float | None = None,
    info: Floats | float | None = None,
    least_lift: Floats | float | None = None,
) -> Comparisons:
    """Compare k treatments (..., k) with a control (..., 1) so that difference, ratio and p-value agree.

    The treatments on the last axis are a family: p-values and limits are theirs together. `alpha` (...)
    replaces that of the terms where goals have a share of it. `info` (...), visitors over those of a horizon
    stated before the start, adds the group sequential regime. `least_lift` (..., 1) replaces the kind's smallest
    possible lift. Raises ValueError for that regime without `info`.
    """
    level, progress = terms.alpha if alpha is None else alpha, _progress(info, terms)
    family = Family.of(control.n, treatment.n, level)
    if kind == "conversion":
        limits = limits_of.of_rates(control, treatment, family, terms, progress)
        bayes = posterior.ratio_of_rates_posterior(
            control.sum, control.n, treatment.sum, treatment.n, terms.prior_log_ratio_sd
        )
        means = control.mean, treatment.mean
    else:
        moments = of_means(control, treatment)
        least = _least_lift(kind) if least_lift is None else least_lift
        limits = limits_of.of_moments(moments, family, terms, progress, least_lift=least)
        bayes = _second_view_of_moments(moments, terms)
        means = moments.mean0, moments.mean1
    return _assembled(control, treatment, kind, terms, means, family, limits, bayes, progress)


def compare_moments(
    moments: Moments,
    control: Arms,
    treatment: Arms,
    kind: Kind,
    terms: Terms = DEFAULT_TERMS,
    *,
    alpha: Floats | float | None = None,
    info: Floats | float | None = None,
    least_lift: Floats | float | None = None,
) -> Comparisons:
    """Compare means that were adjusted, combined or divided: CUPED, epochs, ratio metrics, quantiles.

    `control` and `treatment` are the arms' plain tallies, which say when it is too early to speak; the rest
    is as for `compare_arms`.
    """
    level, progress = terms.alpha if alpha is None else alpha, _progress(info, terms)
    family = Family.of(control.n, treatment.n, level)
    least = _least_lift(kind) if least_lift is None else least_lift
    limits = limits_of.of_moments(moments, family, terms, progress, least_lift=least)
    bayes = _second_view_of_moments(moments, terms)
    usable = np.isfinite(moments.difference) & (moments.variance > 0.0) & np.isfinite(moments.df)
    means = moments.mean0, moments.mean1
    found = _assembled(control, treatment, kind, terms, means, family, limits, bayes, progress)
    return msgspec.structs.replace(found, stratified=True, impossible=found.impossible | ~usable)


@np.errstate(all="ignore")
def _assembled(
    control: Arms,
    treatment: Arms,
    kind: Kind,
    terms: Terms,
    means: tuple[Floats, Floats],
    family: Family,
    limits: AllLimits,
    bayes: tuple[Floats, Floats],
    info: Floats | None,
) -> Comparisons:
    control_mean, treatment_mean = means
    difference = treatment_mean - control_mean
    impossible = _impossible(control, treatment, kind)
    past = np.zeros(impossible.shape, dtype=np.bool_)
    if info is not None:
        past = past | (info > 1.0)
    return Comparisons(
        kind=kind,
        terms=terms,
        control=control,
        treatment=treatment,
        control_mean=control_mean,
        treatment_mean=treatment_mean,
        difference=difference,
        lift=np.where(control_mean > 0.0, difference / control_mean, np.nan),
        family=family,
        limits=limits,
        bayes=bayes,
        impossible=impossible,
        too_early=_too_early(control, treatment, kind),
        past_horizon=past,
    )


def _least_lift(kind: Kind) -> float:
    return -inf if kind == "value" else -1.0


def _progress(info: Floats | float | None, terms: Terms) -> Floats | None:
    if info is None:
        if terms.regime == "group_sequential":
            raise ValueError("no test is group sequential without a horizon")
        return None
    return np.asarray(info, dtype=np.float64)[..., None]


@np.errstate(all="ignore")
def _impossible(control: Arms, treatment: Arms, kind: Kind) -> Mask:
    usable = _usable(control, kind) & _usable(treatment, kind)
    if kind == "conversion":
        converters = control.sum + treatment.sum
        usable = usable & (converters > 0.0) & (converters < control.n + treatment.n)
    else:
        usable = usable & (control.m2 / control.n / control.n + treatment.m2 / treatment.n / treatment.n > 0.0)
    return np.asarray(~usable)


def _usable(arm: Arms, kind: Kind) -> Mask:
    possible = (arm.n <= _VISITORS_MAX) & np.isfinite(arm.sum) & (arm.m2 >= 0.0) & (arm.m2 < inf)
    if kind == "conversion":
        return np.asarray(possible & (arm.n >= 1.0) & (arm.sum >= 0.0) & (arm.sum <= arm.n))
    return np.asarray(possible & (arm.n >= 2.0))  # noqa: PLR2004


@np.errstate(all="ignore")
def _too_early(control: Arms, treatment: Arms, kind: Kind) -> Mask:
    """Say where no monitored verdict is given yet, judged without looking at the difference."""
    smaller = np.minimum(control.n, treatment.n)
    if kind != "conversion":
        return np.asarray(smaller < VISITORS_MIN)
    return np.asarray(rarer_outcomes(control, treatment) < EXPECTED_MIN)


@np.errstate(all="ignore")
def rarer_outcomes(control: Arms, treatment: Arms) -> Floats:
    """Give how many conversions, or visitors without one, the smaller arm expects at the common rate."""
    total, converters = control.n + treatment.n, control.sum + treatment.sum
    expected: Floats = np.minimum(control.n, treatment.n) * (np.minimum(converters, total - converters) / total)
    return expected


@np.errstate(all="ignore")
def _second_view_of_moments(moments: Moments, terms: Terms) -> tuple[Floats, Floats]:
    mean0, mean1, v0, v1, covariance = np.broadcast_arrays(
        moments.mean0, moments.mean1, moments.v0, moments.v1, moments.covariance
    )
    spread0, spread1 = moments.spreads or _spreads(moments)
    known = (mean0 >= 0.0) & (mean1 >= 0.0) & (spread0 > 0.0) & (spread1 > 0.0) & np.isfinite(spread0 + spread1)
    count0, each0, count1, each1 = (np.where(known, each, 1.0) for each in (mean0, spread0, mean1, spread1))
    found = posterior.ratio_of_means_posterior(count0, each0, count1, each1, terms.prior_log_ratio_sd)
    # Means that move together: a normal law about the ratio seen.
    variance = v0 / mean0 / mean0 + v1 / mean1 / mean1 - 2.0 * covariance / mean0 / mean1
    log_ratio = np.log(mean1 / mean0)
    together = covariance != 0.0
    usable = np.isfinite(log_ratio) & (variance > 0.0)
    by_ratio = posterior.log_ratio_posterior(
        np.where(usable, log_ratio, 0.0), np.where(usable, variance, 1.0), terms.prior_log_ratio_sd
    )
    known = np.where(together, usable, known)
    chance, loss = (np.where(together, *each) for each in zip(by_ratio, found, strict=True))
    return np.where(known, chance, np.nan), np.where(known, loss, np.nan)


def _spreads(moments: Moments) -> tuple[Floats, Floats]:
    """Divide variances by their means; of an arm where nobody did anything it is what it is in the other."""
    spread0, spread1 = (
        np.maximum(v, mean * mean * _RELATIVE_VARIANCE_MIN) / mean
        for mean, v in ((moments.mean0, moments.v0), (moments.mean1, moments.v1))
    )
    return (
        np.where(moments.mean0 == 0.0, spread1 * moments.n1 / moments.n0, spread0),
        np.where(moments.mean1 == 0.0, spread0 * moments.n0 / moments.n1, spread1),
    )
