"""Every fact that the log stores about a project, its people and experiments, and the events that arrive by wire.

A fact is in the past tense and its stored tag is spelled out, so that renaming a class cannot orphan history.
"""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from domain.plan import ExperimentType, Goal, UrlMatchType, Variant

# From the least to the most; each may do what those before it may.
UserRole = Literal["viewer", "editor", "owner"]

Instant = Annotated[datetime, Meta(tz=True)]


class _Fact(Struct, frozen=True, kw_only=True, rename="camel", tag_field="type"):
    """What every fact carries: when it happened and who did it."""

    at: Instant
    actor: str


class ProjectCreated(_Fact, frozen=True, kw_only=True, tag="project_created"):
    """A project exists; no allowed origins means any origin."""

    name: str
    allowed_origins: tuple[str, ...] = ()


class AllowedOriginsChanged(_Fact, frozen=True, kw_only=True, tag="allowed_origins_changed"):
    """The project takes browser events from these origins from now on."""

    allowed_origins: tuple[str, ...]


class SecretKeyIssued(_Fact, frozen=True, kw_only=True, tag="secret_key_issued"):
    """A secret key works from now on; the log holds its hash (hex) and the prefix that people know it by."""

    key_id: UUID
    key_hash: str
    prefix: str


class SecretKeysExpiring(_Fact, frozen=True, kw_only=True, tag="secret_keys_expiring"):
    """Every key issued before this fact works until `valid_until` and no longer."""

    valid_until: Instant


class _UserFact(_Fact, frozen=True, kw_only=True):
    """What every fact about a user of the dashboard carries; passwords and their hashes are no part of it."""

    user_id: UUID
    name: str


class UserAdded(_UserFact, frozen=True, kw_only=True, tag="user_added"):
    """A user has a role in the project from now on."""

    role: UserRole


class UserRoleChanged(_UserFact, frozen=True, kw_only=True, tag="user_role_changed"):
    """A user has another role in the project."""

    role: UserRole


class UserPasswordChanged(_UserFact, frozen=True, kw_only=True, tag="user_password_changed"):
    """A user of the project has another password."""


class UserRemoved(_UserFact, frozen=True, kw_only=True, tag="user_removed"):
    """A user has no role in the project any more."""


class ShareLinkMade(_Fact, frozen=True, kw_only=True, tag="share_link_made"):
    """Whoever has the link, whose token is not stored here, reads the results of one experiment."""

    link_id: UUID
    experiment_id: UUID


class ShareLinkRevoked(_Fact, frozen=True, kw_only=True, tag="share_link_revoked"):
    """The link shows nothing any more."""

    link_id: UUID
    experiment_id: UUID


class _ExperimentFact(_Fact, frozen=True, kw_only=True):
    """What every fact about an experiment carries."""

    experiment_id: UUID


class ExperimentCreated(_ExperimentFact, frozen=True, kw_only=True, tag="experiment_created"):
    """A draft exists; `experiment_type` is the experiment's `type`, a name that the tag has taken here."""

    name: str
    experiment_type: ExperimentType
    target_url: str
    url_match_type: UrlMatchType
    traffic_percentage: int | float
    variants: tuple[Variant, ...]
    goals: tuple[Goal, ...]
    hypothesis: str | None
    attribution_window_hours: int


class ExperimentDetailsChanged(_ExperimentFact, frozen=True, kw_only=True, tag="experiment_details_changed"):
    """These fields have new values; a field that did not change is unset and absent from JSON."""

    name: str | UnsetType = UNSET
    hypothesis: str | UnsetType | None = UNSET
    experiment_type: ExperimentType | UnsetType = UNSET
    target_url: str | UnsetType = UNSET
    url_match_type: UrlMatchType | UnsetType = UNSET
    goals: tuple[Goal, ...] | UnsetType = UNSET
    attribution_window_hours: int | UnsetType = UNSET


class ExperimentVariantsChanged(_ExperimentFact, frozen=True, kw_only=True, tag="experiment_variants_changed"):
    """The draft has these variants, in this order."""

    variants: tuple[Variant, ...]


