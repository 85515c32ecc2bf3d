"""Logarithms of gamma functions and likelihoods without the cancellation that counts of 1e12 bring.

After Loader 2000, Fast and Accurate Computation of Binomial Probabilities.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from stats import special

Floats: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]

_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
_STIRLING_REVERSED = _STIRLING[::-1]
_STIRLING_FROM = 16.0
# Beyond this the terms left out are below a rounding error.
_FEW_STIRLING = _STIRLING[3::-1]
_FEW_STIRLING_FROM = 200.0
_SERIES_BELOW = 0.1
_SERIES_TERMS = 9
_FEW_TERMS = 5
_FEW_TERMS_BELOW = 1e-3


@np.errstate(all="ignore")
def deviance(x: Floats, mean: Floats) -> Floats:
    """Give x ln(x / mean) - x + mean to full relative precision, for x >= 0 and mean > 0."""
    v = np.asarray((x - mean) / (x + mean))
    near = np.abs(v) < _SERIES_BELOW
    is_near = bool(near.all())
    square = v * v if is_near else np.where(near, v * v, 0.0)
    # The terms left out are below a rounding error.
    few = is_near and float(square.max(initial=0.0)) < _FEW_TERMS_BELOW
    series = np.zeros_like(square)
    for j in range(_FEW_TERMS if few else _SERIES_TERMS, 0, -1):
        series += 1.0 / (2 * j + 1)
        series *= square
    close: Floats = v * (x - mean) + 2.0 * x * v * series
    if is_near:
        return close
    return np.where(near, close, special.xlogy(x, x / mean) - x + mean)


@np.errstate(all="ignore")
def stirling_error(x: Floats) -> Floats:
    """Give ln gamma(x) - ((x - 1/2) ln x - x + ln(2 pi) / 2) for x > 0."""
    x = np.asarray(x)
    smallest = float(x.min(initial=np.inf))
    inverse = 1.0 / (x if smallest >= _STIRLING_FROM else np.maximum(x, _STIRLING_FROM))
    square = inverse * inverse
    series = np.zeros_like(inverse)
    for coefficient in _FEW_STIRLING if smallest >= _FEW_STIRLING_FROM else _STIRLING_REVERSED:
        series *= square
        series += coefficient
    expanded: Floats = series * inverse
    if smallest >= _STIRLING_FROM:
        return expanded
    small = ~(x >= _STIRLING_FROM)
    direct = special.gammaln(x) - ((x - 0.5) * np.log(x) - x + 0.5 * np.log(2.0 * np.pi))
    return np.where(small, direct, expanded)


@np.errstate(all="ignore")
def log_factorial_excess(x: Floats) -> Floats:
    """Give ln x! - (x ln x - x) for x >= 0."""
    positive = np.where(x > 0.0, x, 1.0)
    excess = 0.5 * np.log(2.0 * np.pi * positive) + stirling_error(positive)
    result: Floats = np.where(x > 0.0, excess, 0.0)
    return result
