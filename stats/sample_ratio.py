"""Whether visitors arrived in the arms in the planned proportions, at every look."""

from collections.abc import Sequence
from math import exp, inf, log

import msgspec
import numpy as np

from stats import special
from stats.not_enough_data import NotEnoughData
from stats.saddle_point import Floats, Mask, deviance, stirling_error
from stats.tails import SMALLEST_P

__all__ = ["NotEnoughData", "SampleRatio", "Splits", "sample_ratio", "sample_ratio_by_epoch", "splits"]

E_VALUE_ALPHA = 0.01
CHI_SQUARE_ALPHA = 0.0005
CONCENTRATIONS = (1e2, 1e3, 1e4, 1e5)

_EXPECTED_MIN = 5.0
_ARMS_MIN = 2
_LOG_LARGEST = 709.0
# 64 KB of numbers.
_CACHED_NUMBERS = 8_192


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


class Splits(msgspec.Struct, frozen=True):
    """Many splits at once, each of shape (...): Pearson's statistic, its df, the e-value's logarithm.

    `smallest_expected` is over the arms that take part; df 0 where fewer than two do or nobody came.
    """

    statistic: Floats
    df: Floats
    log_e: Floats
    smallest_expected: Floats

    @property
    def p_value(self) -> Floats:
        """Give the chi-square p-value, 1 where df is 0."""
        p = special.chdtrc(np.maximum(self.df, 1.0), self.statistic)
        return np.where(self.df > 0.0, np.maximum(p, SMALLEST_P), 1.0)

    @property
    def healthy(self) -> Mask:
        """Say which splits neither the e-value (.01) nor the chi-square (.0005) finds wrong."""
        improbable = (self.smallest_expected >= _EXPECTED_MIN) & (self.p_value < CHI_SQUARE_ALPHA)
        return np.asarray(~improbable & (self.log_e < -log(E_VALUE_ALPHA)))


@np.errstate(all="ignore")
def splits(observed: Floats, weights: Floats, concentrations: Sequence[float] = CONCENTRATIONS) -> Splits:
    """Test visitors `observed` (..., arms) against planned `weights`; arms of weight 0 take no part."""
    # Arms first: numpy reduces a long axis over a short one faster than the other way round.
    seen, weights = np.ascontiguousarray(np.moveaxis(observed, -1, 0)), np.moveaxis(weights, -1, 0)
    weights = weights.reshape(weights.shape + (1,) * (seen.ndim - weights.ndim))
    taking_part = weights > 0.0
    shares = weights / weights.sum(axis=0)
    counts = np.where(taking_part, seen, 0.0)
    planned = counts.sum(axis=0) * shares
    usable = taking_part & (planned > 0.0)
    apart = counts - planned
    statistic = np.where(usable, apart * apart / np.where(usable, planned, 1.0), 0.0).sum(axis=0)
    return Splits(
        statistic=statistic,
        df=np.maximum(usable.sum(axis=0) - 1.0, 0.0),
        log_e=_log_e_value(counts, shares, concentrations),
        smallest_expected=np.where(usable, planned, inf).min(axis=0),
    )


def sample_ratio(observed: Sequence[int], weights: Sequence[float]) -> SampleRatio | NotEnoughData:
    """Test visitors `observed` by arm against their planned `weights`; arms of weight 0 take no part.

    Raises ValueError for lengths that differ and for negative or infinite entries.
    """
    return sample_ratio_by_epoch([(observed, weights)])


