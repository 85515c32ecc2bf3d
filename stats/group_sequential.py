"""Group sequential tests: a stated number of looks, or any number, on the way to a stated horizon.

`info` are information fractions, 0 < t1 < t2 < ..., visitors over visitors planned. Probabilities by the
recursion of Armitage, McPherson & Rowe 1969 over Gauss-Legendre nodes; Jennison & Turnbull 2000, ch. 19.
"""

import functools
from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np

from stats import special
from stats.saddle_point import Floats

Spending: TypeAlias = Literal["obrien_fleming", "pocock", "power", "hwang_shih_decani"]

LOOKS_MAX = 200
# Beyond this many standard deviations no density is left to carry on.
_REACH = 8.5
_NODES_MIN = 64
_NODES_MAX = 512
_NODES_PER_STEP = 6.0
_STEPS_MAX = 200
_SPENT_MIN = 1e-300


def spent(info: Floats | float, alpha: Floats | float, rule: Spending, parameter: float = 2.0) -> Floats:
    """Give the type I error that may be spent up to `info`, one-sided `alpha` in all (Lan & DeMets 1983).

    `parameter` is the exponent of `power` and the gamma of `hwang_shih_decani`. Beyond the horizon no more
    is spent than at it.
    """
    t = np.minimum(np.asarray(info, dtype=np.float64), 1.0)
    if rule == "obrien_fleming":
        error: Floats = 2.0 * special.ndtr(special.ndtri(np.asarray(alpha) / 2.0) / np.sqrt(t))
    elif rule == "pocock":
        error = alpha * np.log1p((np.e - 1.0) * t)
    elif rule == "power":
        error = alpha * t**parameter
    elif parameter == 0.0:
        error = alpha * t
    else:
        error = alpha * np.expm1(-parameter * t) / np.expm1(-parameter)
    return error


@functools.lru_cache(maxsize=1_000)
def bounds(
    info: tuple[float, ...], alpha: float, rule: Spending, parameter: float = 2.0, sides: Literal[1, 2] = 2
) -> tuple[float, ...]:
    """Give the |z| (z, for one side) at which to stop at each look; inf where nothing may be spent.

    The error of both sides is `alpha` at the horizon or the last look beyond it. Looks may stand anywhere,
    as long as where does not depend on the differences seen. Raises ValueError for an `info` that does not
    increase from above 0 and for more than `LOOKS_MAX` looks.
    """
    _check(info, alpha)
    increments = np.diff(spent(np.array(info), alpha / sides, rule, parameter), prepend=0.0)
    process = _Process(sides)
    found = []
    for t, increment in zip(info, increments, strict=True):
        # Less than this is no bound that a float can show.
        bound = process.bound_for(t, float(increment) * sides) if increment > _SPENT_MIN else np.inf
        process.advance(t, bound)
        found.append(float(bound))
    return tuple(found)


def crossing(
    info: tuple[float, ...], limits: tuple[float, ...], drift: float = 0.0, sides: Literal[1, 2] = 2
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Give the chances of first crossing the upper, and the lower, limit at each look.

    `drift` is the expected z at information 1.
    """
    _check(info, 0.5)
    process = _Process(sides, drift)
    upper, lower = [], []
    for t, limit in zip(info, limits, strict=True):
        above, below = process.exits(t, limit)
        upper.append(above)
        lower.append(below)
        process.advance(t, limit)
    return tuple(upper), tuple(lower)


def continuous_critical(info: Floats, alpha: Floats | float) -> Floats:
    """Give the |z| at which to stop before the horizon, however often one looks; inf beyond the horizon.

    A Brownian motion ever leaves +-b before time 1 with chance 4 (1 - Phi(b)) at most: the limit of Lan &
    DeMets' O'Brien-Fleming rule for endless looks, in closed form.
    """
    critical: Floats = -special.ndtri(np.asarray(alpha) / 4.0) / np.sqrt(info)
    return np.where(info <= 1.0, critical, np.inf)


def continuous_p_value(z: Floats, info: Floats) -> Floats:
    """Give the p-value that holds at every look before the horizon, 1 beyond it.

    Below alpha exactly when |z| is beyond `continuous_critical`.
    """
    p = np.minimum(4.0 * special.ndtr(-np.abs(z) * np.sqrt(info)), 1.0)
    return np.where(info <= 1.0, p, 1.0)


class _Process:
    """The density of a Brownian motion that has not crossed a limit yet, at the last look."""

    def __init__(self, sides: int, drift: float = 0.0) -> None:
        self._sides, self._drift = sides, drift
        self._time = 0.0
        self._at, self._mass = np.zeros(1), np.ones(1)

    def exits(self, t: float, limit: float) -> tuple[float, float]:
        """Give the chances of being above and below the limits at `t`."""
        step = np.sqrt(t - self._time)
        moved = self._at + self._drift * (t - self._time)
        reach = limit * np.sqrt(t)
        above = float(self._mass @ special.ndtr((moved - reach) / step))
        below = float(self._mass @ special.ndtr((-reach - moved) / step)) if self._sides == 2 else 0.0  # noqa: PLR2004
        return above, below

    def bound_for(self, t: float, error: float) -> float:
        """Give the limit that is crossed at `t` with chance `error`, by bisection on z."""
        low, high = (0.0 if self._sides == 2 else -_REACH), 40.0  # noqa: PLR2004
        for _ in range(_STEPS_MAX):
            middle = 0.5 * (low + high)
            if middle in {low, high}:
                break
            if sum(self.exits(t, middle)) > error:
                low = middle
            else:
                high = middle
        return 0.5 * (low + high)

    def advance(self, t: float, limit: float) -> None:
        """Carry the density inside the limits on to `t`."""
        root, step = np.sqrt(t), np.sqrt(t - self._time)
        center = self._drift * t
        high = min(limit * root, center + _REACH * root)
        low = max(-limit * root, center - _REACH * root) if self._sides == 2 else center - _REACH * root  # noqa: PLR2004
        if high <= low:
            self._at, self._mass, self._time = np.zeros(1), np.zeros(1), t
            return
        # Smooth on the scale of the narrower of this step and the next ones, which are as wide or wider.
        count = int(np.clip(np.ceil((high - low) / step * _NODES_PER_STEP), _NODES_MIN, _NODES_MAX))
        nodes, weights = _gauss_legendre(count)
        at = 0.5 * (high - low) * nodes + 0.5 * (high + low)
        apart = (at[:, None] - self._at - self._drift * (t - self._time)) / step
        density = (np.exp(-0.5 * apart * apart) / (step * np.sqrt(2.0 * np.pi))) @ self._mass
        self._at, self._mass, self._time = at, density * weights * (0.5 * (high - low)), t


@functools.lru_cache(maxsize=64)
def _gauss_legendre(count: int) -> tuple[Floats, Floats]:
    return np.polynomial.legendre.leggauss(count)


def _check(info: tuple[float, ...], alpha: float) -> None:
    steps = np.diff(np.array(info, dtype=np.float64), prepend=0.0)
    if not (0 < len(info) <= LOOKS_MAX and np.isfinite(steps).all() and (steps > 0.0).all() and 0.0 < alpha < 1.0):
        raise ValueError(f"no group sequential test has {info=} and {alpha=}")


def root(function: Callable[[float], float], low: float, high: float) -> float:
    """Give where an increasing function of one number crosses 0, by bisection."""
    for _ in range(_STEPS_MAX):
        middle = 0.5 * (low + high)
        if middle in {low, high}:
            break
        low, high = (low, middle) if function(middle) > 0.0 else (middle, high)
    return 0.5 * (low + high)
