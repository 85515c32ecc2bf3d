"""How many visitors a planned comparison needs, what it can detect, and with what chance.

Sizes are visitors per arm and not rounded. Monitoring costs: `regime_inflation` says by what factor.
"""

from collections.abc import Sequence
from math import ceil, inf, sqrt
from typing import Literal

import numpy as np

from stats import confidence_sequence, dunnett, special, tails
from stats.group_sequential import root
from stats.not_enough_data import NotEnoughData
from stats.two_proportions import restricted_rates

__all__ = [
    "NotEnoughData",
    "level_of_each",
    "minimum_detectable_difference",
    "minimum_detectable_lift",
    "minimum_detectable_lift_of_means",
    "planned_lift",
    "planned_size",
    "power_means",
    "power_proportions",
    "regime_inflation",
    "sample_size_means",
    "sample_size_non_inferiority",
    "sample_size_proportions",
    "visitors_of_split",
]

Regime = Literal["fixed", "always_valid", "group_sequential"]

# Beyond this many degrees of freedom Student's t adds its z^2 / 4 visitors and nothing else.
_NORMAL_FROM = 1e5


def sample_size_proportions(
    baseline: float,
    relative_lift: float,
    alpha: float = 0.05,
    power: float = 0.8,
    *,
    regime: Regime = "fixed",
    continuity: bool = False,
) -> float:
    """Give the visitors per arm with which the two-sided score test finds the lift with chance `power`.

    `baseline` is the control's rate, `relative_lift` treatment / control - 1, not 0. Raises ValueError for
    a rate or level outside (0, 1). Null-restricted standard deviation, and the correction for an exact
    test with `continuity` (Fleiss 1981).
    """
    _check_levels(alpha, power)
    raised = baseline * (1.0 + relative_lift)
    if not (0.0 < baseline < 1.0 and 0.0 <= raised <= 1.0 and raised != baseline):
        raise ValueError(f"no two different rates: {baseline} and {raised}")
    n = _visitors(baseline, raised, alpha, power) * regime_inflation(alpha, power, regime)
    if continuity:
        n = n / 4.0 * (1.0 + sqrt(1.0 + 4.0 / (n * abs(raised - baseline)))) ** 2
    return n


def minimum_detectable_lift(
    baseline: float, n_per_arm: float, alpha: float = 0.05, power: float = 0.8, *, regime: Regime = "fixed"
) -> float | NotEnoughData:
    """Give the smallest positive relative lift that `n_per_arm` visitors an arm find with chance `power`.

    The inverse of `sample_size_proportions`; NotEnoughData where not even a rate of 1 would be found.
    """
    _check_levels(alpha, power)
    if not (0.0 < baseline < 1.0 and 0.0 < n_per_arm < inf):
        raise ValueError(f"no rate {baseline} or no visitors {n_per_arm}")
    fixed_n = n_per_arm / regime_inflation(alpha, power, regime)
    if _visitors(baseline, 1.0, alpha, power) > fixed_n:
        return NotEnoughData("So few visitors an arm would not find even a conversion rate of 100 %.")
    raised = root(lambda rate: fixed_n - _visitors(baseline, rate, alpha, power), np.nextafter(baseline, 1.0), 1.0)
    return raised / baseline - 1.0


def planned_size(
    baseline: float, sd: float | None, lift: float, alpha: float, power: float, regime: Regime
) -> float:
    """Give the visitors per arm for a lift of a rate or, with the `sd` of a visitor's value, of a mean."""
    if sd is None:
        return sample_size_proportions(baseline, lift, alpha, power, regime=regime)
    return sample_size_means(sd, baseline * lift, alpha, power, regime=regime)


def planned_lift(
    baseline: float, sd: float | None, n_per_arm: float, alpha: float, power: float, regime: Regime
) -> float | NotEnoughData:
    """Give the lift of a rate or, with the `sd` of a visitor's value, of a mean that visitors can find."""
    if sd is None:
        return minimum_detectable_lift(baseline, n_per_arm, alpha, power, regime=regime)
    return minimum_detectable_lift_of_means(baseline, sd, n_per_arm, alpha, power, regime=regime)


