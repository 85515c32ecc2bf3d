"""Experiments as the other projections need them: variants, goals, epochs, folded from the facts."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg import AsyncConnection

from domain import experiment as experiments
from domain.events import (
    ExperimentDetailsChanged,
    ExperimentFact,
    ExperimentStarted,
    ExperimentStopped,
    ExperimentVariantsChanged,
    decode_fact,
)
from domain.experiment import Experiment
from projections.queries import queries
from projections.steps import Step, step_parameters

TABLES = ("experiment_plan", "experiment_fact", "planned_variant", "planned_goal", "planned_epoch")
PAST_TABLES = ("experiment_plan_past",)
STAGING: tuple[str, ...] = ()
CALLS: tuple[tuple[str, ...], ...] = ()
NEEDS: dict[str, str] = {}

decode_plan = msgspec.json.Decoder(Experiment).decode


class PlacedFact(NamedTuple):
    """A fact of an experiment and its position in the log."""

    position: int
    fact: ExperimentFact


class StoredPlan(NamedTuple):
    """An experiment as it stands at the checkpoint; only events behind `counted_after` count.

    Those are the events since the plan means what it means.
    """

    state: Experiment
    counted_after: int
    started_position: int | None
    stopped_position: int | None


async def apply_facts(connection: AsyncConnection[Any], step: Step) -> list[UUID]:
    """Fold a step's facts into the plans of their experiments; the experiments whose tallies they make void.

    A draft whose variants, goals or window change starts from nothing: what was counted under the
    other plan would not mean the same. Where one experiment is counted, others are known and get no variants,
    goals and epochs, so that nothing is counted for them.
    """
    sql = queries("experiments")
    rows = await (await connection.execute(sql["facts"], step_parameters(step))).fetchall()
    stored = dict(rows)
    placed = placed_facts(rows)
    if not placed:  # keys, users and share links
        return []
    by_experiment: dict[UUID, list[PlacedFact]] = {}
    for each in placed:
        by_experiment.setdefault(each.fact.experiment_id, []).append(each)
    before = await _read_plans(connection, step.project_id, list(by_experiment))
    after = {key: _folded(before.get(key), facts) for key, facts in by_experiment.items()}
    async with connection.pipeline():
        await _put_plans(connection, step, list(after.values()))
        if step.only is None:
            remembered = {
                "experiment_ids": [each.fact.experiment_id for each in placed],
                "positions": [each.position for each in placed],
                "facts": [stored[each.position] for each in placed],
            }
            await connection.execute(sql["put_facts"], {"project_id": step.project_id, **remembered})
        for key, plan in after.items():
            if step.only in {None, key}:
                known = before.get(key)
                await put_parts(connection, step.project_id, plan.state, known.state if known else None)
    return [key for key, facts in by_experiment.items() if any(_voids(each.fact) for each in facts)]


def _folded(before: StoredPlan | None, placed: list[PlacedFact]) -> StoredPlan:
    first, *others = placed
    return functools.reduce(_evolved, others, _evolved(before, first))


def _evolved(before: StoredPlan | None, placed: PlacedFact) -> StoredPlan:
    position, fact = placed
    if before is None:
        return StoredPlan(experiments.evolve(None, fact), position, None, None)
    is_start = before.started_position is None and isinstance(fact, ExperimentStarted)
    is_stop = before.stopped_position is None and isinstance(fact, ExperimentStopped)
    return StoredPlan(
        experiments.evolve(before.state, fact),
        position if _voids(fact) else before.counted_after,
        position if is_start else before.started_position,
        position if is_stop else before.stopped_position,
    )


def _voids(fact: ExperimentFact) -> bool:
    return isinstance(fact, ExperimentVariantsChanged) or (
        isinstance(fact, ExperimentDetailsChanged)
        and (fact.goals is not msgspec.UNSET or fact.attribution_window_hours is not msgspec.UNSET)
    )


async def read_plan(connection: AsyncConnection[Any], project_id: UUID, experiment_id: UUID) -> StoredPlan | None:
    """The experiment as it stands at the checkpoint; None when the project has no such one."""
    return (await _read_plans(connection, project_id, [experiment_id])).get(experiment_id)


async def _read_plans(
    connection: AsyncConnection[Any], project_id: UUID, experiment_ids: list[UUID]
) -> dict[UUID, StoredPlan]:
    parameters = {"project_id": project_id, "experiment_ids": experiment_ids}
    rows = await (await connection.execute(queries("experiments")["plans"], parameters)).fetchall()
    return {experiment_id: StoredPlan(decode_plan(state), *placed) for experiment_id, state, *placed in rows}


def placed_facts(rows: list[Any]) -> list[PlacedFact]:
    """Facts of experiments among rows of position and stored fact."""
    facts = ((position, decode_fact(stored)) for position, stored in rows)
    return [PlacedFact(position, fact) for position, fact in facts if isinstance(fact, ExperimentFact)]


async def _put_plans(connection: AsyncConnection[Any], step: Step, plans: list[StoredPlan]) -> None:
    parameters = {
        "project_id": step.project_id,
        "snapshot": step.snapshot,
        "experiment_ids": [plan.state.id for plan in plans],
        "states": [msgspec.json.encode(plan.state).decode() for plan in plans],
        "window_hours": [plan.state.attribution_window_hours for plan in plans],
        "counted_after": [plan.counted_after for plan in plans],
        "started_positions": [plan.started_position for plan in plans],
        "stopped_positions": [plan.stopped_position for plan in plans],
    }
    if step.only is None:
        await connection.execute(queries("experiments")["keep_plans"], parameters)
    await connection.execute(queries("experiments")["put_plans"], parameters)


# Each with the columns of a row. Rows stand in an order that lasts: what is added comes last.
_PARTS: tuple[tuple[str, tuple[str, ...], Callable[[Experiment], list[tuple[Any, ...]]]], ...] = (
    ("planned_variants", ("variant_ids",), lambda plan: [(variant.id,) for variant in plan.variants]),
    (
        "planned_goals",
        ("goals", "kinds", "event_types", "event_names", "value_fields"),
        lambda plan: [(g.name, g.kind, g.event_type, g.event_name, g.value_field) for g in plan.goals],
    ),
    (
        "planned_epochs",
        ("epochs", "started_at"),
        lambda plan: [(epoch.number, epoch.started_at) for epoch in plan.epochs],
    ),
)


async def put_parts(
    connection: AsyncConnection[Any], project_id: UUID, plan: Experiment, before: Experiment | None
) -> None:
    """Write the variants, goals and epochs of a plan where they are not those before.

    What is only added to is not written anew: a split that is changed each hour makes thousands of epochs.
    """
    keys = {"project_id": project_id, "experiment_id": plan.id}
    for part, columns, rows_of in _PARTS:
        rows, old = rows_of(plan), rows_of(before) if before else []
        if rows[: len(old)] != old:
            await connection.execute(queries("experiments")[f"clear_{part}"], keys)
            old = []
        if added := rows[len(old) :]:
            values = dict(zip(columns, map(list, zip(*added, strict=True)), strict=True))
            await connection.execute(queries("experiments")[f"put_{part}"], {**keys, **values})
