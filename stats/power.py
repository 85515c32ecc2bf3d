"""How many visitors a planned comparison needs, and what it can detect."""

from math import ceil, inf, sqrt

from scipy import special

from stats.not_enough_data import NotEnoughData

__all__ = ["NotEnoughData", "minimum_detectable_lift", "sample_size_means", "sample_size_proportions"]

_BISECTIONS = 200
# Beyond this many degrees of freedom Student's t adds its z^2 / 4 visitors and nothing else.
_NORMAL_FROM = 1e5


def sample_size_proportions(
    baseline: float, relative_lift: float, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Give the visitors per arm with which the two-sided score test finds the lift with chance `power`.

    Not rounded. `baseline` is the control's rate, `relative_lift` treatment / control - 1, not 0. Raises
    ValueError for a rate or level outside (0, 1). Null-restricted standard deviation (Fleiss 1981).
    """
    _check_levels(alpha, power)
    raised = baseline * (1.0 + relative_lift)
    if not (0.0 < baseline < 1.0 and 0.0 <= raised <= 1.0 and raised != baseline):
        raise ValueError(f"no two different rates: {baseline} and {raised}")
    return _visitors(baseline, raised, alpha, power)


def minimum_detectable_lift(
    baseline: float, n_per_arm: float, alpha: float = 0.05, power: float = 0.8
) -> float | NotEnoughData:
    """Give the smallest positive relative lift that `n_per_arm` visitors an arm find with chance `power`.

    The inverse of `sample_size_proportions`; NotEnoughData where not even a rate of 1 would be found.
    """
    _check_levels(alpha, power)
    if not (0.0 < baseline < 1.0 and 0.0 < n_per_arm < inf):
        raise ValueError(f"no rate {baseline} or no visitors {n_per_arm}")
    if _visitors(baseline, 1.0, alpha, power) > n_per_arm:
        return NotEnoughData("So few visitors an arm would not find even a conversion rate of 100 %.")
    low, high = baseline, 1.0
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        if middle in {low, high}:
            break
        if _visitors(baseline, middle, alpha, power) > n_per_arm:
            low = middle
        else:
            high = middle
    return high / baseline - 1.0


def sample_size_means(sd: float, delta: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """Give the visitors per arm with which a two-sided t test finds `delta` with chance `power`.

    Not rounded, at least 2; `sd` of one visitor, in the units of `delta`. Raises ValueError for an sd
    that is not positive and a delta of 0. As R's power.t.test, which leaves out the far tail.
    """
    _check_levels(alpha, power)
    if not (0.0 < sd < inf and 0.0 < abs(delta) < inf):
        raise ValueError(f"no standard deviation {sd} or no difference {delta}")
    z = -float(special.ndtri(alpha / 2.0))
    effect = abs(delta) / sd
    normal = 2.0 * ((z + float(special.ndtri(power))) / effect) ** 2 + z * z / 4.0
    if normal > _NORMAL_FROM:
        return normal
    low, high = 2.0, 2.0 * ceil(normal) + 10.0
    if _t_power(low, effect, alpha) >= power:
        return low
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        if middle in {low, high}:
            break
        if _t_power(middle, effect, alpha) < power:
            low = middle
        else:
            high = middle
    return high


def _visitors(rate0: float, rate1: float, alpha: float, power: float) -> float:
    common = 0.5 * (rate0 + rate1)
    null_sd = sqrt(2.0 * common * (1.0 - common))
    sd = sqrt(rate0 * (1.0 - rate0) + rate1 * (1.0 - rate1))
    reach = -float(special.ndtri(alpha / 2.0)) * null_sd + float(special.ndtri(power)) * sd
    return (max(reach, 0.0) / (rate1 - rate0)) ** 2


def _t_power(n_per_arm: float, effect: float, alpha: float) -> float:
    df = 2.0 * n_per_arm - 2.0
    critical = -special.stdtrit(df, alpha / 2.0)
    # The upper tail as the lower one of the mirrored law.
    return float(special.nctdtr(df, -effect * sqrt(n_per_arm / 2.0), -critical))


def _check_levels(alpha: float, power: float) -> None:
    if not (0.0 < alpha < 1.0 and 0.0 < power < 1.0):
        raise ValueError(f"alpha and power must lie between 0 and 1: {alpha}, {power}")
