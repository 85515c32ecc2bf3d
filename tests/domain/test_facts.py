"""How facts are stored: spelled-out tags, camelCase, and the same fact when read again."""

from datetime import datetime, timedelta
from uuid import UUID

import msgspec
import pytest

from domain import events
from domain.events import decode_fact, encode_fact, fact_type
from domain.experiment import Goal, Variant, fold
from tests.domain.given_facts import ABOUT, ACTOR, BOLD, BOLD_ID, CONTROL_ID, CREATED, NOW

GOAL = Goal(name="revenue", event_type="conversion", kind="value", value_field="amount", role="primary")
CONTROL = Variant(id=CONTROL_ID, name="control", is_control=True, weight=0.5)
STEP = {"at": NOW, "actor": ACTOR}

FACTS = {
    "project_created": events.ProjectCreated(**STEP, name="Shop", allowed_origins=("https://shop.example",)),
    "allowed_origins_changed": events.AllowedOriginsChanged(**STEP, allowed_origins=()),
    "secret_key_issued": events.SecretKeyIssued(**STEP, key_id=UUID(int=9), key_hash="00ff", prefix="sk_1"),
    "secret_keys_expiring": events.SecretKeysExpiring(**STEP, valid_until=NOW + timedelta(hours=24)),
    "user_added": events.UserAdded(**STEP, user_id=UUID(int=7), name="Ann", role="owner"),
    "user_role_changed": events.UserRoleChanged(**STEP, user_id=UUID(int=7), name="Ann", role="viewer"),
    "user_password_changed": events.UserPasswordChanged(**STEP, user_id=UUID(int=7), name="Ann"),
    "user_removed": events.UserRemoved(**STEP, user_id=UUID(int=7), name="Ann"),
    "share_link_made": events.ShareLinkMade(**STEP, link_id=UUID(int=8), experiment_id=UUID(int=14)),
    "share_link_revoked": events.ShareLinkRevoked(**STEP, link_id=UUID(int=8), experiment_id=UUID(int=14)),
    "experiment_created": CREATED,
    "experiment_details_changed": events.ExperimentDetailsChanged(**ABOUT, hypothesis=None, goals=(GOAL,)),
    "experiment_variants_changed": events.ExperimentVariantsChanged(**ABOUT, variants=(CONTROL,)),
    "variant_weights_changed": events.VariantWeightsChanged(**ABOUT, weights={str(BOLD_ID): 2}),
    "traffic_percentage_changed": events.TrafficPercentageChanged(**ABOUT, traffic_percentage=12.5),
    "experiment_started": events.ExperimentStarted(**ABOUT),
    "experiment_paused": events.ExperimentPaused(**ABOUT),
    "experiment_resumed": events.ExperimentResumed(**ABOUT),
    "experiment_stopped": events.ExperimentStopped(**ABOUT),
}


def test_every_fact_has_its_example_here():
    """A fact added without one is noticed."""
    assert {type(fact) for fact in FACTS.values()} == set(events.Fact.__args__)


@pytest.mark.parametrize(("tag", "fact"), FACTS.items(), ids=FACTS)
def test_a_fact_reads_as_it_was_written(tag, fact):
    """The tag is the stored name; bytes and values both survive the way there and back."""
    stored = encode_fact(fact)
    assert fact_type(fact) == tag
    assert msgspec.json.decode(stored)["type"] == tag
    assert decode_fact(stored) == fact
    assert encode_fact(decode_fact(stored)) == stored


def test_a_created_experiment_is_stored_whole():
    """The wire shape of the fact that all others build on."""
    assert msgspec.json.decode(encode_fact(CREATED)) == {
        "type": "experiment_created",
        "at": "2026-03-01T12:00:00Z",
        "actor": ACTOR,
        "experimentId": "00000000-0000-0000-0000-00000000000e",
        "name": "Headline",
        "experimentType": "copy",
        "targetUrl": "",
        "urlMatchType": "all",
        "trafficPercentage": 100,
        "variants": [
            {"id": str(CONTROL_ID), "name": "control", "isControl": True, "weight": 50, "changes": []},
            {
                "id": str(BOLD_ID),
                "name": "bold",
                "isControl": False,
                "weight": 50,
                "changes": [{"selector": "h1", "changeType": "style", "value": "700", "property": "font-weight"}],
            },
        ],
        "goals": [
            {
                "name": "conversion",
                "eventType": "conversion",
                "kind": "conversion",
                "eventName": None,
                "valueField": None,
                "role": "primary",
            }
        ],
        "hypothesis": None,
        "attributionWindowHours": 720,
    }


def test_a_field_that_did_not_change_is_not_stored():
    """Unset is absent, None is null."""
    stored = encode_fact(events.ExperimentDetailsChanged(**ABOUT, hypothesis=None))
    assert set(msgspec.json.decode(stored)) == {"type", "at", "actor", "experimentId", "hypothesis"}


def test_a_change_without_a_property_is_the_documented_shape():
    """`property` is optional in the documented VariantChange, so null does not appear."""
    assert set(msgspec.to_builtins(msgspec.structs.replace(BOLD, property=None))) == {
        "selector",
        "changeType",
        "value",
    }


def test_the_state_has_the_documented_names():
    """An experiment encodes as the documented Experiment, and more."""
    encoded = msgspec.json.decode(msgspec.json.encode(fold([CREATED])))
    documented = ["id", "name", "type", "targetUrl", "urlMatchType", "trafficPercentage", "variants"]
    assert list(encoded)[:7] == documented
    assert list(encoded["variants"][0]) == ["id", "name", "isControl", "weight", "changes"]


def test_a_time_without_a_zone_is_no_fact():
    """Local time would mean another instant on another machine."""
    naive = encode_fact(msgspec.structs.replace(CREATED, at=datetime(2026, 3, 1)))  # noqa: DTZ001
    with pytest.raises(msgspec.ValidationError, match=r"\$\.at"):
        decode_fact(naive)


def test_an_unknown_tag_is_no_fact():
    """What nobody can interpret is not skipped in silence."""
    with pytest.raises(msgspec.ValidationError, match="experiment_teleported"):
        decode_fact(b'{"type":"experiment_teleported"}')
