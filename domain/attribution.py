"""Why an event counts for no variant: the named reasons, with the words for people.

An event that names an experiment and a variant is explicit; one that names none is inferred, and counts for
each experiment that the visitor was exposed to before it, within the window.
"""

from enum import StrEnum
from typing import Self


class UnattributedReason(StrEnum):
    """A reason and its explanation; the event stays in the log and is counted under the reason."""

    explanation: str

    def __new__(cls, value: str, explanation: str) -> Self:
        """Keep the words beside the name."""
        reason = str.__new__(cls, value)
        reason._value_ = value
        reason.explanation = explanation
        return reason

    UNKNOWN_EXPERIMENT = (
        "unknown_experiment",
        "The event names an experiment that this project does not have.",
    )
    UNKNOWN_VARIANT = (
        "unknown_variant",
        "The event names a variant that its experiment does not have.",
    )
    CONTRADICTS_EXPOSURE = (
        "contradicts_exposure",
        "The event names another variant than the one that the visitor was shown.",
    )
    MULTIPLE_EXPOSURES = (
        "multiple_exposures",
        "The visitor was shown several variants of the experiment and is left out of comparisons.",
    )
    BEFORE_EXPOSURE = (
        "before_exposure",
        "The event names no experiment and happened before the visitor was first shown this one.",
    )
    OUTSIDE_WINDOW = (
        "outside_window",
        "The event names no experiment and happened after the attribution window of this one had closed.",
    )
    NOT_EXPOSED = (
        "not_exposed",
        "The event names no experiment and the visitor was never shown this one.",
    )
    NO_MATCHING_GOAL = (
        "no_matching_goal",
        "The event names an experiment, none of whose goals counts such an event.",
    )
    VALUE_NOT_USABLE = (
        "value_not_usable",
        "The event matches a value goal and carries no usable number; other goals still count it.",
    )
