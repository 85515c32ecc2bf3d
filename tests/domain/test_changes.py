"""What can change in a draft, what after the start, and what each change is recorded as."""

import pytest
from msgspec import structs

from domain import events, refusals
from domain.experiment import Epoch, Goal, Variant, VariantPatch, fold
from domain.plan import DEFAULT_GOALS
from tests.domain.given_facts import (
    ABOUT,
    BOLD,
    BOLD_ID,
    CONTROL_ID,
    DRAFT,
    FOURTH_ID,
    LATER,
    NOW,
    PAUSED,
    RUNNING,
    THIRD_ID,
    change,
    create,
    given,
)

CONTROL = Variant(id=CONTROL_ID, name="control", is_control=True, weight=50)
BOLD_VARIANT = Variant(id=BOLD_ID, name="bold", is_control=False, weight=50, changes=(BOLD,))
SIGNUPS = Goal(name="signups", event_type="conversion", event_name="signup", kind="conversion", role="primary")
CONTROL_STAYS, BOLD_STAYS = VariantPatch(id=CONTROL_ID), VariantPatch(id=BOLD_ID)
STARTED = pytest.mark.parametrize("history", [RUNNING, PAUSED], ids=["running", "paused"])


def test_a_created_experiment_is_a_draft_with_the_ids_of_the_command():
    """Ids come from outside, in the order of the variants."""
    experiment = given().when(create()).leads_to()
    assert (experiment.status, experiment.version, experiment.epochs) == ("draft", 1, ())
    assert experiment.variants == (CONTROL, BOLD_VARIANT)


def test_without_goals_conversions_are_the_primary_goal():
    """An experiment always has something to compare."""
    assert given().when(create()).leads_to().goals == DEFAULT_GOALS
    assert given(*DRAFT).when(change(goals=(SIGNUPS,))).leads_to().goals == (SIGNUPS,)
    assert given(*DRAFT).when(change(goals=())).leads_to().goals == DEFAULT_GOALS


def test_a_command_with_an_id_too_few_is_a_fault_of_the_caller():
    """Nothing is invented in the domain."""
    with pytest.raises(ValueError, match="longer"):
        given().when(structs.replace(create(), variant_ids=(CONTROL_ID,))).leads_to()
    added = change(variants=(CONTROL_STAYS, BOLD_STAYS, VariantPatch(name="third", weight=1)))
    with pytest.raises(ValueError, match="new_ids"):
        given(*DRAFT).when(added).leads_to()


def test_a_patch_of_a_draft_records_only_what_differs():
    """Values that are the same again are not facts."""
    patch = change(name="Headline", type="layout", hypothesis="Bold sells")
    given(*DRAFT).when(patch).then(
        events.ExperimentDetailsChanged(**ABOUT, experiment_type="layout", hypothesis="Bold sells")
    )


def test_details_of_a_draft_change_in_its_state():
    """Each detail arrives under its own name."""
    patch = change(
        name="Other",
        type="css",
        target_url="/pricing",
        url_match_type="exact",
        goals=(SIGNUPS,),
        attribution_window_hours=24,
        hypothesis="Bold sells",
    )
    changed = given(*DRAFT).when(patch).leads_to()
    assert (changed.name, changed.type, changed.hypothesis) == ("Other", "css", "Bold sells")
    assert (changed.target_url, changed.url_match_type) == ("/pricing", "exact")
    assert (changed.goals, changed.attribution_window_hours) == ((SIGNUPS,), 24)


def test_a_hypothesis_can_be_taken_back():
    """None is a value, unlike unset."""
    stated = (*DRAFT, events.ExperimentDetailsChanged(**ABOUT, hypothesis="Bold sells"))
    assert given(*stated).when(change(hypothesis=None)).leads_to().hypothesis is None
    assert given(*stated).when(change(name="Other")).leads_to().hypothesis == "Bold sells"


@pytest.mark.parametrize("history", [DRAFT, RUNNING, PAUSED], ids=["draft", "running", "paused"])
def test_a_change_of_nothing_is_no_fact(history):
    """An empty patch, and a patch with what is there already, record nothing."""
    given(*history).when(change()).then()
    same = change(
        name="Headline",
        target_url="",
        goals=(),
        traffic_percentage=100,
        attribution_window_hours=720,
        variants=(VariantPatch(id=CONTROL_ID, weight=50), BOLD_STAYS),
    )
    given(*history).when(same).then()


def test_the_variants_of_a_draft_are_replaced_by_the_list():
    """Entries with an id keep what they leave unset, others are new, absent ones go."""
    patch = change(
        variants=(
            VariantPatch(name="third", weight=20, changes=(BOLD,)),
            VariantPatch(id=CONTROL_ID, weight=80),
            VariantPatch(name="fourth", weight=1),
        ),
        new_ids=(THIRD_ID, FOURTH_ID),
    )
    given(*DRAFT).when(patch).then(
        events.ExperimentVariantsChanged(
            **ABOUT,
            variants=(
                Variant(id=THIRD_ID, name="third", is_control=False, weight=20, changes=(BOLD,)),
                structs.replace(CONTROL, weight=80),
                Variant(id=FOURTH_ID, name="fourth", is_control=False, weight=1),
            ),
        )
    )


def test_another_variant_of_a_draft_can_become_the_control():
    """The control is a field like any other before the start."""
    swap = change(
        variants=(
            VariantPatch(id=CONTROL_ID, is_control=False),
            VariantPatch(id=BOLD_ID, is_control=True),
        )
    )
    assert [variant.is_control for variant in given(*DRAFT).when(swap).leads_to().variants] == [False, True]


