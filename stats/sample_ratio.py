"""Whether visitors arrived in the arms in the planned proportions, at every look."""

from collections.abc import Sequence
from math import exp, log

import msgspec
import numpy as np
from scipy import special

from stats.not_enough_data import NotEnoughData
from stats.saddle_point import Floats, deviance, stirling_error

__all__ = ["NotEnoughData", "SampleRatio", "sample_ratio", "sample_ratio_by_epoch"]

E_VALUE_ALPHA = 0.01
CHI_SQUARE_ALPHA = 0.0005
CONCENTRATIONS = (1e2, 1e3, 1e4, 1e5)

_EXPECTED_MIN = 5.0
_ARMS_MIN = 2
_LOG_LARGEST = 709.0
_SMALLEST_P = 2.2250738585072014e-308


class SampleRatio(msgspec.Struct, frozen=True):
    """The planned split against the one seen.

    `healthy` while the e-value is below 100, valid at every look (level .01), and the chi-square p-value
    is at least .0005, where every arm expects five visitors. `expected` and `observed` have one entry an
    arm, 0 expected for an arm without weight.
    """

    healthy: bool
    p_value: float
    e_value: float
    expected: tuple[float, ...]
    observed: tuple[int, ...]


def sample_ratio(observed: Sequence[int], weights: Sequence[float]) -> SampleRatio | NotEnoughData:
    """Test visitors `observed` by arm against their planned `weights`; arms of weight 0 take no part.

    Raises ValueError for lengths that differ and for negative or infinite entries.
    """
    return sample_ratio_by_epoch([(observed, weights)])


@np.errstate(all="ignore")
def sample_ratio_by_epoch(
    epochs: Sequence[tuple[Sequence[int], Sequence[float]]],
) -> SampleRatio | NotEnoughData:
    """Test the split of a run whose weights changed, each epoch (observed, weights) against its own.

    Epochs are independent given their weights: chi-squares and degrees of freedom add, e-values
    multiply. Summing the counts first would let opposite deviations of two epochs cancel. Raises
    ValueError as `sample_ratio` does, and where the epochs have different numbers of arms.
    """
    arms = len(epochs[0][0]) if epochs else 0
    expected, seen = np.zeros(arms), [0] * arms
    log_e, parts = 0.0, []
    for observed, weights in epochs:
        counts, shares = _validated(observed, weights, arms)
        seen = [total + int(count) for total, count in zip(seen, observed, strict=True)]
        taking_part = shares > 0.0
        n = float(counts[taking_part].sum())
        if taking_part.sum() < _ARMS_MIN or n == 0.0:
            continue
        planned = n * shares
        expected += planned
        log_e += _log_e_value(counts[taking_part], shares[taking_part])
        parts.append(_chi_square(counts[taking_part], planned[taking_part]))
    if not parts:
        return NotEnoughData("No visitor has arrived while two arms or more had a weight.")
    # A chi-square of tiny epochs is no chi-square: it counts only where there is nothing better.
    large = [part for part in parts if part[2] >= _EXPECTED_MIN]
    statistic, df = (sum(part[i] for part in large or parts) for i in (0, 1))
    p_value = max(float(special.chdtrc(df, statistic)), _SMALLEST_P)
    improbable = bool(large) and p_value < CHI_SQUARE_ALPHA
    return SampleRatio(
        healthy=not improbable and log_e < -log(E_VALUE_ALPHA),
        p_value=p_value,
        e_value=exp(min(log_e, _LOG_LARGEST)),
        expected=tuple(float(x) for x in expected),
        observed=tuple(seen),
    )


def _validated(observed: Sequence[int], weights: Sequence[float], arms: int) -> tuple[Floats, Floats]:
    counts, shares = np.array(observed, dtype=np.float64), np.array(weights, dtype=np.float64)
    if counts.shape != (arms,) or shares.shape != (arms,):
        raise ValueError(f"{len(observed)} counts and {len(weights)} weights, where {arms} arms were expected")
    whole = float(shares.sum())
    if not (np.isfinite(counts).all() and np.isfinite(whole) and (counts >= 0).all() and (shares >= 0).all()):
        raise ValueError(f"counts and weights must be finite and not negative: {observed}, {weights}")
    return counts, shares / whole if whole > 0.0 else shares


def _chi_square(counts: Floats, planned: Floats) -> tuple[float, int, float]:
    """Give Pearson's statistic, its degrees of freedom and the smallest expected count."""
    statistic = float(((counts - planned) ** 2 / planned).sum())
    return statistic, len(counts) - 1, float(planned.min())


def _log_e_value(counts: Floats, shares: Floats) -> float:
    """Give the log Bayes factor of a Dirichlet mixture of splits against the planned one.

    Lindon & Malek 2022, averaged over the concentrations: an e-value at every visitor count. Written in
    deviances and Stirling errors, it keeps its digits at 1e12 visitors.
    """
    k = np.array(CONCENTRATIONS)[:, None]
    prior, after, total = k * shares, k * shares + counts, k[:, 0] + counts.sum()
    evidence = deviance(after, total[:, None] * shares) + 0.5 * np.log(prior / after)
    evidence = evidence + stirling_error(after) - stirling_error(prior)
    whole = 0.5 * np.log(k[:, 0] / total) + stirling_error(total) - stirling_error(k[:, 0])
    return float(special.logsumexp(evidence.sum(axis=1) - whole) - np.log(len(CONCENTRATIONS)))
