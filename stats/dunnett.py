"""Several treatments against one control: simultaneous intervals and their p-values (Dunnett 1955).

Differences share the control, so they correlate by lambda_i lambda_j with lambda_i^2 = n_i / (n_i + n_0):
given the control's deviation they are independent, and all is one integral over it.
"""

import functools
from collections.abc import Callable
from math import prod
from typing import Literal

import numpy as np
from numpy.polynomial import chebyshev

from stats import special, tails
from stats.group_sequential import root
from stats.saddle_point import Floats

_NODES = 96
_BROAD_NODES = 160
# Up to here the nodes give the chance to 1e-9 of it, for up to 36 treatments.
_STEEP_FROM, _FAR_OUT = 0.75, 3.5
# Beyond, pieces end this many standard deviations from where the integrand peaks, and from where it climbs.
_NEAR, _FAR = 3.0, 8.5
_PIECE_PLACES, _PIECE_WEIGHTS = np.polynomial.legendre.leggauss(16)
# Treatments share their pieces where sqrt(1 - lambda^2) differs by less.
_LIKE = 1.1
# So many questions to one family are answered from a polynomial, if its last terms are this small.
_MANY = 160
_POLYNOMIALS = (64, 128)
_LAST_TERMS, _LAST_TERM_MAX = 4, 1e-14
# So many numbers are worked on at once: with fewer at a time the calls take longer than the numbers.
_AT_ONCE = 1 << 15
_LEVEL_TOLERANCE = 1e-13
_STEPS_MAX = 20


def loadings(control_n: Floats, treatment_n: Floats) -> Floats:
    """Give lambda for the visitors of the control (..., 1) and of the treatments (..., k)."""
    loading: Floats = np.sqrt(treatment_n / (treatment_n + control_n))
    return loading


def adjusted_p(p: Floats, lambdas: Floats) -> Floats:
    """Give p-values of the family from two-sided `p` of each; the last axis of `lambdas` is the family.

    The chance that any of k differences without effect is as extreme, so between p and k p. `p` (..., k).
    """
    k = lambdas.shape[-1]
    if k == 1:
        return p
    z = tails.critical(np.clip(p, tails.SMALLEST_P, 1.0))
    exceeded = _any_beyond_often(np.maximum(z, 0.0), lambdas)
    return np.clip(exceeded, p, np.minimum(k * p, 1.0))


def level(alpha: Floats | float, lambdas: Floats) -> Floats:
    """Give the level of each comparison at which the family's error is `alpha`, one for each family (...).

    Secant on the logarithm of the error from Bonferroni's and Sidak's values, which lie above; the inverse
    of `adjusted_p` to 1e-12.
    """
    k = lambdas.shape[-1]
    alpha = np.broadcast_to(np.asarray(alpha, np.float64), lambdas.shape[:-1])
    if k == 1:
        return alpha
    last, z = tails.critical(alpha / k), tails.critical(-np.expm1(np.log1p(-alpha) / k))
    off_last = np.log(_any_beyond(last[..., None], lambdas)[..., 0] / alpha)
    for _ in range(_STEPS_MAX):
        off = np.log(_any_beyond(z[..., None], lambdas)[..., 0] / alpha)
        moves = (np.abs(off) > _LEVEL_TOLERANCE) & (off != off_last)
        if not moves.any():
            break
        slope = np.where(moves, (off - off_last) / np.where(moves, z - last, 1.0), 1.0)
        last, off_last, z = z, off, np.where(moves, z - off / slope, z)
    return tails.two_sided(z)


def critical_value(k: int, df: float, alpha: float, sides: Literal[1, 2] = 2, correlation: float = 0.5) -> float:
    """Give Dunnett's critical value for k equally correlated t statistics with common `df`, inf for normal.

    Dunnett 1955 and 1964. Raises ValueError for k < 1 and a correlation outside [0, 1).
    """
    if not (k >= 1 and df > 0.0 and 0.0 < alpha < 1.0 and 0.0 <= correlation < 1.0):
        raise ValueError(f"no Dunnett test has {k=}, {df=}, {alpha=}, {correlation=}")
    scales, weights = _chi_scales(df)
    nodes, masses = _normal_nodes(_BROAD_NODES)
    loading, rest = np.sqrt(correlation), np.sqrt(1.0 - correlation)

    def inside(d: float) -> float:
        reach = d * scales[:, None]
        each = special.ndtr((reach + loading * nodes) / rest)
        if sides == 2:  # noqa: PLR2004
            each = each - special.ndtr((-reach + loading * nodes) / rest)
        return float(weights @ (each**k @ masses))

    # One side of a single test may have any sign.
    return root(lambda d: inside(d) - (1.0 - alpha), -10.0 if sides == 1 else 0.0, 100.0)