def sample_ratio_by_epoch(
    epochs: Sequence[tuple[Sequence[int], Sequence[float]]],
) -> SampleRatio | NotEnoughData:
    """Test the split of a run whose weights changed, each epoch (observed, weights) against its own.

    Epochs are independent given their weights: chi-squares and degrees of freedom add, e-values
    multiply. Summing the counts first would let opposite deviations of two epochs cancel. Raises
    ValueError as `sample_ratio` does, and where the epochs have different numbers of arms.
    """
    counts, weights = _validated(epochs)
    found = splits(counts, weights) if len(epochs) else None
    if found is None or not found.df.any():
        return NotEnoughData("No visitor has arrived while two arms or more had a weight.")
    # A chi-square of tiny epochs is no chi-square: it counts only where there is nothing better.
    compared = found.df > 0.0
    large = compared & (found.smallest_expected >= _EXPECTED_MIN)
    counted = large if large.any() else compared
    statistic, df = float(found.statistic[counted].sum()), float(found.df[counted].sum())
    log_e = float(found.log_e[compared].sum())
    p_value = max(float(special.chdtrc(df, statistic)), SMALLEST_P)
    improbable = bool(large.any()) and p_value < CHI_SQUARE_ALPHA
    shares = weights[compared] / weights[compared].sum(axis=1, keepdims=True)
    came = np.where(weights > 0.0, counts, 0.0)[compared].sum(axis=1, keepdims=True)
    return SampleRatio(
        healthy=not improbable and log_e < -log(E_VALUE_ALPHA),
        p_value=p_value,
        e_value=exp(min(log_e, _LOG_LARGEST)),
        expected=tuple(float(x) for x in (came * shares).sum(axis=0)),
        observed=tuple(sum(int(x) for x in arm) for arm in zip(*(seen for seen, _ in epochs), strict=True)),
    )


def _validated(epochs: Sequence[tuple[Sequence[int], Sequence[float]]]) -> tuple[Floats, Floats]:
    arms = len(epochs[0][0]) if epochs else 0
    if any(len(side) != arms for epoch in epochs for side in epoch):
        raise ValueError(f"every epoch must have {arms} counts and {arms} weights")
    counts, weights = (
        np.array([epoch[i] for epoch in epochs], dtype=np.float64).reshape(len(epochs), arms) for i in (0, 1)
    )
    if not all(np.isfinite(each).all() and (each >= 0.0).all() for each in (counts, weights)):
        raise ValueError(f"counts and weights must be finite and not negative: {epochs}")
    # A sum of weights may leave the range of a float.
    return counts, weights / np.maximum(weights.max(axis=1, initial=0.0, keepdims=True), np.finfo(np.float64).tiny)


def _log_e_value(counts: Floats, shares: Floats, concentrations: Sequence[float]) -> Floats:
    """Give the log Bayes factor of a Dirichlet mixture of splits against the planned one.

    Lindon & Malek 2022, averaged over the concentrations: an e-value at every visitor count. Written in
    deviances and Stirling errors, it keeps its digits at 1e12 visitors.
    """
    ks = np.array(concentrations).reshape(-1, 1, 1)
    counts_of, shares_of = (_in_columns(each, counts.shape) for each in (counts, shares))
    log_e = np.empty(counts_of.shape[1])
    # Some splits at a time, under all concentrations at once: few calls, in arrays that stay in the cache.
    block = max(1, _CACHED_NUMBERS // (len(ks) * len(counts)))
    for start in range(0, len(log_e), block):
        some = slice(start, start + block)
        mixed = _log_bayes_factor(counts_of[:, some], shares_of[:, some if shares_of.shape[1] > 1 else ...], ks)
        top = mixed.max(axis=0)
        log_e[some] = np.log(np.exp(mixed - top).mean(axis=0)) + top
    return log_e.reshape(counts.shape[1:])


def _log_bayes_factor(counts: Floats, shares: Floats, k: Floats) -> Floats:
    """Give it for counts (arms, n) under each concentration (c, 1, 1), of shape (c, n)."""
    total = k + counts.sum(axis=0)
    takes_part = shares > 0.0
    prior = k * np.where(takes_part, shares, 1.0)
    after = prior + counts
    evidence = deviance(after, total * shares) + 0.5 * np.log(prior / after)
    evidence += stirling_error(after) - stirling_error(prior)
    whole = stirling_error(k) - stirling_error(total) - 0.5 * np.log(k / total)
    found: Floats = whole[:, 0] + np.where(takes_part, evidence, 0.0).sum(axis=1)
    return found


def _in_columns(each: Floats, shape: tuple[int, ...]) -> Floats:
    """Give it as (arms, n), or (arms, 1) where all splits share it."""
    if each.size == shape[0]:
        return each.reshape(shape[0], 1)
    columns: Floats = np.broadcast_to(each, shape).reshape(shape[0], -1)
    return columns
