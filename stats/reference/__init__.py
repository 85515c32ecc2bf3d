"""Evaluates files of reference numbers, published ones and independently computed ones, with this package.

    python -m stats.reference FILE.json

The package's only input and output. A file is a list of vectors: `name`, `source`, `inputs`, `expected`,
`tolerance`, `tolerance_type` (absolute or relative). `families` finds the formula that inputs call for.
"""

from stats.reference.vectors import Vector, failures, read_vectors

__all__ = ["Vector", "failures", "read_vectors"]
