import json
import subprocess
import sys
from pathlib import Path

import pytest

from stats.reference import Vector, failures, read_vectors

FILE = Path(__file__).parent / "reference_vectors.json"
VECTORS = read_vectors(FILE.read_bytes())


@pytest.mark.parametrize("known", VECTORS, ids=lambda known: known.name)
def test_the_package_gives_the_reference_number(known):
    """Every published or independently computed number is met within its own tolerance."""
    assert failures(known) == []


def run(path):
    """Run the command on a file."""
    command = [sys.executable, "-m", "stats.reference", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_counts_what_passed():
    """All 151 vectors pass, which the last line says."""
    done = run(FILE)

    assert (done.stdout, done.returncode) == ("151 passed, 0 failed\n", 0)


def test_the_command_names_what_failed(tmp_path):
    """A wrong number and inputs of no family fail with a line each and exit code 1."""
    wrong = {"name": "tail", "inputs": {"z": 5}, "expected": 1.0, "tolerance": 0.1, "tolerance_type": "absolute"}
    strange = wrong | {"name": "strange", "inputs": {"what": 1}}
    (tmp_path / "wrong.json").write_text(json.dumps([wrong, strange]))

    done = run(tmp_path / "wrong.json")

    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["tail", "strange", "0 passed, 2 failed"]
    assert done.returncode == 1


def test_what_is_no_file_of_vectors_is_refused(tmp_path):
    """A missing file and one of another shape end with exit code 2."""
    (tmp_path / "other.json").write_text("{}")

    assert run(tmp_path / "none.json").returncode == 2
    assert run(tmp_path / "other.json").returncode == 2


RATIO = {"n": 4, "sum_m": 20, "sumsq_m": 120, "sum_d": 10, "sumsq_d": 30, "sum_md": 58}
FURTHER = [
    Vector(
        "ratio_metric_delta",
        {"control": RATIO, "treatment": RATIO | {"sum_m": 24, "sumsq_m": 160, "sum_md": 66}},
        {"est": 0.4},
        1e-12,
        "absolute",
    ),
    # All intersections tested by Simes, by hand.
    Vector("adjust_hommel", {"p": [0.01, 0.02, 0.03, 0.04]}, [0.04, 0.04, 0.04, 0.04], 1e-12, "absolute"),
    Vector("armitage1969_peek_K5", {"K": 5, "z": 1.959963985}, 0.142, 0.001, "absolute"),
    Vector(
        "jt_obf_K5_inflation", {"K": 5, "alpha": 0.05, "beta": 0.2}, {"R": 1.028, "ASN0": 1.021}, 1e-3, "absolute"
    ),
    Vector(
        "gsDesign_hsd_K5",
        {"K": 5, "gamma": -4, "alpha": 0.05, "sides": 2},
        [3.25, 2.99, 2.69, 2.37, 2.03],
        0.005,
        "absolute",
    ),
    Vector("r_power_t_test_power", {"n": 20, "delta": 1, "sd": 1}, 0.8689528, 1e-6, "absolute"),
    Vector("kohavi2009_16s2", {"p": 0.05, "rel": 0.05}, 121_600, 1, "absolute"),
    Vector(
        "farrington_manning_2",
        {"p1": 0.25, "p2": 0.05, "delta0": 0.1, "alpha_one": 0.05, "power": 0.9, "ratio": 1.5},
        [173.2214, 259.8322],
        0.001,
        "absolute",
    ),
    Vector(
        "house_log_ratio",
        {"control": {"n": 10000, "x": 1000}, "treatment": {"n": 10000, "x": 1100}, "method": "log ratio"},
        {"ci": [0.014385, 0.192840], "p": 0.021141},
        2e-6,
        "absolute",
    ),
    Vector(
        "house_fieller",
        {"control": {"n": 10000, "x": 1000}, "treatment": {"n": 10000, "x": 1100}, "method": "fieller"},
        {"ratio_ci": [1.014450, 1.193182]},
        1e-6,
        "absolute",
    ),
    Vector(
        "fagerland_rr_MN_7_18_1_18",
        {"x1": 7, "n1": 18, "x2": 1, "n2": 18, "method": "miettinen_nurminen_ratio"},
        [1.296, 42.544],
        0.001,
        "absolute",
    ),
    Vector("srm_chi2_600_400", {"observed": [600, 400], "weights": [0.5, 0.5]}, 2.54e-10, 5e-13, "absolute"),
    Vector("srm_nobody", {"observed": [0, 0], "weights": [0.5, 0.5]}, {"chi2": 0, "df": 0}, 0, "absolute"),
    Vector("tail_of_nothing", {"z": 0}, 1, 0, "absolute"),
    Vector(
        "edge_of_nobody",
        {"control": {"n": 10, "x": 0}, "treatment": {"n": 20, "x": 0}},
        {"mn_rd": [-0.284381, 0.165760], "pooled_p": None, "fisher_p": 1, "ratio_ci": [0, "inf"]},
        1e-6,
        "absolute",
    ),
    Vector(
        "gbstats_quantile",
        {
            "control": {"n": 100, "quantile_hat": 5.0, "quantile_lower": 4.0, "quantile_upper": 6.0},
            "treatment": {"n": 100, "quantile_hat": 5.0, "quantile_lower": 4.0, "quantile_upper": 6.0},
        },
        {"est": 0.0},
        0,
        "absolute",
    ),
]


@pytest.mark.parametrize("known", FURTHER, ids=lambda known: known.name)
def test_further_numbers_of_the_families_are_met(known):
    """Published neighbours of the file's vectors, and edges: nobody came, nobody converted."""
    assert failures(known) == []


def test_a_vector_that_no_formula_fits_fails_alone():
    """A rule that nobody knows, and inputs that make no sense, are a line each and stop nothing."""
    for inputs in ({"p": [0.01, 0.2]}, {"z": "five"}, {"K": 0, "alpha": 0.05, "sides": 2}):
        assert failures(Vector("unheard_of", inputs, 1.0, 1e-9, "relative"))
