"""Many p-values at once: which hold for the whole family, and which for a share of discoveries.

All take p-values (..., m) with the family on the last axis and give adjusted ones of that shape, at most 1:
reject where the adjusted p is at most the level.
"""

from typing import Literal, TypeAlias

import numpy as np

from stats.saddle_point import Floats

Rule: TypeAlias = Literal["bonferroni", "sidak", "holm", "hochberg", "hommel", "bh", "by"]


def adjust(p: Floats, rule: Rule, weights: Floats | None = None) -> Floats:
    """Adjust `p`; `weights` (Bonferroni and Holm only) say which share of the level each hypothesis has.

    bonferroni and holm (Holm 1979) hold under any dependence, sidak for independent and hochberg (1988) and
    hommel (1988) for positively dependent p-values: the family's error. bh (Benjamini & Hochberg 1995)
    under positive, by (2001) under any dependence: the false discovery rate. A weight of 0 is never rejected.
    """
    m = p.shape[-1]
    if m == 1 and weights is None:
        return np.minimum(p, 1.0)
    if rule == "bonferroni":
        return np.minimum(p * m if weights is None else _over(p, _shares(weights)), 1.0)
    if rule == "holm":
        return _holm(p, np.ones(p.shape) if weights is None else np.broadcast_to(weights, p.shape))
    if weights is not None:
        raise ValueError(f"{rule} takes no weights")
    if rule == "sidak":
        together: Floats = -np.expm1(m * np.log1p(-np.minimum(p, 1.0 - 1e-16)))
        return together
    if rule == "hommel":
        return _hommel(p)
    rank = np.arange(1.0, m + 1.0)
    factor = {"hochberg": m - rank + 1.0, "bh": m / rank, "by": m / rank * (1.0 / rank).sum()}[rule]
    order = np.argsort(p, axis=-1, kind="stable")
    stepped = np.take_along_axis(p, order, axis=-1) * factor
    stepped = np.minimum.accumulate(stepped[..., ::-1], axis=-1)[..., ::-1]
    return _unsorted(np.minimum(stepped, 1.0), order)


def share_of_level(alpha: float, primaries: int, secondaries: int, primary_share: float) -> tuple[float, float]:
    """Give the level of each primary and of each secondary when primaries have `primary_share` of alpha.

    Weighted Bonferroni; a group that is empty leaves its share to the other.
    """
    if not primaries or not secondaries:
        primary_share = 1.0 if primaries else 0.0
    return (
        alpha * primary_share / primaries if primaries else 0.0,
        alpha * (1.0 - primary_share) / secondaries if secondaries else 0.0,
    )


def _holm(p: Floats, weights: Floats) -> Floats:
    # The weighted form steps through p / weight and divides by the weight still in play.
    order = np.argsort(_over(p, weights), axis=-1, kind="stable")
    p_sorted, w_sorted = (np.take_along_axis(each, order, axis=-1) for each in (p, weights))
    left = np.cumsum(w_sorted[..., ::-1], axis=-1)[..., ::-1]
    stepped = np.maximum.accumulate(_over(p_sorted, w_sorted) * left, axis=-1)
    return _unsorted(np.minimum(stepped, 1.0), order)


def _hommel(p: Floats) -> Floats:
    """Close Simes' test: the largest over subsets of each size, by the algorithm of Wright 1992."""
    m = p.shape[-1]
    order = np.argsort(p, axis=-1, kind="stable")
    ordered = np.take_along_axis(p, order, axis=-1)
    rank = np.arange(1.0, m + 1.0)
    least = (m * ordered / rank).min(axis=-1, keepdims=True)
    adjusted = np.maximum(ordered, least)
    for size in range(m - 1, 1, -1):
        upper = ordered[..., m - size + 1 :]
        simes = (size * upper / np.arange(2.0, size + 1.0)).min(axis=-1, keepdims=True)
        part = np.where(rank <= m - size + 1, np.minimum(size * ordered, simes), simes)
        adjusted = np.maximum(adjusted, part)
    return _unsorted(np.minimum(adjusted, 1.0), order)


def _shares(weights: Floats) -> Floats:
    shares: Floats = weights / weights.sum(axis=-1, keepdims=True)
    return shares


@np.errstate(all="ignore")
def _over(p: Floats, weights: Floats) -> Floats:
    return np.where(weights > 0.0, p / weights, np.inf)


def _unsorted(values: Floats, order: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Floats:
    result = np.empty_like(values)
    np.put_along_axis(result, order, values, axis=-1)
    return result
