"""What to do with an experiment: ship, do not ship, keep running, or look into its health first.

A variant ships when a primary goal improves, none gets worse, and no guardrail can be worse than its
margin. All by the limits of the regime that the terms state, so that a decision may be taken at any look
that the regime allows.
"""

from math import inf
from typing import Literal, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from stats import confidence_sequence
from stats.comparison import BETTER, WORSE, Comparisons
from stats.saddle_point import Floats, Mask

Codes: TypeAlias = npt.NDArray[np.int8]
Action: TypeAlias = Literal["ship", "do_not_ship", "keep_running", "unhealthy"]

ACTIONS: tuple[Action, ...] = ("ship", "do_not_ship", "keep_running", "unhealthy")
SHIP, DO_NOT_SHIP, KEEP_RUNNING, UNHEALTHY = range(4)
HARMED, UNPROVEN, SAFE = -1, 0, 1

# A guardrail may lose this share of the control's mean unless its margin is stated.
GUARDRAIL_MARGIN = 0.05
# Longer than this many times the visitors so far is no plan.
VISITORS_MORE_MAX = 20.0
_ROUNDS = 4


class Decisions(msgspec.Struct, frozen=True):
    """For each experiment (...): the index of its action in `ACTIONS`, and the variant it is about.

    `variant` counts treatments from 0; -1 where none is meant.
    """

    action: Codes
    variant: npt.NDArray[np.intp]


@np.errstate(all="ignore")
def guardrail_states(found: Comparisons, margin: Floats | float = GUARDRAIL_MARGIN) -> Codes:
    """Say which variants are SAFE (no lift below -margin is left), HARMED (only such are) or UNPROVEN.

    Non-inferiority by the deciding limits of the lift: one-sided at half their level.
    """
    limits, spoken = found.deciding, ~found.silent
    safe = spoken & (limits.lift_low > -margin)
    harmed = spoken & (limits.lift_high < -margin)
    known = np.isfinite(found.lift)
    return (safe & known).astype(np.int8) - (harmed & known).astype(np.int8)


def decide(primaries: Codes, first_lift: Floats, guardrails: Codes, healthy: Mask, ended: Mask) -> Decisions:
    """Decide experiments (...) from verdicts of primaries (..., p, k) and states of guardrails (..., g, k).

    `first_lift` (..., k) of the first primary chooses among variants that may ship. `ended`: no more
    visitors come, so that nothing is left to wait for. p or g may be 0.
    """
    wins = (primaries == BETTER).any(axis=-2) & ~(primaries == WORSE).any(axis=-2)
    harmed = (guardrails == HARMED).any(axis=-2)
    ready = wins & (guardrails == SAFE).all(axis=-2)
    lost = (primaries == WORSE).any(axis=-2) | harmed
    best = np.argmax(np.where(ready, np.where(np.isfinite(first_lift), first_lift, 0.0), -inf), axis=-1)
    action = np.where(ready.any(axis=-1), SHIP, np.where(lost.all(axis=-1) | ended, DO_NOT_SHIP, KEEP_RUNNING))
    action = np.where(healthy, action, UNHEALTHY).astype(np.int8)
    return Decisions(action, np.where(action == SHIP, best, -1))


@np.errstate(all="ignore")
def visitors_needed_share(found: Comparisons) -> Floats:
    """Give how many times the visitors so far would make the difference seen a verdict, if it is true.

    By the deciding limits: 1 where the verdict is there, inf beyond `VISITORS_MORE_MAX` and where nothing is
    said yet.
    """
    limits = found.deciding
    short = (0.5 * (limits.high - limits.low) / np.abs(found.difference)) ** 2
    share = short
    if found.terms.regime != "fixed":
        n = found.control.n + found.treatment.n
        level = found.family.monitored_level
        prior = confidence_sequence.mixing_ratio(found.terms.planned_n, level), -2.0 * np.log(level)
        now = confidence_sequence.multiplier_of(n, *prior)
        # The multiplier grows like the root of a logarithm: a few rounds settle it.
        for _ in range(_ROUNDS):
            widening = confidence_sequence.multiplier_of(n * np.maximum(share, 1.0), *prior) / now
            share = short * widening * widening
    usable = ~found.silent & (share <= VISITORS_MORE_MAX)
    return np.where(usable, np.maximum(share, 1.0), inf)
