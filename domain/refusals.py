"""Every named reason to say no; the docstring of a refusal is the message that the user sees."""

import re
from collections.abc import Sequence
from typing import ClassVar, Literal

from msgspec import Struct

RefusalStatus = Literal["invalid", "conflict", "not_found"]


class FieldError(Struct, frozen=True):
    """One thing wrong with a body: where (`variants[1].weight`, in the names of the JSON) and why."""

    path: str
    reason: str


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not a fault
    """The request is refused."""

    name: ClassVar[str] = "refusal"
    status: ClassVar[RefusalStatus] = "conflict"

    def __init__(self, *, errors: Sequence[FieldError] = (), **fields: object) -> None:
        message = " ".join((type(self).__doc__ or self.name).split())
        super().__init__(message.format(**fields))
        self.errors = list(errors)

    def __init_subclass__(cls, *, status: RefusalStatus) -> None:
        super().__init_subclass__()
        cls.name = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        cls.status = status


class InvalidExperiment(Refusal, status="invalid"):
    """The experiment is not valid: {first}{others}."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        more = len(errors) - 1
        super().__init__(
            errors=errors,
            first=f"{errors[0].path} {errors[0].reason}",
            others=f" (and {more} more)" if more else "",
        )


class ExperimentNotFound(Refusal, status="not_found"):
    """This project has no experiment with that id."""


class ExperimentNotCreatedYet(Refusal, status="not_found"):
    """The experiment did not exist yet at that moment: it was created later."""


class ExperimentAlreadyExists(Refusal, status="conflict"):
    """An experiment with that id exists already."""


class ExperimentChanged(Refusal, status="conflict"):
    """The experiment was changed meanwhile, by somebody else or in another window, so nothing was saved."""


class ExperimentAlreadyStarted(Refusal, status="conflict"):
    """The experiment has started, so {fields} cannot change any more.

    Only its name, hypothesis, traffic percentage and variant weights can: a change of anything else would mix
    two experiments in one result. Stop it and create a new one instead.
    """


class ExperimentAlreadyRunning(Refusal, status="conflict"):
    """The experiment is running already, so it cannot be started."""


class ExperimentPaused(Refusal, status="conflict"):
    """The experiment is paused, so it cannot be started: resume it instead."""


class ExperimentNotRunning(Refusal, status="conflict"):
    """The experiment is {state}: only a running experiment can be paused."""


class ExperimentNotPaused(Refusal, status="conflict"):
    """The experiment is {state}: only a paused experiment can be resumed."""


class ExperimentStopped(Refusal, status="conflict"):
    """The experiment is stopped for good: it cannot be started, paused, resumed or changed."""


class ExperimentAlreadyStopped(Refusal, status="conflict"):
    """The experiment is stopped already, so it cannot be stopped."""
