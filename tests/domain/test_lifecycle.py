"""Draft, running, paused, stopped: which steps lead where, and how the others are refused."""

from itertools import product

import pytest

from domain import events, refusals
from domain.experiment import (
    FORBIDDEN_STEPS,
    PauseExperiment,
    ResumeExperiment,
    StartExperiment,
    StopExperiment,
    decide,
    fold,
)
from tests.domain.given_facts import (
    ABOUT,
    DRAFT,
    LATER,
    NOW,
    PAUSED,
    RESUMED,
    RUNNING,
    STEP,
    STOPPED,
    change,
    create,
    given,
)

HISTORIES = {"draft": DRAFT, "running": RUNNING, "paused": PAUSED, "stopped": STOPPED}
START, PAUSE, RESUME, STOP = (
    step(**STEP) for step in (StartExperiment, PauseExperiment, ResumeExperiment, StopExperiment)
)


@pytest.mark.parametrize(
    ("history", "step", "fact"),
    [
        (DRAFT, START, events.ExperimentStarted),
        (RUNNING, PAUSE, events.ExperimentPaused),
        (PAUSED, RESUME, events.ExperimentResumed),
        (RESUMED, PAUSE, events.ExperimentPaused),
        (RUNNING, STOP, events.ExperimentStopped),
        (PAUSED, STOP, events.ExperimentStopped),
        (DRAFT, STOP, events.ExperimentStopped),
    ],
)
def test_a_step_of_the_lifecycle_is_one_fact(history, step, fact):
    """Each allowed step records what happened, when, and by whom."""
    given(*history).when(step).then(fact(**ABOUT))


@pytest.mark.parametrize(
    ("status", "step", "refusal"),
    [
        ("running", START, refusals.ExperimentAlreadyRunning),
        ("paused", START, refusals.ExperimentPaused),
        ("stopped", START, refusals.ExperimentStopped),
        ("draft", PAUSE, refusals.ExperimentNotRunning),
        ("paused", PAUSE, refusals.ExperimentNotRunning),
        ("stopped", PAUSE, refusals.ExperimentStopped),
        ("draft", RESUME, refusals.ExperimentNotPaused),
        ("running", RESUME, refusals.ExperimentNotPaused),
        ("stopped", RESUME, refusals.ExperimentStopped),
        ("stopped", STOP, refusals.ExperimentAlreadyStopped),
        ("stopped", change(name="Other"), refusals.ExperimentStopped),
        ("stopped", change(), refusals.ExperimentStopped),
    ],
)
def test_a_forbidden_step_is_refused_by_name(status, step, refusal):
    """Each forbidden step has its own name and leaves the experiment as it was."""
    given(*HISTORIES[status]).when(step).refuses(refusal)


def test_every_step_from_every_status_is_either_a_fact_or_a_refusal():
    """The table of forbidden steps and the allowed steps cover the lifecycle, without a gap or an overlap."""
    for (status, history), step in product(HISTORIES.items(), (START, PAUSE, RESUME, STOP)):
        experiment = fold(history)
        assert experiment is not None
        assert experiment.status == status
        if (type(step), status) not in FORBIDDEN_STEPS:
            assert len(decide(step, experiment)) == 1


@pytest.mark.parametrize("command", [START, PAUSE, RESUME, STOP, change(name="Other")])
def test_what_does_not_exist_is_not_found(command):
    """No step creates an experiment by the way."""
    given().when(command).refuses(refusals.ExperimentNotFound)


def test_creating_an_experiment_twice_is_refused():
    """An id is taken once."""
    given(*DRAFT).when(create()).refuses(refusals.ExperimentAlreadyExists)


def test_the_state_tells_when_each_step_happened():
    """Start, stop and last change are read from the facts' own times."""
    running = given(*DRAFT).when(StartExperiment(at=LATER, actor="x")).leads_to()
    assert (running.status, running.created_at, running.started_at) == ("running", NOW, LATER)
    stopped = given(*RUNNING).when(StopExperiment(at=LATER, actor="x")).leads_to()
    assert (stopped.status, stopped.started_at, stopped.stopped_at) == ("stopped", NOW, LATER)
    assert stopped.changed_at == LATER


def test_a_discarded_draft_never_started():
    """A draft that is stopped has an end, no beginning and no epoch."""
    discarded = given(*DRAFT).when(STOP).leads_to()
    assert (discarded.status, discarded.started_at, discarded.epochs) == ("stopped", None, ())


def test_pausing_and_resuming_keep_the_first_start():
    """A resumed experiment is the one that started then, in the same epoch."""
    resumed = fold(RESUMED)
    assert resumed is not None
    assert (resumed.status, resumed.started_at, len(resumed.epochs)) == ("running", NOW, 1)


def test_the_message_of_a_refusal_tells_what_to_do():
    """People read the docstring, with the state filled in."""
    assert given(*PAUSED).when(START).refuses(refusals.ExperimentPaused) == (
        "The experiment is paused, so it cannot be started: resume it instead."
    )
    assert given(*DRAFT).when(PAUSE).refuses(refusals.ExperimentNotRunning) == (
        "The experiment is a draft: only a running experiment can be paused."
    )
