"""The inputs that both engines are timed on, and the time one takes; imports nothing of this project."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

COMPARISONS = 10_000
SEED = 7


def rates(count: int = COMPARISONS) -> tuple[Any, Any, Any, Any]:
    """Converters and visitors of control and treatment: 1,000 to 50,000 visitors, 2 to 12 % of whom convert."""
    draw = np.random.default_rng(SEED)
    n0, n1 = _halves(draw, count)
    p = draw.uniform(0.02, 0.12, count)
    s0 = draw.binomial(n0.astype(np.int64), p).astype(np.float64)
    s1 = draw.binomial(n1.astype(np.int64), p * draw.uniform(0.95, 1.05, count)).astype(np.float64)
    return s0, n0, s1, n1


def means(count: int = COMPARISONS) -> tuple[Any, ...]:
    """Visitors, sum and centred squares of control and treatment."""
    draw = np.random.default_rng(SEED + 1)
    n0, n1 = _halves(draw, count)
    mean, sd = draw.uniform(1, 20, count), draw.uniform(1, 40, count)
    found = []
    for n in (n0, n1):
        found += [n, n * (mean + draw.normal(0, sd / np.sqrt(n))), (n - 1) * sd * sd]
    return tuple(found)


def _halves(draw: np.random.Generator, count: int) -> tuple[Any, Any]:
    total = draw.integers(2_000, 100_000, count)
    n0 = draw.binomial(total, 0.5)
    return n0.astype(np.float64), (total - n0).astype(np.float64)


def best_seconds(work: Callable[[], object], rounds: int = 7) -> float:
    """The fastest of some rounds: other work on the machine only adds."""
    work()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)
