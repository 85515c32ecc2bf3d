"""What the fields of the experiment form are called, and where a reason belongs."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from domain.refusals import FieldError

_LABELS = {
    "name": "Name",
    "hypothesis": "Hypothesis",
    "type": "Type",
    "targetUrl": "Address",
    "urlMatchType": "Pages",
    "trafficPercentage": "Traffic",
    "attributionWindowHours": "Attribution window",
    "variants": "Variants",
    "goals": "Goals",
    "control": "Control",
    "weight": "Weight",
    "changes": "Changes",
    "selector": "Selector",
    "changeType": "What changes",
    "property": "Property",
    "value": "New value",
    "kind": "Counts",
    "eventType": "Event type",
    "eventName": "Event name",
    "valueField": "Value field",
    "role": "Role",
    "isControl": "Control",
    "lift": "Effect",
    "chance": "Chance to find it",
    "perDay": "Visitors a day",
    "baseline": "Present rate or mean",
    "sd": "Standard deviation",
    "goal": "Goal",
}
_ROWS = {"variants": "variant", "changes": "change", "goals": "goal"}
_PART = re.compile(r"([A-Za-z]+)(?:\[([0-9]+)\])?")


class Reason(NamedTuple):
    """What is wrong in one sentence, and the id of the element to go to."""

    element: str
    sentence: str


def element_id(path: str) -> str:
    """The id of the element of a path: `variants[1].weight` is `variants-1-weight`."""
    return re.sub(r"[^A-Za-z0-9]+", "-", path).strip("-")


def label_of(path: str) -> str:
    """The field of a path in words: `variants[1].weight` is "Variant 2, weight"."""
    words = []
    for name, place in _PART.findall(path.removeprefix("plan.")):
        words.append(f"{_ROWS.get(name, name)} {int(place) + 1}" if place else _LABELS.get(name, name).lower())
    text = ", ".join(words)
    return text[:1].upper() + text[1:]


def reasons_of(errors: Sequence[FieldError]) -> list[Reason]:
    """All that is wrong, each with its field in words."""
    return [Reason(element_id(error.path), f"{label_of(error.path)} {error.reason}.") for error in errors]


def by_field(errors: Sequence[FieldError]) -> dict[str, str]:
    """What is wrong with each field, as it stands beside the field."""
    found: dict[str, list[str]] = {}
    for error in errors:
        found.setdefault(error.path, []).append(error.reason)
    return {path: "; ".join(reasons)[:1].upper() + "; ".join(reasons)[1:] + "." for path, reasons in found.items()}


FILTERS: dict[str, Callable[..., Any]] = {
    function.__name__: function for function in (element_id, reasons_of, by_field)
}
