"""Reading vectors, and holding what was found against what is expected."""

from math import inf, isfinite, isnan, nan
from typing import Any, Literal

import msgspec
import numpy as np

from stats.reference.families import evaluate

# Where 0 is expected, a relative tolerance says nothing.
_ZERO = 1e-15
_WORDS = {"inf": inf, "-inf": -inf, "nan": nan, None: nan}


class Vector(msgspec.Struct, frozen=True):
    """One reference number, or several in a list or under names, with where it comes from."""

    name: str
    inputs: dict[str, Any]
    expected: Any
    tolerance: float
    tolerance_type: Literal["absolute", "relative"]
    source: str = ""
    kind: str = ""


def read_vectors(data: bytes) -> list[Vector]:
    """Decode a file; msgspec's ValidationError, a ValueError, says what is not a vector."""
    return msgspec.json.decode(data, type=list[Vector])


def failures(vector: Vector) -> list[str]:
    """Say which expected numbers this package does not give, none when all are within the tolerance."""
    try:
        found = evaluate(vector.name, vector.inputs)
    except Exception as error:  # noqa: BLE001  (inputs that no formula fits fail this vector, not the run)
        return [f"{type(error).__name__}: {error}"]
    return _differences(vector, "", vector.expected, found)


def _differences(vector: Vector, path: str, expected: Any, found: Any) -> list[str]:
    if isinstance(expected, dict):
        if not isinstance(found, dict):
            return [f"{path or 'result'} has no parts, expected {sorted(expected)}"]
        unknown = [f"{path}{key} is not known" for key in expected if key not in found]
        return unknown + [
            line
            for key in expected
            if key in found
            for line in _differences(vector, f"{path}{key}.", expected[key], found[key])
        ]
    if isinstance(found, dict):
        if "main" not in found:
            return [f"{path or 'result'} is one of {sorted(found)}, expected {expected}"]
        found = found["main"](expected) if callable(found["main"]) else found["main"]
    if isinstance(expected, list):
        numbers = list(np.ravel(np.asarray(found, dtype=object)))
        if len(numbers) != len(expected):
            return [f"{path or 'result'} has {len(numbers)} numbers, expected {len(expected)}"]
        pairs = zip(expected, numbers, strict=True)
        return [line for i, (e, f) in enumerate(pairs) for line in _differences(vector, f"{path}{i}.", e, f)]
    if np.size(found) != 1:
        return [f"{path or 'result'} has {np.size(found)} numbers, expected one"]
    got, wanted = float(np.ravel(found)[0]), float(_WORDS.get(expected, expected))
    if _near(got, wanted, vector.tolerance, vector.tolerance_type):
        return []
    return [f"{path.rstrip('.') or 'result'} is {got!r}, expected {wanted!r} within {vector.tolerance:g}"]


def _near(got: float, wanted: float, tolerance: float, kind: str) -> bool:
    if isnan(wanted) or isnan(got):
        return isnan(wanted) and isnan(got)
    if not (isfinite(wanted) and isfinite(got)):
        return wanted == got
    room = tolerance if kind == "absolute" else max(tolerance * abs(wanted), _ZERO if wanted == 0.0 else 0.0)
    return abs(got - wanted) <= room
