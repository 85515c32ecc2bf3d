"""The conditional exact test of two rates, for cells too small for a normal approximation."""

import numpy as np

from stats.saddle_point import Floats, deviance, log_factorial_excess

SMALL_CELL = 10.0
FISHER_TABLES_MAX = 10_000_000
# Tables that are equally likely but for rounding count as such.
_TIES = 1e-7
# Above its mean a cell below 10 has a standard deviation below 3.2: 64 steps reach 1e-16 of the tail.
_TAIL_TERMS = np.arange(64.0)


@np.errstate(all="ignore")
def mid_p(s0: Floats, n0: Floats, s1: Floats, n1: Floats) -> Floats:
    """Give the two-sided mid-P of Fisher's exact test, twice the smaller tail.

    Meant for tables whose smallest cell is below `SMALL_CELL`; whole counts, n >= 1.
    """
    x, row, column, total = _smallest_cell(s0, n0, s1, n1)
    below = x <= row * (column / total)
    at = x[..., None] + np.where(below[..., None], -_TAIL_TERMS, _TAIL_TERMS)
    row_, column_, rest = row[..., None], column[..., None], (total - row - column)[..., None]
    down = at * (rest + at) / ((row_ - at + 1.0) * (column_ - at + 1.0))
    up = (row_ - at) * (column_ - at) / ((at + 1.0) * (rest + at + 1.0))
    # Past the end of the support a step is 0, and what follows it stays 0.
    steps = np.clip(np.nan_to_num(np.where(below[..., None], down, up)), 0.0, None)
    tail = _table_probability(x, row, column, total) * (0.5 + np.cumprod(steps, axis=-1).sum(axis=-1))
    result: Floats = np.clip(2.0 * np.minimum(tail, 1.0 - tail), 0.0, 1.0)
    return result


@np.errstate(all="ignore")
def fisher(s0: Floats, n0: Floats, s1: Floats, n1: Floats) -> Floats:
    """Give the two-sided p-value of Fisher's exact test: all tables no likelier than the one seen.

    Scalars only, for at most `FISHER_TABLES_MAX` tables; raises ValueError beyond.
    """
    column, total = float(s0 + s1), float(n0 + n1)
    first, last = max(0.0, column - float(n0)), min(float(n1), column)
    if last - first > FISHER_TABLES_MAX:
        raise ValueError(f"{last - first:.0f} tables are more than {FISHER_TABLES_MAX}")
    x = np.arange(first, last + 1.0)
    p = _table_probability(x, *(np.full_like(x, each) for each in (float(n1), column, total)))
    seen = p[int(float(s1) - first)]
    return np.asarray(min(1.0, float(p[p <= seen * (1.0 + _TIES)].sum())))


@np.errstate(all="ignore")
def binomial_log_probability(s: Floats, n: Floats, rate: Floats) -> Floats:
    """Give the log chance of `s` converters among `n` at a rate inside (0, 1), 1 <= s <= n (Loader 2000)."""
    rest = n - s
    distance = deviance(s, n * rate) + np.where(rest > 0.0, deviance(rest, n * (1.0 - rate)), 0.0)
    shape = log_factorial_excess(n) - log_factorial_excess(s) - log_factorial_excess(rest)
    result: Floats = np.where(rest > 0.0, shape - distance, n * np.log(rate))
    return result


def smallest_cell(s0: Floats, n0: Floats, s1: Floats, n1: Floats) -> Floats:
    """Give the smallest of the four counts: converters and others in either arm."""
    return np.minimum(np.minimum(s0, n0 - s0), np.minimum(s1, n1 - s1))


def _smallest_cell(s0: Floats, n0: Floats, s1: Floats, n1: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    s, others = s0 + s1, (n0 - s0) + (n1 - s1)
    cells = np.stack(np.broadcast_arrays(s0, n0 - s0, s1, n1 - s1))
    rows = np.stack(np.broadcast_arrays(n0, n0, n1, n1))
    columns = np.stack(np.broadcast_arrays(s, others, s, others))
    pick = np.argmin(cells, axis=0)[None]
    x, row, column = (np.take_along_axis(each, pick, axis=0)[0] for each in (cells, rows, columns))
    return x, row, column, s + others


def _table_probability(x: Floats, row: Floats, column: Floats, total: Floats) -> Floats:
    """Give the hypergeometric probability of the table with `x` in the first cell."""
    other_row, other_column = total - row, total - column
    cells = np.stack([x, row - x, column - x, other_row - (column - x)])
    rows = np.stack([row, row, other_row, other_row])
    columns = np.stack([column, other_column, column, other_column])
    expected = rows * (columns / total)
    distance = np.where(expected > 0.0, deviance(cells, expected), 0.0).sum(axis=0)
    margins = np.stack([row, other_row, column, other_column])
    shape = log_factorial_excess(margins).sum(axis=0) - log_factorial_excess(total)
    result: Floats = np.exp(shape - log_factorial_excess(cells).sum(axis=0) - distance)
    return result
