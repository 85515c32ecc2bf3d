"""What can be asked of an experiment."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from domain.plan import ExperimentPatch, NewExperiment
from domain.refusals import FieldError


class CreateExperiment(Struct, frozen=True, kw_only=True):
    """Create a draft: `variant_ids` has one id a variant, `problems` what the caller's parsers found."""

    experiment_id: UUID
    variant_ids: tuple[UUID, ...]
    body: NewExperiment
    at: datetime
    actor: str
    problems: tuple[FieldError, ...] = ()


class ChangeExperiment(Struct, frozen=True, kw_only=True):
    """Change what the patch sets; `new_ids` has at least `ids_wanted(patch)` ids for variants without one."""

    patch: ExperimentPatch
    at: datetime
    actor: str
    new_ids: tuple[UUID, ...] = ()
    problems: tuple[FieldError, ...] = ()


class StartExperiment(Struct, frozen=True, kw_only=True):
    """Let a draft run."""

    at: datetime
    actor: str


class PauseExperiment(Struct, frozen=True, kw_only=True):
    """Show a running experiment to nobody until it is resumed."""

    at: datetime
    actor: str


class ResumeExperiment(Struct, frozen=True, kw_only=True):
    """Let a paused experiment run again."""

    at: datetime
    actor: str


class StopExperiment(Struct, frozen=True, kw_only=True):
    """End an experiment for good: a running or paused one is over, a draft is discarded."""

    at: datetime
    actor: str


Command = (
    CreateExperiment | ChangeExperiment | StartExperiment | PauseExperiment | ResumeExperiment | StopExperiment
)
