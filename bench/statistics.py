"""Measures the statistics: 10,000 comparisons against gbstats in the same run, and a full report.

    python -m bench.statistics [--gbstats PYTHON]

PYTHON is that of an environment made from bench/gbstats.lock (`make bench-statistics` makes it); without
it the ratios are left out.
"""

import argparse
import json
import subprocess
from pathlib import Path

import numpy as np

from bench.comparisons import COMPARISONS, best_seconds, means, rates
from bench.figures import Figure
from stats import confidence_sequence, decision, fieller, proportions, tails
from stats.arms import Arms
from stats.comparison import compare_arms
from stats.moments import of_means, restricted
from stats.saddle_point import Floats
from stats.sample_ratio import splits
from stats.single import compare
from stats.tally import Tally
from stats.terms import PLANNED_N, Terms

ALPHA = 0.05
EXPERIMENTS, GOALS, ARMS = 1_000, 20, 3


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gbstats", type=Path, help="a Python that has gbstats 0.8.0")
    other = parser.parse_args().gbstats
    figures = [*_batches(), *_single(), *_report()]
    if other is not None:
        figures += _against(other, figures[0].value)
    print("\n".join(figure.line() for figure in figures))


def _kernels(control: Arms, treatment: Arms, counts: tuple[Floats, Floats, Floats, Floats]) -> None:
    """Compute z of rates, Welch, Fieller and always-valid limits of means, the e-value of the split."""
    tails.two_sided(proportions.score_z(*counts))
    moments = of_means(control, treatment)
    n = moments.n0 + moments.n1
    tails.student_two_sided(moments.difference / np.sqrt(moments.variance), moments.df)
    critical = tails.student_critical(moments.df, ALPHA)
    fieller.lift_interval(moments.mean0, moments.v0, moments.mean1, moments.v1, critical)
    bound = restricted(moments, confidence_sequence.multiplier(n, PLANNED_N, ALPHA))
    confidence_sequence.p_value(bound.z_squared, n, PLANNED_N, ALPHA)
    splits(np.stack([control.n, treatment.n], axis=-1), np.array([1.0, 1.0]))


def _batches() -> list[Figure]:
    counts = rates()
    m_n0, m_s0, m_q0, m_n1, m_s1, m_q1 = means()
    values = Arms(m_n0, m_s0, m_q0), Arms(m_n1, m_s1, m_q1)
    s0, n0, s1, n1 = (column[:, None] for column in counts)
    arms = Arms.of_proportions(s0, n0), Arms.of_proportions(s1, n1)
    many = f"{COMPARISONS:,} comparisons"
    return [
        Figure(
            f"{many}: z, Welch, Fieller, always-valid, e-value",
            best_seconds(lambda: _kernels(*values, counts), 25) * 1e3,
            "ms",
            "bar 10",
        ),
        Figure(
            f"{many}: score intervals, two scales and regimes",
            best_seconds(lambda: compare_arms(*arms, "conversion"), 15) * 1e3,
            "ms",
            "bar 150",
        ),
    ]


def _single() -> list[Figure]:
    rate = Tally.of_proportion(1_000, 10_000), Tally.of_proportion(1_100, 10_000)
    value = Tally(10_000.0, 30_000.0, 90_000.0), Tally(10_000.0, 31_000.0, 90_000.0)

    def hundred(tallies: tuple[Tally, Tally], kind: str) -> float:
        return best_seconds(lambda: [compare(*tallies, kind=kind) for _ in range(100)]) * 1e4  # type: ignore[arg-type]

    return [
        Figure("one comparison of rates, as a record with words", hundred(rate, "conversion"), "us"),
        Figure("one comparison of means, as a record with words", hundred(value, "value"), "us"),
    ]


def _report() -> list[Figure]:
    draw = np.random.default_rng(3)
    half = GOALS // 2
    n = draw.integers(1_000, 50_000, (EXPERIMENTS, 1, ARMS)).astype(np.float64)
    converters = draw.binomial(n.astype(np.int64), draw.uniform(0.01, 0.3, (EXPERIMENTS, half, 1)))
    conversions = Arms.of_proportions(converters.astype(np.float64), n)
    mean, sd = draw.uniform(1, 20, (EXPERIMENTS, half, 1)), draw.uniform(1, 40, (EXPERIMENTS, half, 1))
    shape = (EXPERIMENTS, half, ARMS)
    total = n * (mean + draw.normal(size=shape) * sd / np.sqrt(n))
    revenue = Arms(np.broadcast_to(n, shape), total, np.broadcast_to((n - 1) * sd * sd, shape))

    def report() -> None:
        found = [
            compare_arms(
                Arms(arms.n[..., :1], arms.sum[..., :1], arms.m2[..., :1]),
                Arms(arms.n[..., 1:], arms.sum[..., 1:], arms.m2[..., 1:]),
                kind,  # type: ignore[arg-type]
                Terms(),
            )
            for arms, kind in ((conversions, "conversion"), (revenue, "value"))
        ]
        split = splits(n[:, 0], np.ones(ARMS))
        guards = decision.guardrail_states(found[1])[:, :2]
        primary = found[0].verdicts[:, :1]
        nobody = np.zeros(EXPERIMENTS, dtype=np.bool_)
        decision.decide(primary, found[0].lift[:, 0], guards, split.healthy, nobody)

    name = f"full report of {EXPERIMENTS:,} experiments x {GOALS} goals x {ARMS} arms"
    return [Figure(name, best_seconds(report, 9) * 1e3, "ms", "bar 200")]


def _against(python: Path, kernels_ms: float) -> list[Figure]:
    command = [str(python), str(Path(__file__).parent / "gbstats_time.py")]
    seconds = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return [
        Figure("gbstats 0.8.0, the same means", seconds["means"], "s"),
        Figure("gbstats 0.8.0, the same rates", seconds["rates"], "s"),
        Figure("gbstats (means) over this", seconds["means"] * 1e3 / kernels_ms, "times", "bar 500"),
    ]


if __name__ == "__main__":
    main()
