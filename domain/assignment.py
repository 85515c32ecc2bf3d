"""Which variant a visitor gets, decided by a hash alone: the same here, in the browser and in any SDK.

The hash, the ranges and the namespaces are those of GrowthBook's public vectors (specVersion 0.8.0, MIT).
"""

import functools
import operator
import re
from collections.abc import Sequence
from typing import assert_never

from domain.plan import UrlMatchType

Range = tuple[float, float]

_SUM_MIN, _SUM_MAX = 0.99, 1.01
_ORIGIN = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?]*")
_LEADING_INTEGER = re.compile(r"\s*([+-]?[0-9]+)")


def assign(
    *, experiment_id: str, visitor_id: str, weights: Sequence[float], traffic_percentage: float
) -> int | None:
    """Choose the index of a visitor's variant, or None when the visitor takes no part.

    Raising the traffic never moves a visitor who takes part; changing weights does. `weights` are positive,
    of any sum, in the order in which the variants were created.
    """
    total = _sum(weights)
    shares = [weight / total for weight in weights]
    ranges = bucket_ranges(len(shares), traffic_percentage / 100, shares)
    chosen = choose_variation(hash_v2(experiment_id, visitor_id), ranges)
    return None if chosen < 0 else chosen


def matches_url(url_match_type: UrlMatchType, target_url: str, url: str) -> bool:
    """Tell whether an experiment takes part on a page; case counts, nothing is decoded or normalised.

    | match type    | target starts with "/"                      | any other target           |
    |---------------|---------------------------------------------|----------------------------|
    | `all`         | every page                                  | every page                 |
    | `exact`       | equals the path (query and hash ignored)    | equals the whole href      |
    | `contains`    | is part of the whole href                   | is part of the whole href  |
    | `starts_with` | begins path and query (hash ignored)        | begins the whole href      |

    `url` is a page's `location.href`. The browser script keeps the same table; both are tested against
    `tests/domain/url_cases.json`.
    """
    is_path = target_url.startswith("/")
    match url_match_type:
        case "all":
            matches = True
        case "exact":
            matches = target_url == (_path_and_query(url).partition("?")[0] if is_path else url)
        case "contains":
            matches = target_url in url
        case "starts_with":
            matches = (_path_and_query(url) if is_path else url).startswith(target_url)
        case _:
            assert_never(url_match_type)
    return matches


def hash_v2(seed: str, value: str) -> float:
    """Hash to one of 10,000 steps in [0, 1): FNV-1a twice, independent between seeds."""
    return _fnv1a_32(str(_fnv1a_32(seed + value))) % 10_000 / 10_000


def hash_v1(seed: str, value: str) -> float:
    """Hash to one of 1,000 steps in [0, 1), for namespaces only: correlated between seeds, biased."""
    return _fnv1a_32(value + seed) % 1_000 / 1_000


def hash_of_version(seed: str, value: str, version: int) -> float | None:
    """Hash by a version number of the public vectors; None for one that does not exist."""
    hashes = {1: hash_v1, 2: hash_v2}
    return hashes[version](seed, value) if version in hashes else None


def bucket_ranges(n: int, coverage: float, weights: Sequence[float] | None = None) -> list[Range]:
    """Lay n ranges side by side in [0, 1), each filled from its start as far as the coverage goes.

    Weights of another number than n, or of a sum other than 1 (by more than 0.01), count as equal.
    """
    covered = min(max(coverage, 0), 1)
    if weights is None or len(weights) != n or not _adds_up(weights):
        weights = equal_weights(n)
    ranges = []
    start = 0.0
    for weight in weights:
        ranges.append((start, start + covered * weight))
        start += weight
    return ranges


def choose_variation(n: float, ranges: Sequence[Range]) -> int:
    """Find the range that holds n, its end excluded; -1 when none does."""
    return next((index for index, (start, end) in enumerate(ranges) if start <= n < end), -1)


def equal_weights(n: int) -> list[float]:
    """Share 1 among n variants; none for n below 1."""
    return [1 / n] * n if n > 0 else []


def in_namespace(value: str, namespace: tuple[str, float, float]) -> bool:
    """Tell whether a visitor falls into a share [start, end) of a named namespace."""
    name, start, end = namespace
    return start <= hash_v1("__" + name, value) < end


def query_string_override(key: str, url: str, n: int) -> int | None:
    """Read a forced variant index from `?key=index`; None when absent or not one of n."""
    query = url.partition("?")[2].partition("?")[0].partition("#")[0]
    pairs = (pair.partition("=") for pair in query.split("&"))
    # Read as JavaScript's parseInt does, so that the browser agrees: "1abc" is 1, and the first key counts.
    forced = next((_LEADING_INTEGER.match(value) for name, _, value in pairs if name == key), None)
    index = float(forced[1]) if forced else -1  # int() refuses to read thousands of digits
    return int(index) if 0 <= index < n else None


def _fnv1a_32(text: str) -> int:
    """Hash UTF-16 code units, JavaScript's characters; SDKs that hash bytes differ beyond ASCII."""
    encoded = text.encode("utf-16-le", "surrogatepass")
    digest = 0x811C9DC5
    for low, high in zip(encoded[::2], encoded[1::2], strict=True):
        digest = ((digest ^ (low | high << 8)) * 0x01000193) & 0xFFFFFFFF
    return digest


def _adds_up(weights: Sequence[float]) -> bool:
    return _SUM_MIN <= _sum(weights) <= _SUM_MAX


def _sum(weights: Sequence[float]) -> float:
    # Left to right, as a browser adds: Python's own sum() compensates from 3.12 on.
    return functools.reduce(operator.add, weights, 0.0)


def _path_and_query(url: str) -> str:
    """Read what a page knows as `location.pathname + location.search`."""
    path, _, query = _ORIGIN.sub("", url.partition("#")[0]).partition("?")
    return (path or "/") + (f"?{query}" if query else "")
