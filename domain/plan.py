"""What an experiment is made of, as values: bodies of requests and the state that facts fold to.

Every struct is frozen and encodes to the documented camelCase JSON; unknown keys of a body are ignored.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

ChangeType = Literal["text", "html", "style", "class", "css"]
ExperimentType = Literal["copy", "css", "layout"]
UrlMatchType = Literal["all", "exact", "contains", "starts_with"]
GoalKind = Literal["conversion", "count", "value"]
GoalRole = Literal["primary", "secondary", "guardrail"]
ExperimentStatus = Literal["draft", "running", "paused", "stopped"]

ATTRIBUTION_WINDOW_HOURS = 720


class VariantChange(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One edit that a variant makes to the page; `property` is for `style` and left out of JSON when None."""

    selector: str
    change_type: ChangeType
    value: str
    property: str | None = None


class Variant(Struct, frozen=True, kw_only=True, rename="camel"):
    """One arm of an experiment; weights are relative to each other, not percentages."""

    id: UUID
    name: str
    is_control: bool
    weight: int | float
    changes: tuple[VariantChange, ...] = ()


class Goal(Struct, frozen=True, kw_only=True, rename="camel"):
    """What counts: `event_name` None takes events of every name, `value_field` is a key of their data."""

    name: str
    event_type: str
    kind: GoalKind
    event_name: str | None = None
    value_field: str | None = None
    role: GoalRole = "secondary"


DEFAULT_GOALS = (Goal(name="conversion", event_type="conversion", kind="conversion", role="primary"),)


class NewVariant(Struct, frozen=True, kw_only=True, rename="camel"):
    """A variant of a request to create an experiment: a variant without its id."""

    name: str
    weight: int | float
    is_control: bool = False
    changes: tuple[VariantChange, ...] = ()


class NewExperiment(Struct, frozen=True, kw_only=True, rename="camel"):
    """The body of a request to create an experiment: the documented Experiment less ids, plus its goals."""

    name: str
    type: ExperimentType
    variants: tuple[NewVariant, ...]
    target_url: str = ""
    url_match_type: UrlMatchType = "all"
    traffic_percentage: int | float = 100
    hypothesis: str | None = None
    goals: tuple[Goal, ...] = ()
    attribution_window_hours: int = ATTRIBUTION_WINDOW_HOURS


class VariantPatch(Struct, frozen=True, kw_only=True, rename="camel"):
    """A variant in a patch: with an id it keeps what it leaves unset, without one it is a new variant."""

    id: UUID | UnsetType = UNSET
    name: str | UnsetType = UNSET
    is_control: bool | UnsetType = UNSET
    weight: int | float | UnsetType = UNSET
    changes: tuple[VariantChange, ...] | UnsetType = UNSET


class ExperimentPatch(Struct, frozen=True, kw_only=True, rename="camel"):
    """The body of a request to change an experiment: what is unset stays, `variants` replaces the list."""

    name: str | UnsetType = UNSET
    hypothesis: str | UnsetType | None = UNSET
    type: ExperimentType | UnsetType = UNSET
    target_url: str | UnsetType = UNSET
    url_match_type: UrlMatchType | UnsetType = UNSET
    traffic_percentage: int | float | UnsetType = UNSET
    variants: tuple[VariantPatch, ...] | UnsetType = UNSET
    goals: tuple[Goal, ...] | UnsetType = UNSET
    attribution_window_hours: int | UnsetType = UNSET


class Epoch(Struct, frozen=True, kw_only=True, rename="camel"):
    """A span with one allocation, from `started_at` to the next epoch: weights by variant id, and traffic."""

    number: int
    started_at: datetime
    weights: dict[str, int | float]
    traffic_percentage: int | float


class Experiment(Struct, frozen=True, kw_only=True, rename="camel"):
    """The state of an experiment; `version` is the number of facts it was folded from."""

    id: UUID
    name: str
    type: ExperimentType
    target_url: str
    url_match_type: UrlMatchType
    traffic_percentage: int | float
    variants: tuple[Variant, ...]
    goals: tuple[Goal, ...]
    hypothesis: str | None
    attribution_window_hours: int
    status: ExperimentStatus
    version: int
    created_at: datetime
    started_at: datetime | None
    stopped_at: datetime | None
    changed_at: datetime
    epochs: tuple[Epoch, ...]


def selectors(body: NewExperiment | ExperimentPatch) -> Iterator[tuple[str, str]]:
    """Yield each (path, selector) of a body, for a caller that can parse CSS."""
    variants: tuple[NewVariant | VariantPatch, ...] = body.variants or ()
    for position, variant in enumerate(variants):
        for number, change in enumerate(variant.changes or ()):
            yield f"variants[{position}].changes[{number}].selector", change.selector


def ids_wanted(body: NewExperiment | ExperimentPatch) -> int:
    """Count the variants of a body that need an id from the caller."""
    variants: tuple[NewVariant | VariantPatch, ...] = body.variants or ()
    return sum(1 for variant in variants if not isinstance(variant, VariantPatch) or variant.id is UNSET)
