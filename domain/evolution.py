"""How facts fold to the state of an experiment."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, assert_never

from msgspec import UNSET, Struct, structs

from domain import events
from domain.events import ExperimentFact, LaterExperimentFact
from domain.plan import Epoch, Experiment, Variant

# The fields of a plan that change by themselves; variants and traffic have facts of their own.
DETAILS = ("name", "hypothesis", "type", "target_url", "url_match_type", "goals", "attribution_window_hours")


def evolve(experiment: Experiment | None, fact: ExperimentFact) -> Experiment:
    """Apply one fact; ValueError when a history does not begin with its creation, or holds two."""
    if isinstance(fact, events.ExperimentCreated):
        if experiment is not None:
            raise ValueError(f"experiment {fact.experiment_id} is created twice in its history")
        return _created(fact)
    if experiment is None:
        raise ValueError(f"the history of experiment {fact.experiment_id} does not begin with its creation")
    return structs.replace(_applied(experiment, fact), version=experiment.version + 1, changed_at=fact.at)


def fold(facts: Iterable[ExperimentFact]) -> Experiment | None:
    """Replay one experiment's history, oldest fact first; None when there is none."""
    experiment: Experiment | None = None
    return functools.reduce(evolve, facts, experiment)


def reweighted(variants: Sequence[Variant], weights: Mapping[str, int | float]) -> tuple[Variant, ...]:
    """Give variants new weights by id; one that is not named keeps its own."""
    return tuple(
        structs.replace(variant, weight=weights.get(str(variant.id), variant.weight)) for variant in variants
    )


def set_fields(struct: Struct, fields: Iterable[str]) -> dict[str, Any]:
    """Read those fields of a patch or fact that are set."""
    return {field: value for field in fields if (value := getattr(struct, field)) is not UNSET}


def _created(fact: events.ExperimentCreated) -> Experiment:
    return Experiment(
        id=fact.experiment_id,
        name=fact.name,
        type=fact.experiment_type,
        target_url=fact.target_url,
        url_match_type=fact.url_match_type,
        traffic_percentage=fact.traffic_percentage,
        variants=fact.variants,
        goals=fact.goals,
        hypothesis=fact.hypothesis,
        attribution_window_hours=fact.attribution_window_hours,
        status="draft",
        version=1,
        created_at=fact.at,
        started_at=None,
        stopped_at=None,
        changed_at=fact.at,
        epochs=(),
    )


def _changed_details(fact: events.ExperimentDetailsChanged) -> dict[str, Any]:
    changed = set_fields(fact, ("experiment_type", *(field for field in DETAILS if field != "type")))
    if "experiment_type" in changed:
        changed["type"] = changed.pop("experiment_type")
    return changed


def _applied(experiment: Experiment, fact: LaterExperimentFact) -> Experiment:
    match fact:
        case events.ExperimentDetailsChanged():
            evolved = structs.replace(experiment, **_changed_details(fact))
        case events.ExperimentVariantsChanged(variants=variants):
            evolved = structs.replace(experiment, variants=variants)
        case events.VariantWeightsChanged(weights=weights):
            evolved = _reallocated(experiment, fact.at, variants=reweighted(experiment.variants, weights))
        case events.TrafficPercentageChanged(traffic_percentage=percentage):
            evolved = _reallocated(experiment, fact.at, traffic_percentage=percentage)
        case events.ExperimentStarted():
            evolved = _reallocated(experiment, fact.at, status="running", started_at=fact.at)
        case events.ExperimentPaused():
            evolved = structs.replace(experiment, status="paused")
        case events.ExperimentResumed():
            evolved = structs.replace(experiment, status="running")
        case events.ExperimentStopped():
            evolved = structs.replace(experiment, status="stopped", stopped_at=fact.at)
        case _:
            assert_never(fact)
    return evolved


def _reallocated(experiment: Experiment, at: datetime, **changes: Any) -> Experiment:
    """Apply changes of the allocation, and open an epoch unless the experiment has not started."""
    changed = structs.replace(experiment, **changes)
    if changed.started_at is None:
        return changed
    earlier = changed.epochs
    # Time may repeat (two facts of one command) or run backwards (two servers); epochs do neither.
    started_at = max([at, *(epoch.started_at for epoch in earlier[-1:])])
    if earlier and earlier[-1].started_at == started_at:
        earlier = earlier[:-1]
    epoch = Epoch(
        number=len(earlier) + 1,
        started_at=started_at,
        weights={str(variant.id): variant.weight for variant in changed.variants},
        traffic_percentage=changed.traffic_percentage,
    )
    return structs.replace(changed, epochs=(*earlier, epoch))
