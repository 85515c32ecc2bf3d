"""Which arm is the best, with what chance, and the weights of a Thompson bandit: no random numbers."""

import functools

import numpy as np

from stats import special
from stats.saddle_point import Floats

_NODES = 200
_REACH = 9.0


def chance_of_best(mean: Floats, sd: Floats) -> Floats:
    """Give the chance that each arm (..., k) has the highest mean, for independent normal posteriors.

    One integral for each arm over its own law, by Gauss-Legendre; chances of a row add to 1. Arms without
    any variance share what they tie for.
    """
    nodes, masses = _nodes()
    spread = np.maximum(sd, np.finfo(np.float64).tiny)
    at = mean[..., :, None] + spread[..., :, None] * nodes
    chances = []
    for i in range(mean.shape[-1]):
        below = special.log_ndtr((at[..., i, None, :] - mean[..., :, None]) / spread[..., :, None])
        below[..., i, :] = 0.0
        chances.append(np.exp(below.sum(axis=-2)) @ masses)
    chance = np.stack(chances, axis=-1)
    result: Floats = chance / chance.sum(axis=-1, keepdims=True)
    return result


def thompson_weights(mean: Floats, sd: Floats, floor: float = 0.01) -> Floats:
    """Give the shares of new visitors that follow each arm's chance of being best, none below `floor`.

    Raises ValueError for a floor that k arms cannot all have.
    """
    k = mean.shape[-1]
    if not 0.0 <= floor * k <= 1.0:
        raise ValueError(f"{k} arms cannot each have a share of {floor}")
    weights: Floats = floor + (1.0 - k * floor) * chance_of_best(mean, sd)
    return weights


@functools.lru_cache(maxsize=1)
def _nodes() -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    at = _REACH * nodes
    masses = weights * np.exp(-0.5 * at * at)
    return at, masses / masses.sum()
