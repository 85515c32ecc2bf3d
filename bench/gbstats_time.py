"""Times gbstats 0.8.0 on the same inputs, in the environment that has it; prints seconds as JSON.

For each comparison what it offers of what this project reports: Welch's test on both scales, the
sequential one on both, and the chi-square of the split.
"""

import json
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from gbstats.frequentist.tests import (
    FrequentistConfig,
    SequentialConfig,
    SequentialTwoSidedTTest,
    TwoSidedTTest,
)
from gbstats.models.statistics import ProportionStatistic, SampleMeanStatistic
from gbstats.utils import check_srm

from bench.comparisons import best_seconds, means, rates


def main() -> None:
    """Time all comparisons of rates and of means."""
    warnings.simplefilter("ignore")
    s0, n0, s1, n1 = (column.astype(int).tolist() for column in rates())
    proportions = [
        (ProportionStatistic(n=a, sum=b), ProportionStatistic(n=c, sum=d), [a, c])
        for a, b, c, d in zip(n0, s0, n1, s1, strict=True)
    ]
    values = [
        (
            SampleMeanStatistic(n=int(a), sum=b, sum_squares=c + b * b / a),
            SampleMeanStatistic(n=int(d), sum=e, sum_squares=f + e * e / d),
            [int(a), int(d)],
        )
        for a, b, c, d, e, f in zip(*(column.tolist() for column in means()), strict=True)
    ]

    def work(pairs: list[tuple[object, object, list[int]]]) -> None:
        for control, treatment, visitors in pairs:
            for scale in ("absolute", "relative"):
                TwoSidedTTest(control, treatment, FrequentistConfig(difference_type=scale)).compute_result()
                SequentialTwoSidedTTest(
                    control, treatment, SequentialConfig(difference_type=scale)
                ).compute_result()
            check_srm(visitors, [0.5, 0.5])

    found = {"rates": best_seconds(lambda: work(proportions), 1), "means": best_seconds(lambda: work(values), 1)}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
