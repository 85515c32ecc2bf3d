"""Limits and p-values of differences and lifts under each regime, arrays throughout.

One statistic, two scales: difference and lift share the critical value, so neither ever excludes
"no difference" alone, and the p-value is below the level exactly when they do.
"""

from collections.abc import Callable

import msgspec
import numpy as np

from stats import confidence_sequence, dunnett, exact, fieller, group_sequential, proportions, skewness, tails
from stats.arms import Arms
from stats.moments import Moments, restricted
from stats.saddle_point import Floats, Mask
from stats.tails import SMALLEST_P
from stats.terms import Terms

# A p-value that decides otherwise than the score moves the limits this much past "no difference".
_BORDER = 1e-9
_CALIBRATION_LIMIT = 1e-3


class Limits(msgspec.Struct, frozen=True):
    """One regime's p-values of the family and simultaneous limits; infinite where unbounded."""

    p_value: Floats
    low: Floats
    high: Floats
    lift_low: Floats
    lift_high: Floats


class AllLimits(msgspec.Struct, frozen=True):
    """The limits of one look, of every look without end, and of every look until a stated horizon."""

    fixed: Limits
    always_valid: Limits
    group_sequential: Limits | None
    by_exact_test: Mask


class Family(msgspec.Struct, frozen=True):
    """The treatments on the last axis are compared with one control: `alpha` is the error of all of them.

    One look: Dunnett's level of each. Monitored: Bonferroni's, which any dependence over time allows.
    """

    size: int
    loadings: Floats
    fixed_level: Floats
    monitored_level: Floats

    @classmethod
    def of(cls, n0: Floats, n1: Floats, alpha: Floats | float) -> "Family":
        """Find the levels for visitors of the control (..., 1) and of k treatments (..., k)."""
        k = n1.shape[-1]
        level = np.asarray(alpha, dtype=np.float64)
        if k == 1:
            return cls(k, np.ones(1), level[..., None], level[..., None])
        loadings = dunnett.loadings(np.where(n0 > 0.0, n0, 1.0), np.where(n1 > 0.0, n1, 1.0))
        # Goals share few levels, and the visitors of their experiment.
        shape = np.broadcast_shapes(level.shape, loadings.shape[:-1])
        families = np.broadcast_to(loadings, (*shape, k)).reshape(-1, k)
        asked = np.column_stack([np.broadcast_to(level, shape).ravel(), families])
        places: dict[bytes, int] = {}
        place = [places.setdefault(each.tobytes(), len(places)) for each in asked]
        distinct = np.frombuffer(b"".join(places)).reshape(-1, k + 1)
        fixed = dunnett.level(distinct[:, 0], distinct[:, 1:])[place].reshape(shape)
        return cls(k, loadings, fixed[..., None], (level / k)[..., None])

    def fixed_p(self, p: Floats) -> Floats:
        """Give the p-values of the family from those of each."""
        adjusted = p if self.size == 1 else dunnett.adjusted_p(p, self.loadings)
        return np.maximum(adjusted, SMALLEST_P)

    def monitored_p(self, p: Floats) -> Floats:
        """Give the p-values of the family from those of each, under any dependence."""
        return np.maximum(p if self.size == 1 else np.minimum(self.size * p, 1.0), SMALLEST_P)


@np.errstate(all="ignore")
def of_rates(
    control: Arms, treatment: Arms, family: Family, terms: Terms, info: Floats | None = None
) -> AllLimits:
    """Judge rates by the score family: Miettinen-Nurminen and Koopman limits, mid-P where a cell is below ten."""
    s0, n0, s1, n1 = control.sum, control.n, treatment.sum, treatment.n
    total = n0 + n1
    z = proportions.score_z(s0, n0, s1, n1)
    above, below, p, by_exact_test = _single_look(s0, n0, s1, n1, z, family)
    criticals, p_values = _monitored(total, z * z, family, terms, info)
    # Positive z moves the lower limit towards zero, negative z the upper one.
    stacks = [np.stack(np.broadcast_arrays(each, *criticals)) for each in (above, below)]
    low, high = proportions.difference_interval(s0, n0, s1, n1, *stacks)
    ratio_low, ratio_high = proportions.ratio_interval(s0, n0, s1, n1, *stacks)
    found = [
        Limits(each, low[i], high[i], ratio_low[i] - 1.0, ratio_high[i] - 1.0)
        for i, each in enumerate([family.fixed_p(p), *p_values])
    ]
    return AllLimits(found[0], found[1], found[2] if len(found) > 2 else None, by_exact_test)  # noqa: PLR2004


