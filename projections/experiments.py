"""Experiments as the other projections need them: variants, goals, epochs, folded from the facts."""

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
from projections.steps import Step

TABLES = ("experiment_plan", "experiment_fact", "planned_variant", "planned_goal", "planned_epoch")
PAST_TABLES = ("experiment_plan_past",)
STAGING: tuple[str, ...] = ()
CALLS: tuple[tuple[str, ...], ...] = ()

decode_plan = msgspec.json.Decoder(Experiment).decode


class PlacedFact(NamedTuple):
    """A fact of an experiment and its position in the log."""

    position: int
    fact: ExperimentFact


async def apply_fact(connection: AsyncConnection[Any], step: Step, position: int, stored: str) -> UUID | None:
    """Fold one fact into its experiment's plan; the experiment whose tallies it makes void, if any.

    A draft whose variants, goals or window change starts from nothing: what was counted under the
    other plan would not mean the same. Where one experiment is counted, others are known and get no variants,
    goals and epochs, so that nothing is counted for them.
    """
    fact = decode_fact(stored)
    if not isinstance(fact, ExperimentFact):
        return None
    before = await read_plan(connection, step.project_id, fact.experiment_id)
    after = experiments.evolve(before, fact)
    void = _voids(fact)
    async with connection.pipeline():
        await _put(connection, step, position, fact, after, void=void)
        if step.only is None:
            keys = {"project_id": step.project_id, "experiment_id": fact.experiment_id}
            remembered = {**keys, "position": position, "fact": stored}
            await connection.execute(queries("experiments")["put_fact"], remembered)
        if step.only in {None, fact.experiment_id}:
            await put_parts(connection, step.project_id, after)
    return fact.experiment_id if void else None


def _voids(fact: ExperimentFact) -> bool:
    return isinstance(fact, ExperimentVariantsChanged) or (
        isinstance(fact, ExperimentDetailsChanged)
        and (fact.goals is not msgspec.UNSET or fact.attribution_window_hours is not msgspec.UNSET)
    )


async def read_plan(connection: AsyncConnection[Any], project_id: UUID, experiment_id: UUID) -> Experiment | None:
    """The experiment as it stands at the checkpoint; None when the project has no such one."""
    parameters = {"project_id": project_id, "experiment_id": experiment_id}
    row = await (await connection.execute(queries("experiments")["plan"], parameters)).fetchone()
    return decode_plan(row[0]) if row else None


async def read_facts(
    connection: AsyncConnection[Any], project_id: UUID, experiment_id: UUID, until: int
) -> list[PlacedFact]:
    """The facts of one experiment up to a position, in order."""
    parameters = {"project_id": project_id, "experiment_id": experiment_id, "until": until}
    return _placed(await (await connection.execute(queries("experiments")["history"], parameters)).fetchall())


async def read_later_facts(
    connection: AsyncConnection[Any], project_id: UUID, experiment_id: UUID, after: int, until: int
) -> list[PlacedFact]:
    """The same from the log, behind the checkpoint `after`."""
    parameters = {"project_id": project_id, "experiment_id": experiment_id, "after": after, "until": until}
    return _placed(await (await connection.execute(queries("experiments")["later"], parameters)).fetchall())


def _placed(rows: list[Any]) -> list[PlacedFact]:
    facts = ((position, decode_fact(stored)) for position, stored in rows)
    return [PlacedFact(position, fact) for position, fact in facts if isinstance(fact, ExperimentFact)]


async def _put(
    connection: AsyncConnection[Any],
    step: Step,
    position: int,
    fact: ExperimentFact,
    plan: Experiment,
    *,
    void: bool,
) -> None:
    keys = {"project_id": step.project_id, "experiment_id": plan.id, "snapshot": step.snapshot}
    if step.only is None:
        await connection.execute(queries("experiments")["keep_plan"], keys)
    await connection.execute(
        queries("experiments")["put_plan"],
        {
            **keys,
            "state": msgspec.json.encode(plan).decode(),
            "window_hours": plan.attribution_window_hours,
            "position": position,
            "void": void,
            "started_position": position if isinstance(fact, ExperimentStarted) else None,
            "stopped_position": position if isinstance(fact, ExperimentStopped) else None,
        },
    )


async def put_parts(connection: AsyncConnection[Any], project_id: UUID, plan: Experiment) -> None:
    """Write the variants, goals and epochs of a plan in place of those before."""
    goals = plan.goals
    parameters = {
        "project_id": project_id,
        "experiment_id": plan.id,
        "variant_ids": [variant.id for variant in plan.variants],
        "goals": [goal.name for goal in goals],
        "kinds": [goal.kind for goal in goals],
        "event_types": [goal.event_type for goal in goals],
        "event_names": [goal.event_name for goal in goals],
        "value_fields": [goal.value_field for goal in goals],
        "epochs": [epoch.number for epoch in plan.epochs],
        "started_at": [epoch.started_at for epoch in plan.epochs],
    }
    for part in ("planned_variants", "planned_goals", "planned_epochs"):
        for change in ("clear", "put"):
            await connection.execute(queries("experiments")[f"{change}_{part}"], parameters)
