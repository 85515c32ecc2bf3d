"""The terms on which experiments are judged: level, regime, plans and prior, stated before the data."""

from math import inf
from typing import Literal, TypeAlias

import msgspec

Regime: TypeAlias = Literal["always_valid", "group_sequential", "fixed"]

ALPHA_MIN = 1e-15
PLANNED_N = 5_000.0
PRIOR_LOG_RATIO_SD = 0.05


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison is judged by; raises ValueError for terms on which no test exists.

    `alpha` is two-sided and the error of the family: of all treatments against one control.
    `regime` gives the verdict: `always_valid` holds at every look without end, `group_sequential` at every
    look until a stated horizon, `fixed` at one look planned before. `planned_n` is the visitors of both arms at
    which the always-valid interval is narrowest. `prior_log_ratio_sd`: the prior of the log ratio is
    normal about 0.
    """

    alpha: float = 0.05
    regime: Regime = "always_valid"
    planned_n: float = PLANNED_N
    prior_log_ratio_sd: float = PRIOR_LOG_RATIO_SD

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        if not (
            ALPHA_MIN <= self.alpha < 1.0 and 0.0 < self.planned_n < inf and 0.0 < self.prior_log_ratio_sd < inf
        ):
            raise ValueError(f"no test has {self}")


DEFAULT_TERMS = Terms()