def power_proportions(rate0: float, rate1: float, n_per_arm: float, alpha: float = 0.05) -> float:
    """Give the chance that the two-sided score test of one look finds rate 1 different from rate 0.

    As R's power.prop.test, which leaves out the far tail.
    """
    _check_levels(alpha, 0.5)
    if not (0.0 <= rate0 <= 1.0 and 0.0 <= rate1 <= 1.0 and 0.0 < n_per_arm < inf):
        raise ValueError(f"no rates {rate0} and {rate1}, or no visitors {n_per_arm}")
    null_sd, sd = _deviations(rate0, rate1)
    reach = sqrt(n_per_arm) * abs(rate1 - rate0) - _z(alpha) * null_sd
    return float(special.ndtr(reach / sd)) if sd > 0.0 else float(reach > 0.0)


def sample_size_means(
    sd: float, delta: float, alpha: float = 0.05, power: float = 0.8, *, regime: Regime = "fixed"
) -> float:
    """Give the visitors per arm with which a two-sided t test finds `delta` with chance `power`.

    At least 2; `sd` of one visitor, in the units of `delta`. Raises ValueError for an sd that is not
    positive and a delta of 0. As R's power.t.test, which leaves out the far tail.
    """
    _check_levels(alpha, power)
    if not (0.0 < sd < inf and 0.0 < abs(delta) < inf):
        raise ValueError(f"no standard deviation {sd} or no difference {delta}")
    z, effect = _z(alpha), abs(delta) / sd
    factor = regime_inflation(alpha, power, regime)
    normal = 2.0 * ((z + float(special.ndtri(power))) / effect) ** 2 + z * z / 4.0
    if normal > _NORMAL_FROM:
        return normal * factor
    if power_means(sd, delta, 2.0, alpha) >= power:
        return 2.0
    return factor * root(lambda n: power_means(sd, delta, n, alpha) - power, 2.0, 2.0 * ceil(normal) + 10.0)


def power_means(sd: float, delta: float, n_per_arm: float, alpha: float = 0.05) -> float:
    """Give the chance that a two-sided t test of one look finds `delta`, by the noncentral t."""
    if n_per_arm <= 1.0:
        return 0.0
    df = 2.0 * n_per_arm - 2.0
    limit = -special.stdtrit(df, alpha / 2.0)
    # The upper tail as the lower one of the mirrored law.
    return float(special.nctdtr(df, -abs(delta) / sd * sqrt(n_per_arm / 2.0), -limit))


def minimum_detectable_difference(
    sd: float, n_per_arm: float, alpha: float = 0.05, power: float = 0.8, *, regime: Regime = "fixed"
) -> float:
    """Give the difference of means that `n_per_arm` visitors an arm find with chance `power`, sd known."""
    _check_levels(alpha, power)
    if not (0.0 < sd < inf and 0.0 < n_per_arm < inf):
        raise ValueError(f"no standard deviation {sd} or no visitors {n_per_arm}")
    reach = _z(alpha) + float(special.ndtri(power))
    return reach * sd * sqrt(2.0 * regime_inflation(alpha, power, regime) / n_per_arm)


def minimum_detectable_lift_of_means(
    mean: float, sd: float, n_per_arm: float, alpha: float = 0.05, power: float = 0.8, *, regime: Regime = "fixed"
) -> float | NotEnoughData:
    """Give the positive lift of a mean that is found with chance `power`: the difference over the mean.

    Fieller's interval excludes "no lift" exactly when the difference's excludes 0, so the noise of the
    control's mean changes the limits and not what is found. NotEnoughData for a mean not above 0.
    """
    if not mean > 0.0:
        return NotEnoughData("A lift needs a control mean above zero.")
    return minimum_detectable_difference(sd, n_per_arm, alpha, power, regime=regime) / mean