@np.errstate(all="ignore")
def of_moments(
    moments: Moments, family: Family, terms: Terms, info: Floats | None = None, *, least_lift: Floats | float
) -> AllLimits:
    """Judge means by Student's t with Welch's degrees of freedom and Fieller's lift."""
    difference, total = moments.difference, moments.n0 + moments.n1
    t = difference / np.sqrt(moments.variance)
    critical = tails.student_critical(moments.df, family.fixed_level)
    p = family.fixed_p(tails.student_two_sided(t, moments.df))
    found = [_around(moments, moments.v0, moments.v1, critical, p, least_lift)]
    for critical_of, p_of in _regimes(total, family, terms, info):
        bound = restricted(moments, critical_of)
        p = family.monitored_p(p_of(bound.z_squared))
        found.append(_around(moments, bound.v0, bound.v1, bound.critical, p, least_lift))
    nowhere = np.zeros(difference.shape, dtype=np.bool_)
    return AllLimits(found[0], found[1], found[2] if len(found) > 2 else None, nowhere)  # noqa: PLR2004


def _around(
    moments: Moments, v0: Floats, v1: Floats, critical: Floats, p: Floats, least_lift: Floats | float
) -> Limits:
    covariance = moments.covariance
    margin = critical * np.sqrt(np.maximum(v0 + v1 - 2.0 * covariance, 0.0))
    lift_low, lift_high = fieller.lift_interval(
        moments.mean0, v0, moments.mean1, v1, critical, covariance=covariance, least=least_lift
    )
    return Limits(p, moments.difference - margin, moments.difference + margin, lift_low, lift_high)


def _regimes(
    total: Floats, family: Family, terms: Terms, info: Floats | None
) -> list[tuple[Floats, Callable[[Floats], Floats]]]:
    """Give each monitored regime's critical value, and its p-value of a z squared."""
    level, planned = family.monitored_level, terms.planned_n
    found: list[tuple[Floats, Callable[[Floats], Floats]]] = [
        (
            confidence_sequence.multiplier(total, planned, level),
            lambda square: confidence_sequence.p_value(square, total, planned, level),
        )
    ]
    if info is not None:
        # Beyond the horizon nothing may be concluded; `Comparisons` says so instead of showing this.
        until = np.minimum(info, 1.0)
        found.append(
            (
                group_sequential.continuous_critical(until, level),
                lambda square: group_sequential.continuous_p_value(np.sqrt(square), until),
            )
        )
    return found


def _monitored(
    total: Floats, z_squared: Floats, family: Family, terms: Terms, info: Floats | None
) -> tuple[list[Floats], list[Floats]]:
    regimes = _regimes(total, family, terms, info)
    return [critical for critical, _ in regimes], [family.monitored_p(p_of(z_squared)) for _, p_of in regimes]


def _single_look(
    s0: Floats, n0: Floats, s1: Floats, n1: Floats, z: Floats, family: Family
) -> tuple[Floats, Floats, Floats, Mask]:
    """Give the critical |z| for positive and negative z, p-values, and where counts call for the exact test.

    The score test, corrected for skewness. With a cell below ten the p-value is the exact mid-P: where it
    decides otherwise than the score test, the critical value is scaled so that the score intervals follow
    the exact decision.
    """
    skew = skewness.skewness(s0, n0, s1, n1)
    p = tails.two_sided(np.maximum(skewness.corrected_size(z, skew), 0.0))
    level = np.broadcast_to(family.fixed_level, p.shape)
    critical = tails.critical(level)
    above, below = skewness.critical_sizes(critical, skew)
    small = (exact.smallest_cell(s0, n0, s1, n1) < exact.SMALL_CELL) & (np.minimum(n0, n1) >= 1.0)
    if small.any():
        # Equal rates are no evidence, whatever the discrete tails say.
        size, few = np.abs(z), [np.broadcast_to(x, p.shape)[small] for x in (s0, n0, s1, n1)]
        p[small] = np.where(size[small] > 0.0, exact.mid_p(*few), 1.0)
        exact_z = np.maximum(tails.critical(p), critical * _CALIBRATION_LIMIT)
        # Never on the border itself: an interval that touches 0 would not show the decision.
        moved = critical * (size / exact_z) * np.where(p < level, 1.0 - _BORDER, 1.0 + _BORDER)
        scaled = np.where((p < level) != (size > critical), moved, critical)
        above, below = np.where(small, scaled, above), np.where(small, scaled, below)
    return above, below, p, small
