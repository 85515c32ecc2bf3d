"""Whatever is asked, in whatever order, an experiment stays one that can be analysed."""

from datetime import timedelta
from itertools import pairwise
from uuid import UUID

import hypothesis
from hypothesis import strategies as st
from msgspec import UNSET, structs

from domain.events import decode_fact, encode_fact
from domain.experiment import (
    ChangeExperiment,
    ExperimentPatch,
    Goal,
    PauseExperiment,
    ResumeExperiment,
    StartExperiment,
    StopExperiment,
    VariantPatch,
    decide,
    evolve,
    fold,
)
from domain.refusals import Refusal
from domain.validation import problems
from tests.domain.given_facts import ACTOR, BOLD, CREATED, NOW

NEW_IDS = tuple(UUID(int=number) for number in range(100, 120))
GOAL = Goal(name="signups", event_type="conversion", kind="conversion", role="primary")


def optional(values):
    """Leave a field unset as often as not."""
    return st.just(UNSET) | values


NAMES = st.sampled_from(["control", "bold", "third", "Other", "", "nul\x00"])
GOOD_NUMBERS = st.sampled_from([1, 10, 50, 99.5, 100])
NUMBERS = GOOD_NUMBERS | st.sampled_from([0, -1, 1e9, float("nan")])
ENTRIES = st.builds(
    VariantPatch,
    id=st.sampled_from([UNSET, UUID(int=1), UUID(int=2), UUID(int=7)]),
    name=optional(NAMES),
    weight=optional(NUMBERS),
    is_control=optional(st.booleans()),
    changes=optional(st.sampled_from([(), (BOLD,), (structs.replace(BOLD, property=None),)])),
)


def weights(numbers):
    """Give both variants of the draft a weight."""
    pairs = st.tuples(numbers, numbers)
    return pairs.map(lambda pair: tuple(VariantPatch(id=UUID(int=i), weight=pair[i - 1]) for i in (1, 2)))


ADDED = NAMES.map(lambda name: VariantPatch(name=name, weight=5, changes=(BOLD,)))
LISTS = weights(NUMBERS) | st.lists(ENTRIES, max_size=4).map(tuple)
LONGER = st.builds(lambda both, third: (*both, third), weights(GOOD_NUMBERS), ADDED)
ANY_PATCH = st.builds(
    ExperimentPatch,
    name=optional(NAMES),
    hypothesis=optional(st.none() | NAMES),
    type=optional(st.sampled_from(["copy", "css", "layout"])),
    target_url=optional(st.sampled_from(["", "/pricing"])),
    url_match_type=optional(st.sampled_from(["all", "exact"])),
    traffic_percentage=optional(NUMBERS),
    goals=optional(st.sampled_from([(), (GOAL,), (structs.replace(GOAL, role="guardrail"),)])),
    variants=optional(LISTS),
)
# One field at a time is seldom refused, so that histories grow.
SMALL_PATCH = st.one_of(
    st.builds(ExperimentPatch, traffic_percentage=GOOD_NUMBERS),
    st.builds(ExperimentPatch, variants=weights(GOOD_NUMBERS)),
    st.builds(ExperimentPatch, variants=LONGER),
    st.builds(ExperimentPatch, goals=st.sampled_from([(), (GOAL,)])),
    st.builds(ExperimentPatch, name=NAMES),
)
TIMES = st.integers(-1, 9).map(lambda hours: NOW + timedelta(hours=hours))
WHO = {"at": TIMES, "actor": st.just(ACTOR)}
START, PAUSE, RESUME, STOP = (
    st.builds(step, **WHO) for step in (StartExperiment, PauseExperiment, ResumeExperiment, StopExperiment)
)
CHANGES = st.builds(ChangeExperiment, patch=SMALL_PATCH | ANY_PATCH, new_ids=st.just(NEW_IDS), **WHO)
HISTORIES = st.builds(
    lambda *parts: [command for part in parts for command in part],
    st.lists(CHANGES, max_size=5),
    st.lists(START, max_size=1),
    st.lists(CHANGES | PAUSE | RESUME, min_size=8, max_size=20),
    st.lists(CHANGES | START | PAUSE | RESUME | STOP, max_size=5),
)


@hypothesis.settings(max_examples=200)
@hypothesis.given(HISTORIES)
def test_any_sequence_of_commands_leaves_a_sound_experiment(commands):
    """After every command it is valid, its version counts facts, and its epochs tell the truth."""
    history = [CREATED]
    experiment = evolve(None, CREATED)
    for command in commands:
        before = experiment
        try:
            facts = decide(command, before)
        except Refusal:
            continue
        for fact in facts:
            experiment = evolve(experiment, fact)
        history += facts
        assert problems(experiment) == []
        assert sum(variant.is_control for variant in experiment.variants) == 1
        assert experiment.version == len(history)
        assert_epochs_are_true(experiment)
        assert_what_started_is_fixed(before, experiment)
        if isinstance(command, ChangeExperiment) and not adds_variants(command):
            assert decide(command, experiment) == []
    assert fold(history) == experiment
    assert fold([decode_fact(encode_fact(fact)) for fact in history]) == experiment


def assert_epochs_are_true(experiment):
    """Epochs are numbered and ordered, and the last one is the allocation that holds now."""
    epochs = experiment.epochs
    assert [epoch.number for epoch in epochs] == list(range(1, len(epochs) + 1))
    assert all(one.started_at < other.started_at for one, other in pairwise(epochs))
    assert bool(epochs) == (experiment.started_at is not None)
    if epochs:
        assert epochs[-1].weights == {str(each.id): each.weight for each in experiment.variants}
        assert epochs[-1].traffic_percentage == experiment.traffic_percentage


def assert_what_started_is_fixed(before, after):
    """Nothing that a result rests on changes after the start, and nothing at all after the stop."""
    assert before.status != "stopped"
    if before.started_at is not None:
        assert [structs.replace(each, weight=1) for each in before.variants] == [
            structs.replace(each, weight=1) for each in after.variants
        ]
        assert (before.goals, before.target_url, before.url_match_type) == (
            after.goals,
            after.target_url,
            after.url_match_type,
        )
        assert before.started_at == after.started_at


def adds_variants(command):
    """Tell whether asking again would add once more."""
    return command.patch.variants is not UNSET and any(entry.id is UNSET for entry in command.patch.variants)