def sample_size_non_inferiority(
    rate0: float, rate1: float, margin: float, alpha: float = 0.05, power: float = 0.8, ratio: float = 1.0
) -> tuple[float, float]:
    """Give visitors (treatment, control) that show rate 1 - rate 0 > margin with chance `power`, one-sided.

    `ratio` is control over treatment; a negative `margin` is non-inferiority. Farrington & Manning 1990,
    with the rates restricted to the margin. Raises ValueError for rates that do not pass the margin.
    """
    _check_levels(alpha, power)
    if not (0.0 <= rate0 <= 1.0 and 0.0 <= rate1 <= 1.0 and rate1 - rate0 > margin > -1.0 and ratio > 0.0):
        raise ValueError(f"no test with {rate0=}, {rate1=}, {margin=}, {ratio=}")
    s0, n0, s1, n1 = (np.asarray(x) for x in (rate0 * ratio, ratio, rate1, 1.0))
    low, high = (float(x) for x in restricted_rates(s0, n0, s1, n1, margin))
    null_sd = sqrt(high * (1.0 - high) + low * (1.0 - low) / ratio)
    sd = sqrt(rate1 * (1.0 - rate1) + rate0 * (1.0 - rate0) / ratio)
    reach = -float(special.ndtri(alpha)) * null_sd + float(special.ndtri(power)) * sd
    n = (reach / (rate1 - rate0 - margin)) ** 2
    return n, n * ratio


def level_of_each(alpha: float, treatments: int, regime: Regime) -> float:
    """Give the level of each of several treatments of one size that share `alpha`: as comparisons do."""
    if treatments == 1:
        return alpha
    if regime != "fixed":
        return alpha / treatments
    return float(tails.two_sided(np.asarray(dunnett.critical_value(treatments, inf, alpha))))


def visitors_of_split(n_per_arm: float, control: float, treatments: Sequence[float]) -> float:
    """Give the visitors of all variants together where `n_per_arm` of equal arms would do.

    `control` and `treatments` are weights of any sum above 0. An arm counts by the inverse of its size, so
    the smallest treatment needs the most: n / 2 * (1 / share of control + 1 / its share).
    """
    total, smallest = control + sum(treatments), min(treatments)
    return 0.5 * n_per_arm * (total / control + total / smallest)


def regime_inflation(alpha: float, power: float, regime: Regime) -> float:
    """Give by what factor a regime needs more visitors than a test of one look, at its planned number.

    always_valid: the confidence sequence at the visitors it was planned for. group_sequential: looking
    without end until the horizon, by the law of the maximum of a Brownian motion with drift. Both are
    maxima: a real effect is usually found earlier.
    """
    z, beyond = _z(alpha), float(special.ndtri(power))
    if regime == "fixed":
        return 1.0
    if regime == "always_valid":
        widest = float(confidence_sequence.multiplier(np.asarray(1.0), 1.0, alpha))
        return ((widest + beyond) / (z + beyond)) ** 2
    bound = -float(special.ndtri(alpha / 4.0))

    def found(drift: float) -> float:
        # exp times Phi on the logarithm: each alone leaves the range of a float.
        again = np.exp(2.0 * drift * bound + special.log_ndtr(-bound - drift))
        return float(special.ndtr(drift - bound) + again)

    return (root(lambda drift: found(drift) - power, 0.0, 50.0) / (z + beyond)) ** 2


def _visitors(rate0: float, rate1: float, alpha: float, power: float) -> float:
    null_sd, sd = _deviations(rate0, rate1)
    reach = _z(alpha) * null_sd + float(special.ndtri(power)) * sd
    return (max(reach, 0.0) / (rate1 - rate0)) ** 2


def _deviations(rate0: float, rate1: float) -> tuple[float, float]:
    """Give the standard deviations of sqrt(n) times the difference, without and with the effect."""
    common = 0.5 * (rate0 + rate1)
    return sqrt(2.0 * common * (1.0 - common)), sqrt(rate0 * (1.0 - rate0) + rate1 * (1.0 - rate1))


def _z(alpha: float) -> float:
    return -float(special.ndtri(alpha / 2.0))


def _check_levels(alpha: float, power: float) -> None:
    if not (0.0 < alpha < 1.0 and 0.0 < power < 1.0):
        raise ValueError(f"alpha and power must lie between 0 and 1: {alpha}, {power}")
