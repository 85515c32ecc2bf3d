"""Runs every simulation in full and prints its gates; exit code 1 when one fails.

python -m tests.stats.simulation [--share 0.1]
"""

import argparse
import sys
import time

from tests.stats.simulation import monitoring, single_look

# Runs of each in full; a standard error is some .03 to .15 points then.
SIMULATIONS = (
    (single_look.size_of_rates, 200_000),
    (single_look.coherence, 1_000_000),
    (single_look.coverage, 100_000),
    (single_look.cuped_coverage, 50_000),
    (single_look.skewed_revenue, 5_000),
    (single_look.changed_weights, 50_000),
    (single_look.calibration, 400_000),
    (monitoring.always_valid_rates, 20_000),
    (monitoring.always_valid_revenue, 2_000),
    (monitoring.group_sequential_size, 400_000),
    (monitoring.families, 400_000),
    (monitoring.sample_ratios, 20_000),
)
SEED = 20_261_124


def main() -> int:
    """Print a line for each gate and, last, how many passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of the runs; limits then widen by 4 errors")
    part = parser.parse_args().share
    failed = passed = 0
    for simulation, runs in SIMULATIONS:
        began = time.perf_counter()
        for gate in simulation(max(1_000, int(runs * part)), SEED):
            slack = 0.0 if part >= 1 else 4.0
            ok = gate.passes(slack)
            passed, failed = passed + ok, failed + (not ok)
            print(gate.line(slack), flush=True)  # noqa: T201
        print(f"      {simulation.__name__}: {time.perf_counter() - began:.1f} s", flush=True)  # noqa: T201
    print(f"{passed} passed, {failed} failed")  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
