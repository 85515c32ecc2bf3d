"""The reasons why an event counts for no variant."""

import json

from domain.attribution import UnattributedReason


def test_every_reason_is_its_name():
    """What is stored and sent is the lower-case name, so the list can be read off the results."""
    assert [reason.value for reason in UnattributedReason] == [
        "unknown_experiment",
        "unknown_variant",
        "contradicts_exposure",
        "multiple_exposures",
        "before_exposure",
        "outside_window",
        "not_exposed",
        "no_matching_goal",
        "value_not_usable",
    ]
    assert all(reason.name.lower() == reason for reason in UnattributedReason)


def test_a_reason_is_found_by_its_text():
    """A reason read back from a table is the member, and encodes as plain text."""
    assert UnattributedReason("not_exposed") is UnattributedReason.NOT_EXPOSED
    assert json.dumps(UnattributedReason.NOT_EXPOSED) == '"not_exposed"'
    assert f"{UnattributedReason.NOT_EXPOSED}" == "not_exposed"


def test_every_reason_is_explained_to_people():
    """One sentence each, none twice."""
    explanations = {reason.explanation for reason in UnattributedReason}
    assert len(explanations) == len(UnattributedReason)
    assert all(text[0].isupper() and text.endswith(".") for text in explanations)
