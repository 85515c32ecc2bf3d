"""What a group sequential design costs: the classic constants, the larger maximum, the smaller average."""

import functools
from typing import Literal, TypeAlias

import msgspec
import numpy as np

from stats import special
from stats.group_sequential import crossing, root

Shape: TypeAlias = Literal["pocock", "obrien_fleming"]


class Inflation(msgspec.Struct, frozen=True):
    """Visitors relative to a test of one look: at most, and on average without and with the effect."""

    maximum: float
    average_without_effect: float
    average_with_effect: float


@functools.lru_cache(maxsize=200)
def constant(looks: int, alpha: float, shape: Shape) -> float:
    """Give the constant of equally spaced looks: |z| >= c (Pocock), |z| >= c sqrt(K / k) (O'Brien-Fleming).

    Jennison & Turnbull 2000, tables 2.1 and 2.3.
    """
    info = _equal(looks)

    def surplus(c: float) -> float:
        return alpha - sum(map(sum, crossing(info, _limits(looks, c, shape))))

    return root(surplus, 0.5, 12.0)


@functools.lru_cache(maxsize=200)
def inflation(info: tuple[float, ...], limits: tuple[float, ...], alpha: float, power: float) -> Inflation:
    """Give the cost of a design with these `limits` of |z| at `info`, relative to one look.

    The drift is that at which it finds an effect with chance `power` (Jennison & Turnbull 2000, 2.3).
    """
    drift = root(lambda d: sum(crossing(info, limits, d)[0]) - power, 0.0, 40.0)
    fixed = float(special.ndtri(power) - special.ndtri(alpha / 2.0))
    maximum = (drift / fixed) ** 2

    def average(d: float) -> float:
        stopped = np.array(crossing(info, limits, d)).sum(axis=0)
        stopped[-1] += 1.0 - stopped.sum()
        return maximum * float(stopped @ np.array(info))

    return Inflation(maximum, average(0.0), average(drift))


def of_shape(looks: int, alpha: float, power: float, shape: Shape) -> Inflation:
    """Give the cost of Pocock's or O'Brien & Fleming's design with equally spaced looks."""
    limits = _limits(looks, constant(looks, alpha, shape), shape)
    return inflation(_equal(looks), limits, alpha, power)


def false_positives(looks: int, z: float) -> float:
    """Give the chance that one of `looks` equally spaced looks is beyond a fixed |z|, without any effect.

    Armitage, McPherson & Rowe 1969.
    """
    return sum(map(sum, crossing(_equal(looks), (z,) * looks)))


def _equal(looks: int) -> tuple[float, ...]:
    return tuple((k + 1) / looks for k in range(looks))


def _limits(looks: int, c: float, shape: Shape) -> tuple[float, ...]:
    if shape == "pocock":
        return (c,) * looks
    return tuple(c * float(np.sqrt(looks / (k + 1))) for k in range(looks))
