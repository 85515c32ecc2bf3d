"""The life of an experiment: commands in, facts out; facts fold to its state.

draft -> running <-> paused -> stopped; a draft and a running experiment can be stopped too.
"""

import functools
from collections.abc import Sequence
from typing import Any, assert_never

from msgspec import UNSET, Struct, structs

from domain import events, refusals
from domain.commands import (
    ChangeExperiment,
    Command,
    CreateExperiment,
    PauseExperiment,
    ResumeExperiment,
    StartExperiment,
    StopExperiment,
)
from domain.events import ExperimentFact
from domain.evolution import DETAILS, evolve, fold, reweighted, set_fields
from domain.plan import (
    DEFAULT_GOALS,
    Epoch,
    Experiment,
    ExperimentPatch,
    ExperimentStatus,
    Goal,
    NewExperiment,
    NewVariant,
    Variant,
    VariantChange,
    VariantPatch,
    ids_wanted,
    selectors,
)
from domain.refusals import FieldError, Refusal
from domain.validation import problems

__all__ = [
    "FORBIDDEN_STEPS",
    "ChangeExperiment",
    "Command",
    "CreateExperiment",
    "Epoch",
    "Experiment",
    "ExperimentPatch",
    "Goal",
    "NewExperiment",
    "NewVariant",
    "PauseExperiment",
    "ResumeExperiment",
    "StartExperiment",
    "StopExperiment",
    "Variant",
    "VariantChange",
    "VariantPatch",
    "decide",
    "evolve",
    "fold",
    "ids_wanted",
    "selectors",
]


FORBIDDEN_STEPS: dict[tuple[type[Struct], ExperimentStatus], type[Refusal]] = {
    (ChangeExperiment, "stopped"): refusals.ExperimentStopped,
    (StartExperiment, "running"): refusals.ExperimentAlreadyRunning,
    (StartExperiment, "paused"): refusals.ExperimentPaused,
    (StartExperiment, "stopped"): refusals.ExperimentStopped,
    (PauseExperiment, "draft"): refusals.ExperimentNotRunning,
    (PauseExperiment, "paused"): refusals.ExperimentNotRunning,
    (PauseExperiment, "stopped"): refusals.ExperimentStopped,
    (ResumeExperiment, "draft"): refusals.ExperimentNotPaused,
    (ResumeExperiment, "running"): refusals.ExperimentNotPaused,
    (ResumeExperiment, "stopped"): refusals.ExperimentStopped,
    (StopExperiment, "stopped"): refusals.ExperimentAlreadyStopped,
}

_CHANGEABLE_AFTER_START = {"name", "hypothesis"}
_JSON_NAMES = {field.name: field.encode_name for field in structs.fields(Experiment)}


def decide(command: Command, experiment: Experiment | None) -> list[ExperimentFact]:
    """Turn a command into facts, none when it changes nothing; raises the Refusal that forbids it."""
    if isinstance(command, CreateExperiment):
        if experiment is not None:
            raise refusals.ExperimentAlreadyExists
        return _create(command)
    if experiment is None:
        raise refusals.ExperimentNotFound
    if refusal := FORBIDDEN_STEPS.get((type(command), experiment.status)):
        raise refusal(state="a draft" if experiment.status == "draft" else experiment.status)
    about: dict[str, Any] = {"experiment_id": experiment.id, "at": command.at, "actor": command.actor}
    match command:
        case ChangeExperiment():
            return _change(command, experiment, about)
        case StartExperiment():
            fact: ExperimentFact = events.ExperimentStarted(**about)
        case PauseExperiment():
            fact = events.ExperimentPaused(**about)
        case ResumeExperiment():
            fact = events.ExperimentResumed(**about)
        case StopExperiment():
            fact = events.ExperimentStopped(**about)
        case _:
            assert_never(command)
    return [fact]


def _create(command: CreateExperiment) -> list[ExperimentFact]:
    body = command.body
    named = zip(command.variant_ids, body.variants, strict=True)
    created = events.ExperimentCreated(
        at=command.at,
        actor=command.actor,
        experiment_id=command.experiment_id,
        name=body.name,
        experiment_type=body.type,
        target_url=body.target_url,
        url_match_type=body.url_match_type,
        traffic_percentage=body.traffic_percentage,
        variants=tuple(Variant(id=id_, **structs.asdict(variant)) for id_, variant in named),
        goals=body.goals or DEFAULT_GOALS,
        hypothesis=body.hypothesis,
        attribution_window_hours=body.attribution_window_hours,
    )
    _refuse_if_invalid(evolve(None, created), command.problems)
    return [created]


