"""Refusals have a name, a kind and a message."""

import re

import pytest

from domain import refusals
from domain.refusals import (
    ExperimentAlreadyStarted,
    ExperimentNotFound,
    FieldError,
    InvalidExperiment,
    Refusal,
)

EVERY = Refusal.__subclasses__()


@pytest.mark.parametrize("refusal", EVERY)
def test_a_refusal_is_named_after_its_class(refusal):
    """Names are what programs read, so they follow one rule."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)+", refusal.name)
    assert refusal.name.replace("_", "") == refusal.__name__.lower()


@pytest.mark.parametrize("refusal", EVERY)
def test_a_refusal_has_a_message_for_people(refusal):
    """Each docstring is a sentence of its own and its kind is known."""
    assert refusal.__doc__ != Refusal.__doc__
    assert refusal.__doc__.rstrip().endswith(".")
    assert refusal.status in {"invalid", "conflict", "not_found"}


def test_kinds_follow_the_cause():
    """A bad body, a thing that is not there, and a step out of order are told apart."""
    kinds = {refusal.name: refusal.status for refusal in EVERY}
    assert kinds.pop("invalid_experiment") == "invalid"
    assert kinds.pop("experiment_not_found") == "not_found"
    assert kinds.pop("experiment_not_created_yet") == "not_found"
    assert set(kinds.values()) == {"conflict"}
    assert refusals.ExperimentStopped.name == "experiment_stopped"


def test_a_message_is_one_line_with_its_fields():
    """Line breaks of the source do not reach the user, braces of a value do no harm."""
    message = str(ExperimentAlreadyStarted(fields="{goals}"))
    assert message.startswith("The experiment has started, so {goals} cannot change any more. Only its name,")
    assert "\n" not in message
    assert "  " not in message


def test_an_invalid_experiment_carries_its_errors():
    """The message quotes the first and counts the rest."""
    first, second = FieldError("name", "must not be empty"), FieldError("goals[0].name", "must not be empty")
    assert str(InvalidExperiment([first])) == "The experiment is not valid: name must not be empty."
    both = InvalidExperiment([first, second])
    assert str(both) == "The experiment is not valid: name must not be empty (and 1 more)."
    assert both.errors == [first, second]
    assert ExperimentNotFound().errors == []
