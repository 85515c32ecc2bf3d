"""The history of an experiment in words: who changed what, when, at which position of the log."""

from datetime import datetime
from typing import NamedTuple, assert_never

from msgspec import UNSET

from app.templates.numbers import counted
from domain import events
from domain.evolution import DETAILS, evolve, set_fields
from domain.experiment import Experiment
from projections.experiments import PlacedFact

_NAMES = {
    "experiment_type": "type",
    "target_url": "address",
    "url_match_type": "match of the address",
    "attribution_window_hours": "attribution window",
}


class Change(NamedTuple):
    """One fact of an experiment: what happened in a few words, and what was before and after."""

    number: int
    position: int
    at: datetime
    actor: str
    what: str
    details: list[str]


def history_of(facts: list[PlacedFact]) -> list[Change]:
    """An experiment's facts as changes, in their order; each says what it replaced."""
    changes: list[Change] = []
    experiment: Experiment | None = None
    for number, (position, fact) in enumerate(facts, 1):
        after = evolve(experiment, fact)
        what, details = _described(fact, experiment or after, after)
        changes.append(Change(number, position, fact.at, fact.actor, what, details))
        experiment = after
    return changes


def _described(  # noqa: PLR0911  (a case each)
    fact: events.ExperimentFact, before: Experiment, after: Experiment
) -> tuple[str, list[str]]:
    match fact:
        case events.ExperimentCreated():
            return "Created", [_weights(after), f"{counted(len(after.goals), 'goal')}, window {_window(after)}"]
        case events.ExperimentDetailsChanged():
            return "Details changed", _details(fact, before)
        case events.ExperimentVariantsChanged():
            return "Variants changed", [f"before {_weights(before)}", f"after {_weights(after)}"]
        case events.VariantWeightsChanged():
            return "Weights changed", [f"before {_weights(before)}", f"after {_weights(after)}"]
        case events.TrafficPercentageChanged():
            return "Traffic changed", [
                f"before {before.traffic_percentage:,.10g} % of visitors",
                f"after {after.traffic_percentage:,.10g} %",
            ]
        case events.ExperimentStarted():
            return "Started", [_weights(after), f"{after.traffic_percentage:,.10g} % of visitors"]
        case events.ExperimentPaused():
            return "Paused", []
        case events.ExperimentResumed():
            return "Resumed", []
        case events.ExperimentStopped():
            return "Stopped", []
        case _:
            assert_never(fact)


def _weights(experiment: Experiment) -> str:
    """Weights with the shares that they promise."""
    whole = sum(variant.weight for variant in experiment.variants)
    return ", ".join(
        f"{variant.name} {variant.weight:,.10g}" + (f" ({variant.weight / whole:.1%})" if whole else "")
        for variant in experiment.variants
    )


def _details(fact: events.ExperimentDetailsChanged, before: Experiment) -> list[str]:
    changed = set_fields(fact, ("experiment_type", *(field for field in DETAILS if field != "type")))
    return [
        _detail(field, getattr(before, field.removeprefix("experiment_")), value)
        for field, value in changed.items()
    ]


def _detail(field: str, old: object, new: object) -> str:
    name = _NAMES.get(field, field)
    if field == "goals":
        return "goals"
    if field == "attribution_window_hours":
        return f"{name}: {old} to {new} hour{'' if new == 1 else 's'}"
    return f"{name}: {_quoted(old)} to {_quoted(new)}"


def _quoted(value: object) -> str:
    return "none" if value is None or value is UNSET or value == "" else f"“{value}”"


def _window(experiment: Experiment) -> str:
    hours = experiment.attribution_window_hours
    return counted(hours // 24, "day") if hours % 24 == 0 else counted(hours, "hour")