def _change(command: ChangeExperiment, experiment: Experiment, about: dict[str, Any]) -> list[ExperimentFact]:
    started = experiment.started_at is not None
    details = _differing_details(command.patch, experiment)
    variants, strangers = _patched_variants(command, experiment)
    if started:
        variants = _refuse_if_frozen(experiment, details, variants)
    facts: list[ExperimentFact] = []
    if details:
        if "type" in details:
            details["experiment_type"] = details.pop("type")
        facts.append(events.ExperimentDetailsChanged(**about, **details))
    if variants != experiment.variants and not started:
        facts.append(events.ExperimentVariantsChanged(**about, variants=variants))
    if variants != experiment.variants and started:
        weights = {str(variant.id): variant.weight for variant in variants}
        facts.append(events.VariantWeightsChanged(**about, weights=weights))
    traffic = command.patch.traffic_percentage
    if traffic is not UNSET and traffic != experiment.traffic_percentage:
        facts.append(events.TrafficPercentageChanged(**about, traffic_percentage=traffic))
    _refuse_if_invalid(functools.reduce(evolve, facts, experiment), (*command.problems, *strangers))
    return facts


def _differing_details(patch: ExperimentPatch, experiment: Experiment) -> dict[str, Any]:
    wanted = {field: getattr(patch, field) for field in DETAILS}
    if wanted["goals"] is not UNSET:
        wanted["goals"] = wanted["goals"] or DEFAULT_GOALS
    return {
        field: value
        for field, value in wanted.items()
        if value is not UNSET and value != getattr(experiment, field)
    }


def _patched_variants(
    command: ChangeExperiment, experiment: Experiment
) -> tuple[tuple[Variant, ...], list[FieldError]]:
    """Build the list that the patch asks for, with an error for each id that is unknown or there twice."""
    if command.patch.variants is UNSET:
        return experiment.variants, []
    if len(command.new_ids) < ids_wanted(command.patch):
        raise ValueError(f"{ids_wanted(command.patch)} new variants need as many new_ids")
    known = {variant.id: variant for variant in experiment.variants}
    new_ids = iter(command.new_ids)
    variants: list[Variant] = []
    strangers = []
    for position, entry in enumerate(command.patch.variants):
        if entry.id is UNSET:
            # Empty and 0 are what validation refuses, so a new variant must state its name and weight.
            base = Variant(id=next(new_ids), name="", is_control=False, weight=0)
        elif entry.id in known:
            base = known.pop(entry.id)
        else:
            strangers.append(FieldError(f"variants[{position}].id", "is unknown here, or in the list twice"))
            base = Variant(id=entry.id, name="", is_control=False, weight=0)
        variants.append(structs.replace(base, **set_fields(entry, ("name", "is_control", "weight", "changes"))))
    return tuple(variants), strangers


def _refuse_if_frozen(
    experiment: Experiment, details: dict[str, Any], variants: Sequence[Variant]
) -> tuple[Variant, ...]:
    """Return the variants in their lasting order, on which assignment depends, if only weights differ."""
    frozen = [_JSON_NAMES[field] for field in details if field not in _CHANGEABLE_AFTER_START]
    if _content(variants) != _content(experiment.variants):
        frozen.append("variants (but for their weights)")
    if frozen:
        raise refusals.ExperimentAlreadyStarted(fields=", ".join(frozen))
    return reweighted(experiment.variants, {str(variant.id): variant.weight for variant in variants})


def _refuse_if_invalid(experiment: Experiment, found: Sequence[FieldError]) -> None:
    if errors := [*found, *problems(experiment)]:
        raise refusals.InvalidExperiment(errors)


def _content(variants: Sequence[Variant]) -> list[Variant]:
    """Look at variants without weights and order."""
    return sorted((structs.replace(variant, weight=0) for variant in variants), key=lambda each: each.id)