@pytest.mark.parametrize("entries", [(THIRD_ID, BOLD_ID), (BOLD_ID, BOLD_ID)], ids=["unknown", "twice"])
def test_an_id_that_is_unknown_or_repeated_is_refused(entries):
    """Ids of others cannot be smuggled in."""
    patch = change(variants=(CONTROL_STAYS, *(VariantPatch(id=id_, name=str(id_)) for id_ in entries)))
    assert {path for path in given(*DRAFT).when(patch).errors() if path.endswith(".id")} == {
        f"variants[{2 if entries[0] == BOLD_ID else 1}].id"
    }


def test_a_new_variant_must_state_its_name_and_weight():
    """An entry without an id has nothing to fall back on."""
    patch = change(variants=(CONTROL_STAYS, BOLD_STAYS, VariantPatch()), new_ids=(THIRD_ID,))
    assert set(given(*DRAFT).when(patch).errors()) == {"variants[2].name", "variants[2].weight"}


@STARTED
@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"type": "css"}, "type"),
        ({"target_url": "/other"}, "targetUrl"),
        ({"url_match_type": "exact", "target_url": "/"}, "targetUrl, urlMatchType"),
        ({"goals": (SIGNUPS,)}, "goals"),
        ({"attribution_window_hours": 24}, "attributionWindowHours"),
        ({"variants": (CONTROL_STAYS, VariantPatch(id=BOLD_ID, name="Bold"))}, "variants"),
        ({"variants": (CONTROL_STAYS, VariantPatch(id=BOLD_ID, changes=()))}, "variants"),
        ({"variants": (CONTROL_STAYS, VariantPatch(id=BOLD_ID, is_control=True))}, "variants"),
        ({"variants": (CONTROL_STAYS,)}, "variants"),
        ({"variants": (CONTROL_STAYS, BOLD_STAYS, VariantPatch(id=THIRD_ID))}, "variants"),
        (
            {
                "variants": (CONTROL_STAYS, BOLD_STAYS, VariantPatch(name="c", weight=1)),
                "new_ids": (THIRD_ID,),
            },
            "variants",
        ),
    ],
)
def test_after_the_start_the_plan_is_fixed(history, fields, named):
    """What visitors see and what is counted cannot change under way; the message names the fields."""
    message = given(*history).when(change(**fields)).refuses(refusals.ExperimentAlreadyStarted)
    assert message.startswith(f"The experiment has started, so {named}")


@STARTED
def test_after_the_start_words_may_still_change(history):
    """A name and a hypothesis are for people."""
    patch = change(name="Other", hypothesis="Bold sells")
    given(*history).when(patch).then(
        events.ExperimentDetailsChanged(**ABOUT, name="Other", hypothesis="Bold sells")
    )


@STARTED
def test_after_the_start_weights_and_traffic_may_change(history):
    """A new allocation opens a new epoch, and the one before keeps its numbers."""
    weights = (VariantPatch(id=CONTROL_ID, weight=10), VariantPatch(id=BOLD_ID, weight=90))
    patch = change(at=LATER, variants=weights, traffic_percentage=60)
    about = {**ABOUT, "at": LATER}
    by_id = {str(CONTROL_ID): 10, str(BOLD_ID): 90}
    given(*history).when(patch).then(
        events.VariantWeightsChanged(**about, weights=by_id),
        events.TrafficPercentageChanged(**about, traffic_percentage=60),
    )
    even = {str(CONTROL_ID): 50, str(BOLD_ID): 50}
    assert given(*history).when(patch).leads_to().epochs == (
        Epoch(number=1, started_at=NOW, weights=even, traffic_percentage=100),
        Epoch(number=2, started_at=LATER, weights=by_id, traffic_percentage=60),
    )


@STARTED
def test_after_the_start_variants_keep_their_order(history):
    """Assignment goes by order, so a list in another order changes weights and nothing else."""
    patch = change(variants=(VariantPatch(id=BOLD_ID, weight=90), CONTROL_STAYS))
    variants = given(*history).when(patch).leads_to().variants
    assert variants == (CONTROL, structs.replace(BOLD_VARIANT, weight=90))


def test_traffic_of_a_draft_opens_no_epoch():
    """Epochs begin with the start, from the numbers of that moment."""
    reduced = given(*DRAFT).when(change(traffic_percentage=5))
    reduced.then(events.TrafficPercentageChanged(**ABOUT, traffic_percentage=5))
    assert reduced.leads_to().epochs == ()


def test_epochs_do_not_run_backwards_with_a_clock():
    """A change with an earlier time than its epoch's replaces that epoch's numbers."""
    ahead = (*DRAFT, structs.replace(events.ExperimentStarted(**ABOUT), at=LATER))
    experiment = given(*ahead).when(change(at=NOW, traffic_percentage=5)).leads_to()
    assert [(epoch.started_at, epoch.traffic_percentage) for epoch in experiment.epochs] == [(LATER, 5)]


def test_a_history_begins_with_one_creation():
    """A log that says otherwise is damaged, and folding it says so."""
    assert fold([]) is None
    with pytest.raises(ValueError, match="does not begin"):
        fold(RUNNING[1:])
    with pytest.raises(ValueError, match="twice"):
        fold((*DRAFT, *DRAFT))
