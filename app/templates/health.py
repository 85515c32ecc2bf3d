"""The health of an experiment in a few words: what its numbers can be trusted with now."""

from typing import NamedTuple

from app.results_shape import Results
from app.templates import numbers
from app.templates.verdicts import Tone

# More visitors than this share saw several variants: something assigns them twice.
MULTIPLE_SHARE_MAX = 0.01
LAG_SECONDS_MAX = 60.0


class Health(NamedTuple):
    """A word or two with their tone, and the explanation behind them."""

    tone: Tone
    words: str
    why: str


def health_of(results: Results) -> list[Health]:
    """What is worth knowing before the verdict, the worst first; one entry that all is well otherwise."""
    found = []
    if results.sample_ratio.healthy is False:
        why = "Visitors did not arrive in the proportions that the weights promise: do not decide on its numbers."
        found.append(Health("warning", "split is off", why))
    visitors = sum(variant.visitors for variant in results.variants)
    multiple = sum(variant.multiple_exposures for variant in results.variants)
    if multiple > MULTIPLE_SHARE_MAX * (visitors + multiple):
        share = numbers.percent(multiple / (visitors + multiple), decimals=1)
        found.append(Health("warning", "mixed visitors", f"{share} of the visitors saw more than one variant."))
    if results.lag.seconds > LAG_SECONDS_MAX:
        behind = numbers.lag_words(results.lag.events).removesuffix(".")
        found.append(Health("warning", "counting lags", f"{behind}, the oldest for {results.lag.seconds:.0f} s."))
    primary = [goal for goal in results.goals if goal.role == "primary"]
    if any(comparison.verdict == "not_enough_data" for goal in primary for comparison in goal.comparisons):
        found.append(
            Health("open", "not enough data", "Too few visitors or conversions to compare the variants yet.")
        )
    return found or [Health("better", "sound", "Visitors arrive in the promised proportions and all is counted.")]