def _any_beyond_often(z: Floats, lambdas: Floats) -> Floats:
    """Give what `_any_beyond` does for z (..., k), to 1e-11 of it.

    Goals of an experiment share one family, whose chance is a smooth function of z: almost a polynomial, as its
    logarithm is far out.
    """
    k = lambdas.shape[-1]
    family = lambdas.reshape(-1, k)[:1]
    if k == 2 or z.size < _MANY or not (lambdas == family[0]).all():  # noqa: PLR2004
        return _any_beyond(z, lambdas)
    chance = np.empty_like(z)
    is_far = z >= _FAR_OUT
    chance[~is_far] = _by_polynomial(lambda at: _any_beyond(at[:, None], family)[:, 0], 0.0, _FAR_OUT, z[~is_far])
    far = z[is_far]
    if far.size:
        log_chance = _by_polynomial(
            lambda at: np.log(_any_beyond(at[:, None], family)[:, 0]), _FAR_OUT, float(far.max()), far
        )
        chance[is_far] = np.exp(log_chance)
    return chance


def _by_polynomial(function: Callable[[Floats], Floats], low: float, high: float, z: Floats) -> Floats:
    """Give a function's values at z (m), from those at Chebyshev's points of an interval where these suffice."""
    for terms in _POLYNOMIALS:
        if z.size <= terms or low == high:
            break
        angles = np.pi * (np.arange(terms) + 0.5) / terms
        values = function(low + 0.5 * (high - low) * (1.0 + np.cos(angles)))
        factors = np.cos(np.arange(terms)[:, None] * angles) @ values * (2.0 / terms)
        factors[0] *= 0.5
        if np.abs(factors[-_LAST_TERMS:]).max() <= _LAST_TERM_MAX * np.abs(factors).max():
            return np.asarray(chebyshev.chebval((2.0 * z - low - high) / (high - low), factors), np.float64)
    return function(z)


