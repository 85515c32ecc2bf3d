"""The documented shape of results, as records: numbers that do not exist are None with a reason."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

Method = Literal["always_valid", "fixed"]


class _Wire(msgspec.Struct, frozen=True, rename="camel"):
    """JSON names are camelCase."""


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
    """Whether visitors arrived in the proportions that the weights promise."""

    healthy: bool | None
    p_value: float | None
    e_value: float | None
    expected: list[float]
    observed: list[int]
    reason: str | None = None


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

    `relative` are the limits of the lift that belong to them.
    """

    p_value: float | None
    low: float | None
    high: float | None
    relative: Interval
    reason: str | None = None


class BayesResult(_Wire, frozen=True):
    """The chance that the variant is better, and what choosing it is expected to lose."""

    chance_to_beat: float | None
    expected_loss: float | None
    reason: str | None = None


class ComparisonResult(_Wire, frozen=True):
    """One variant against the control."""

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


class GoalResult(_Wire, frozen=True):
    """One goal of the experiment."""

    name: str
    role: str
    kind: str
    variants: list[GoalVariant]
    comparisons: list[ComparisonResult]


class Unattributed(_Wire, frozen=True):
    """Events that count for no variant, why, and the reason in words."""

    reason: str
    events: int
    explanation: str


class Results(_Wire, frozen=True):
    """The results of one experiment at one position of the log.

    `epochs` counts the spans of one allocation; comparisons pool them, the sample ratio does not.
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
