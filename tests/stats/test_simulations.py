"""The short form of `make simulate-stats`: the same gates with few runs, four standard errors wider."""

import pytest

from tests.stats.simulation.__main__ import SEED, SIMULATIONS

LONG = {"families"}


@pytest.mark.parametrize(
    ("simulation", "runs"),
    [pytest.param(*each, marks=pytest.mark.thorough if each[0].__name__ in LONG else ()) for each in SIMULATIONS],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_what_is_promised_holds_in_simulated_experiments(simulation, runs):
    """Size, coherence, coverage, always-valid and family errors, as documented."""
    few = {"coherence": 50_000, "size_of_rates": 10_000}.get(simulation.__name__, max(1_000, runs // 50))

    missed = [gate.line() for gate in simulation(few, SEED) if not gate.passes(4.0)]

    assert missed == []