def _any_beyond(z: Floats, lambdas: Floats) -> Floats:
    """Give the chance that any |Z_i| of the family exceeds z (..., m), without cancellation in small tails."""
    if lambdas.shape[-1] == 2:  # noqa: PLR2004
        return _either_beyond(z, (lambdas[..., 0] * lambdas[..., 1])[..., None])
    # The chance is even in the deviation: half of the nodes, twice.
    nodes, masses = (each[_NODES // 2 :] for each in _normal_nodes(_NODES))
    chance: Floats = _any_beyond_given(z, lambdas, nodes) @ (2.0 * masses)
    in_pieces = (np.max(lambdas, axis=-1, keepdims=True) >= _STEEP_FROM) | (z >= _FAR_OUT)
    if in_pieces.any():
        families = np.broadcast_to(lambdas[..., None, :], (*z.shape, lambdas.shape[-1]))[in_pieces]
        chance[in_pieces] = _any_beyond_in_pieces(z[in_pieces][:, None], families)[:, 0]
    return chance


def _any_beyond_in_pieces(z: Floats, lambdas: Floats) -> Floats:
    """Give the same far out, and where a treatment is larger than the control, whose deviation x it then follows.

    As a function of x the chance climbs to 1 within a few w = sqrt(1 - lambda^2) / lambda of z / lambda; times the
    density of x it peaks at lambda z. So each treatment has its own pieces about both, up to where the first has
    climbed or nothing is left; where it has climbed, what lies beyond is a tail. Even in x: half of it, twice.
    """
    loading, at = _unlike(lambdas)[..., None, :], z[..., None]
    rest = np.sqrt(1.0 - loading * loading)
    width, peak, climb = rest / loading, loading * at, at / loading
    climbed = np.min(climb + _FAR * width, axis=-1, keepdims=True)
    nothing_left = np.max(peak, axis=-1, keepdims=True) + _FAR
    end = np.minimum(climbed, nothing_left)
    edges = [peak + far * rest for far in (-_FAR, -_NEAR, 0.0, _NEAR)]
    edges += [climb + far * width for far in (-_NEAR, 0.0, _NEAR)]
    inner = np.clip(np.sort(np.concatenate(edges, axis=-1), axis=-1), 0.0, end)
    low = np.concatenate([np.zeros_like(end), inner], axis=-1)
    length = np.concatenate([inner, end], axis=-1) - low
    x = low[..., None] + length[..., None] * (0.5 + 0.5 * _PIECE_PLACES)
    density = np.exp(-0.5 * x * x) / np.sqrt(2.0 * np.pi)
    flat = x.reshape(*x.shape[:-2], -1)
    given = _any_beyond_given(z, lambdas, flat).reshape(x.shape)
    # Added up one after the other: empty pieces of a family that others are asked with then change no bit.
    inside: Floats = np.cumsum(length * ((density * given) @ _PIECE_WEIGHTS), axis=-1)[..., -1]
    return inside + np.where(climbed <= nothing_left, 2.0 * special.ndtr(-climbed), 0.0)[..., 0]


def _unlike(lambdas: Floats) -> Floats:
    """Give r treatments of each family (..., k) whose pieces serve for all; some twice where fewer would do."""
    largest_first = -np.sort(-lambdas, axis=-1)
    rest = np.sqrt(np.maximum(1.0 - largest_first * largest_first, np.finfo(np.float64).tiny))
    step = np.floor(np.log(rest) / np.log(_LIKE))
    is_taken = np.ones_like(step, dtype=np.bool_)
    is_taken[..., 1:] = step[..., 1:] != step[..., :-1]
    order = np.argsort(~is_taken, axis=-1, kind="stable")[..., : int(is_taken.sum(axis=-1).max())]
    taken = np.take_along_axis(is_taken, order, axis=-1)
    found: Floats = np.where(taken, np.take_along_axis(largest_first, order, axis=-1), largest_first[..., :1])
    return found


def _any_beyond_given(z: Floats, lambdas: Floats, x: Floats) -> Floats:
    """Give the same at each deviation `x` of the control, one for all (n) or for each z (..., m, n)."""
    families = lambdas.reshape((1,) * (z.ndim - lambdas.ndim) + lambdas.shape)
    loadings = np.moveaxis(families, -1, 0)[..., None, None]
    shape = np.broadcast_shapes((*z.shape, 1), x.shape, loadings.shape[1:])
    if len(loadings) * prod(shape) <= _AT_ONCE:
        # Summed one after the other either way, so that both give the same bits.
        total = _log_none_beyond(z, loadings, x).sum(axis=0)
    else:
        total = sum(_log_none_beyond(z, loading, x) for loading in loadings)
    chance: Floats = -np.expm1(total)
    return chance


def _log_none_beyond(z: Floats, loading: Floats, x: Floats) -> Floats:
    rest = np.sqrt(1.0 - loading * loading)
    shift, limit = loading * x, z[..., None]
    beyond = special.ndtr((shift - limit) / rest) + special.ndtr((-shift - limit) / rest)
    none_beyond: Floats = np.log1p(-np.minimum(beyond, 1.0 - 1e-16))
    return none_beyond


def _either_beyond(z: Floats, correlation: Floats) -> Floats:
    """Give the chance that one of two correlated |Z| exceeds z: two terms of Owen's T (Owen 1956)."""
    slope = np.sqrt((1.0 - correlation) / (1.0 + correlation))
    chance: Floats = 4.0 * (special.owens_t(z, slope) + special.owens_t(z, 1.0 / slope))
    return chance


@functools.lru_cache(maxsize=8)
def _normal_nodes(count: int) -> tuple[Floats, Floats]:
    """Give nodes and masses of a standard normal: Gauss-Legendre, as integrands may have steep flanks."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    at = 7.5 * nodes
    masses = weights * np.exp(-0.5 * at * at)
    return at, masses / masses.sum()


@functools.lru_cache(maxsize=64)
def _chi_scales(df: float) -> tuple[Floats, Floats]:
    """Give nodes and masses of sqrt(chi^2_df / df)."""
    if np.isinf(df):
        return np.ones(1), np.ones(1)
    nodes, weights = np.polynomial.legendre.leggauss(_BROAD_NODES)
    chance = np.array([1e-15, 1.0 - 1e-15])
    low, high = np.sqrt(special.chdtri(df, 1.0 - chance) / df)
    at = 0.5 * (high - low) * nodes + 0.5 * (high + low)
    density = (df - 1.0) * np.log(at) - 0.5 * df * at * at
    masses = weights * np.exp(density - density.max())
    return at, masses / masses.sum()
