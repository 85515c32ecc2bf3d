"""The documented shape of results, as records: numbers that do not exist are None with a reason."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from stats.sample_ratio import CHI_SQUARE_ALPHA, E_VALUE_ALPHA

Method = Literal["always_valid", "group_sequential", "fixed"]
Action = Literal["ship", "do_not_ship", "keep_running", "unhealthy"]


class _Wire(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """JSON names are camelCase. What cannot refer to itself is nothing for the garbage collector to look at."""


class AsOf(_Wire, frozen=True):
    """The moment that results are of: a position of the project's log and when it was received."""

    position: int
    time: datetime | None


class Lag(_Wire, frozen=True):
    """How much of the log is not counted yet."""

    events: int
    seconds: float


class VariantResult(_Wire, frozen=True):
    """How many saw a variant; those who saw several are counted apart."""

    variant_id: UUID
    name: str
    is_control: bool
    weight: float
    visitors: int
    impressions: int
    multiple_exposures: int


class SampleRatioResult(_Wire, frozen=True):
    """Whether visitors arrived in the proportions that the weights promise.

    Each span of one allocation against its own weights. Not healthy once the e-value, which may be looked
    at any time, reaches 1 / `alpha`, or the p-value of one look is below `p_alpha`.
    """

    healthy: bool | None
    p_value: float | None
    e_value: float | None
    expected: list[float]
    observed: list[int]
    reason: str | None = None
    method: str = "Dirichlet-multinomial e-value; chi-square"
    alpha: float = E_VALUE_ALPHA
    p_alpha: float = CHI_SQUARE_ALPHA


class Value(_Wire, frozen=True):
    """The summed value of a goal and its mean per visitor."""

    sum: float
    mean: float | None


class GoalVariant(_Wire, frozen=True):
    """What one variant's visitors achieved for a goal.

    `surplus_converters` are converters beyond the visitors: ids that the browser never reported.
    """

    variant_id: UUID
    visitors: int
    converters: int
    conversions: int
    rate: float | None
    value: Value | None
    surplus_converters: int
    reason: str | None = None


class Interval(_Wire, frozen=True):
    """An estimate with its limits; null is unbounded, or not there for the reason given."""

    estimate: float | None
    low: float | None
    high: float | None
    reason: str | None = None


class AlwaysValidResult(_Wire, frozen=True):
    """A p-value and limits of the absolute difference that hold however often they are looked at.

    `relative` are the limits of the lift that belong to them. Group sequential ones hold until the horizon
    that was asked for, and are narrower.
    """

    p_value: float | None
    low: float | None
    high: float | None
    relative: Interval
    reason: str | None = None
    method: str | None = None
    alpha: float | None = None


class BayesResult(_Wire, frozen=True):
    """The chance that the variant is better, and what choosing it is expected to lose, as a log ratio.

    A second view under the prior stated. It does not protect against looking often.
    """

    chance_to_beat: float | None
    expected_loss: float | None
    reason: str | None = None
    prior: str | None = None


class ComparisonResult(_Wire, frozen=True):
    """One variant against the control; `absolute`, `relative` and `pValue` are those of one planned look.

    `verdict` follows the `regime` asked for. `alpha` is the error of this goal's comparisons together, and
    `correction` says how it is kept where there are several. `qValue` is the false discovery rate among the
    secondary goals.
    """

    variant_id: UUID
    control_id: UUID
    absolute: Interval
    relative: Interval
    p_value: float | None
    always_valid: AlwaysValidResult
    bayes: BayesResult
    verdict: Literal["better", "worse", "inconclusive", "not_enough_data"]
    reason: str
    method: str | None
    alpha: float
    regime: Method
    correction: str | None = None
    group_sequential: AlwaysValidResult | None = None
    q_value: float | None = None


class DecisionResult(_Wire, frozen=True):
    """What to do, in a word and a sentence, and what that rests on.

    `daysLeft` is about how many more days the difference seen would need to become a verdict, if it is true.
    """

    action: Action
    sentence: str
    reasons: list[str]
    variant_id: UUID | None = None
    days_left: int | None = None


class GoalResult(_Wire, frozen=True):
    """One goal of the experiment; `margin` is the relative loss that a guardrail may have."""

    name: str
    role: str
    kind: str
    variants: list[GoalVariant]
    comparisons: list[ComparisonResult]
    decision: DecisionResult | None = None
    margin: float | None = None


class Unattributed(_Wire, frozen=True):
    """Events that count for no variant, why, and the reason in words."""

    reason: str
    events: int
    explanation: str


class Results(_Wire, frozen=True):
    """The results of one experiment at one position of the log.

    `epochs` counts the spans of one allocation. Where the weights changed, variants are compared within
    each span and the spans combined, never pooled.
    """

    experiment_id: UUID
    name: str
    status: str
    as_of: AsOf
    digest: str
    lag: Lag
    variants: list[VariantResult]
    epochs: int
    sample_ratio: SampleRatioResult
    goals: list[GoalResult]
    unattributed: list[Unattributed]
    decision: DecisionResult | None = None