class VariantWeightsChanged(_ExperimentFact, frozen=True, kw_only=True, tag="variant_weights_changed"):
    """The variants of a started experiment have these weights, by variant id; all of them are named."""

    weights: dict[str, int | float]


class TrafficPercentageChanged(_ExperimentFact, frozen=True, kw_only=True, tag="traffic_percentage_changed"):
    """This share of the visitors takes part, 0 to 100."""

    traffic_percentage: int | float


class ExperimentStarted(_ExperimentFact, frozen=True, kw_only=True, tag="experiment_started"):
    """The draft runs."""


class ExperimentPaused(_ExperimentFact, frozen=True, kw_only=True, tag="experiment_paused"):
    """The experiment shows nobody anything until it is resumed."""


class ExperimentResumed(_ExperimentFact, frozen=True, kw_only=True, tag="experiment_resumed"):
    """The paused experiment runs again."""


class ExperimentStopped(_ExperimentFact, frozen=True, kw_only=True, tag="experiment_stopped"):
    """The experiment has ended for good; one that never started is discarded."""


ProjectFact = (
    ProjectCreated
    | AllowedOriginsChanged
    | SecretKeyIssued
    | SecretKeysExpiring
    | UserAdded
    | UserRoleChanged
    | UserPasswordChanged
    | UserRemoved
    | ShareLinkMade
    | ShareLinkRevoked
)
LaterExperimentFact = (
    ExperimentDetailsChanged
    | ExperimentVariantsChanged
    | VariantWeightsChanged
    | TrafficPercentageChanged
    | ExperimentStarted
    | ExperimentPaused
    | ExperimentResumed
    | ExperimentStopped
)
ExperimentFact = ExperimentCreated | LaterExperimentFact
Fact = ProjectFact | ExperimentFact

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Fact] = msgspec.json.Decoder(Fact)


def encode_fact(fact: Fact) -> bytes:
    """Encode a fact to JSON, its tag under `type`."""
    return _encoder.encode(fact)


def decode_fact(stored: bytes | str) -> Fact:
    """Decode a stored fact; msgspec.ValidationError when it is none."""
    return _decoder.decode(stored)


def fact_type(fact: Fact) -> str:
    """Name the stored tag of a fact."""
    return str(fact.__struct_config__.tag)


Id = Annotated[str, Meta(max_length=100)]
EventType = Annotated[str, Meta(min_length=1, max_length=100)]
EventName = Annotated[str, Meta(max_length=200)]
VisitorId = Annotated[str, Meta(min_length=1, max_length=256)]
Path = Annotated[str, Meta(max_length=2048)]
Url = Annotated[str, Meta(max_length=8192)]
UtmText = Annotated[str, Meta(max_length=512)]


class Utm(Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """The campaign parameters of a visit."""

    source: UtmText | None = None
    medium: UtmText | None = None
    campaign: UtmText | None = None
    term: UtmText | None = None
    content: UtmText | None = None


class TrackEvent(Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """One browser event; `timestamp` is epoch milliseconds, `event_data` stays the bytes that were sent."""

    event_type: EventType
    pathname: Path
    full_url: Url
    session_id: Annotated[str, Meta(max_length=256)]
    visitor_id: VisitorId
    timestamp: int | float
    event_name: EventName | None = None
    event_data: Raw = Raw()
    referrer: Url | None = None
    utm: Utm | None = None


class ServerVisitor(Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """Who a server event is about; address and browser serve to derive device and country, no more."""

    id: VisitorId | None = None
    ip: Annotated[str, Meta(max_length=64)] | None = None
    user_agent: Annotated[str, Meta(max_length=1024)] | None = None


class ServerEventRequest(Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """One server event; `event_data` is another name for `properties`, which wins when both are sent."""

    event_type: EventType
    event_name: EventName
    timestamp: str | None = None
    idempotency_key: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    visitor: ServerVisitor | None = None
    page: Path | None = None
    properties: Raw = Raw()
    event_data: Raw = Raw()
    experiment_id: Id | None = None
    variant_id: Id | None = None
