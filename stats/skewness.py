"""The score test of two rates, corrected for arms of different size.

In a small arm rare conversions are skewed, and the tails of z are not alike: 2.1 % and 2.9 % at 18,000
against 2,000 visitors of whom 2 % convert. One Edgeworth term takes that away (Gart & Nam 1988). Arms of
one size need no correction and get none.
"""

import numpy as np

from stats.saddle_point import Floats

# Beyond this the expansion is not to be trusted with more than its value there.
_Z_MAX = 3.5
# Where cells are ten or more it is below .4: the correction never turns the order of two z around.
_SKEWNESS_MAX = 0.8


@np.errstate(all="ignore")
def skewness(s0: Floats, n0: Floats, s1: Floats, n1: Floats) -> Floats:
    """Give the skewness of the score of rate 1 minus rate 0 at the common rate, 0 where there is none."""
    total = n0 + n1
    rate = (s0 + s1) / total
    spread = rate * (1.0 - rate)
    third = spread * (1.0 - 2.0 * rate) * (1.0 / n1 - 1.0 / n0) * (1.0 / n1 + 1.0 / n0)
    found = third / (spread * (1.0 / n0 + 1.0 / n1)) ** 1.5
    return np.clip(np.where(spread > 0.0, found, 0.0), -_SKEWNESS_MAX, _SKEWNESS_MAX)


def corrected_size(z: Floats, skew: Floats) -> Floats:
    """Give |z| as large as a normal one would be; unchanged up to 1."""
    size = np.abs(z)
    excess = np.clip(size * size - 1.0, 0.0, _Z_MAX * _Z_MAX - 1.0)
    corrected: Floats = size - np.sign(z) * skew / 6.0 * excess
    return corrected


def critical_sizes(critical: Floats, skew: Floats) -> tuple[Floats, Floats]:
    """Give the |z| beyond which `corrected_size` is above `critical`, for positive z and for negative."""
    return _critical_size(critical, skew / 6.0), _critical_size(critical, -skew / 6.0)


def _critical_size(critical: Floats, a: Floats) -> Floats:
    # The smaller root of a z^2 - z + critical - a = 0, written without cancellation.
    size = 2.0 * (critical - a) / (1.0 + np.sqrt(np.maximum(1.0 - 4.0 * a * (critical - a), 0.0)))
    beyond = critical + a * (_Z_MAX * _Z_MAX - 1.0)
    size = np.where(beyond > _Z_MAX, beyond, size)
    return np.where(critical <= 1.0, critical, size)
