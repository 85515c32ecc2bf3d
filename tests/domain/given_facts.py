"""given(facts).when(command).then(facts) or .refuses(refusal), and an experiment to begin with."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from domain.events import (
    ExperimentCreated,
    ExperimentFact,
    ExperimentPaused,
    ExperimentResumed,
    ExperimentStarted,
    ExperimentStopped,
)
from domain.experiment import (
    ChangeExperiment,
    Command,
    CreateExperiment,
    Experiment,
    ExperimentPatch,
    NewExperiment,
    NewVariant,
    VariantChange,
    decide,
    fold,
)
from domain.refusals import InvalidExperiment, Refusal

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ACTOR = "secret key pk_1"
EXPERIMENT_ID = UUID(int=0xE)
CONTROL_ID, BOLD_ID, THIRD_ID, FOURTH_ID = (UUID(int=number) for number in (1, 2, 3, 4))
BOLD = VariantChange(selector="h1", change_type="style", property="font-weight", value="700")
ABOUT: dict[str, Any] = {"at": NOW, "actor": ACTOR, "experiment_id": EXPERIMENT_ID}
STEP: dict[str, Any] = {"at": NOW, "actor": ACTOR}


def body(**fields: object) -> NewExperiment:
    """Make a valid body with a control and one other variant, but for the given fields."""
    valid: dict[str, Any] = {
        "name": "Headline",
        "type": "copy",
        "variants": (
            NewVariant(name="control", weight=50, is_control=True),
            NewVariant(name="bold", weight=50, changes=(BOLD,)),
        ),
    }
    return NewExperiment(**valid | fields)


def create(new: NewExperiment | None = None, **fields: Any) -> CreateExperiment:
    """Ask for an experiment whose variants have the ids 1, 2, 3 ..."""
    new = new or body()
    ids = tuple(UUID(int=number) for number in range(1, len(new.variants) + 1))
    return CreateExperiment(experiment_id=EXPERIMENT_ID, variant_ids=ids, body=new, **STEP | fields)


def change(*, at: datetime = NOW, new_ids: tuple[UUID, ...] = (), **fields: Any) -> ChangeExperiment:
    """Ask for a change of the given fields."""
    return ChangeExperiment(patch=ExperimentPatch(**fields), at=at, actor=ACTOR, new_ids=new_ids)


@dataclass
class Given:
    """A history, and at last a command to try on what it folds to."""

    facts: tuple[ExperimentFact, ...]
    command: Command | None = None

    def when(self, command: Command) -> "Given":
        """Name the command."""
        return Given(self.facts, command)

    def then(self, *expected: ExperimentFact) -> None:
        """Expect exactly these facts."""
        assert self._decided() == list(expected)

    def leads_to(self) -> Experiment:
        """Return the state after the command."""
        experiment = fold([*self.facts, *self._decided()])
        assert experiment is not None
        return experiment

    def refuses(self, refusal: type[Refusal]) -> str:
        """Expect this very refusal and return its message."""
        with pytest.raises(Refusal) as raised:
            self._decided()
        assert type(raised.value) is refusal
        return str(raised.value)

    def errors(self) -> dict[str, str]:
        """Expect the experiment to be invalid and return the reasons by path."""
        with pytest.raises(InvalidExperiment) as raised:
            self._decided()
        return {error.path: error.reason for error in raised.value.errors}

    def _decided(self) -> list[ExperimentFact]:
        assert self.command is not None
        return decide(self.command, fold(self.facts))


def given(*facts: ExperimentFact) -> Given:
    """Begin with a history."""
    return Given(facts)


def _created() -> ExperimentCreated:
    (fact,) = decide(create(), None)
    assert isinstance(fact, ExperimentCreated)
    return fact


CREATED = _created()
LATER = NOW + timedelta(hours=1)
DRAFT: tuple[ExperimentFact, ...] = (CREATED,)
RUNNING = (*DRAFT, ExperimentStarted(**ABOUT))
PAUSED = (*RUNNING, ExperimentPaused(**ABOUT))
RESUMED = (*PAUSED, ExperimentResumed(**ABOUT))
STOPPED = (*RUNNING, ExperimentStopped(**ABOUT))
