"""What the tests of the statistics share: reference numbers with their sources."""

import json
from pathlib import Path

import pytest

VECTORS = {
    vector["name"]: vector
    for vector in json.loads((Path(__file__).parent / "reference_vectors.json").read_bytes())
}


@pytest.fixture
def reference():
    """Look up a reference vector: its inputs, and a checker that knows its tolerance."""

    def look_up(name):
        vector = VECTORS[name]
        return vector["inputs"], lambda expected: approximately(expected, vector)

    return look_up


def approximately(expected, vector):
    """Compare within the vector's own tolerance, published ones absolutely and computed ones relatively."""
    if vector["tolerance_type"] == "absolute":
        return pytest.approx(expected, rel=0, abs=vector["tolerance"])
    return pytest.approx(expected, rel=vector["tolerance"], abs=1e-13)


def pytest_generate_tests(metafunc):
    """Run a test that takes a `vector` once for each vector its `families` name by method."""
    if "vector" in metafunc.fixturenames:
        methods = metafunc.function.families
        chosen = [v for v in VECTORS.values() if _method(v) in methods]
        assert chosen
        metafunc.parametrize("vector", chosen, ids=lambda v: v["name"])


def _method(vector):
    return vector["inputs"].get("method") if isinstance(vector["inputs"], dict) else None
