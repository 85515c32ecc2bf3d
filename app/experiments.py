"""Experiments: commands decided against the present state, their facts appended with it in one commit."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID, uuid4

import cssselect2
import msgspec
from psycopg import AsyncConnection

from app.script import sanitize_html
from domain import refusals
from domain.events import ExperimentFact
from domain.experiment import (
    ChangeExperiment,
    Command,
    CreateExperiment,
    Experiment,
    ExperimentPatch,
    NewExperiment,
    Variant,
    VariantChange,
    decide,
    evolve,
    ids_wanted,
    selectors,
)
from domain.plan import ExperimentStatus
from domain.refusals import FieldError
from domain.validation import SELECTOR_CHARS_MAX, VALUE_CHARS_MAX
from projections.event_log import append_facts
from projections.queries import queries

_TRIES_MAX = 10
_Body = TypeVar("_Body", NewExperiment, ExperimentPatch)

_decode = msgspec.json.Decoder(Experiment).decode


async def create_experiment(
    connection: AsyncConnection[Any],
    project_id: UUID,
    body: NewExperiment,
    *,
    actor: str,
    errors: Sequence[FieldError] = (),
) -> Experiment:
    """A new draft; raises InvalidExperiment with everything wrong with it, and the `errors` of who read it."""
    # Takes a while for large bodies, and holds up nobody in a thread.
    command = await asyncio.to_thread(_creation, body, actor, errors)
    return await execute(connection, project_id, command.experiment_id, lambda _now: command)


def checked(body: NewExperiment, errors: Sequence[FieldError] = ()) -> tuple[NewExperiment, list[FieldError]]:
    """A body as it would be stored, and all that would be refused of it; takes a while for large ones."""
    command = _creation(body, "nobody", errors)
    try:
        decide(command, None)
    except refusals.InvalidExperiment as refusal:
        return command.body, refusal.errors
    return command.body, []


async def change_experiment(
    connection: AsyncConnection[Any],
    project_id: UUID,
    experiment_id: UUID,
    patch: ExperimentPatch,
    *,
    actor: str,
    errors: Sequence[FieldError] = (),
    version: int | None = None,
) -> Experiment:
    """Change what the patch sets; a started experiment keeps its variants, goals and page.

    With the `version` that the patch was made for, ExperimentChanged when it is another one by now.
    """
    patch = await asyncio.to_thread(_sanitized, patch)
    new_ids = tuple(uuid4() for _ in range(ids_wanted(patch)))
    problems = (*errors, *await asyncio.to_thread(_selector_problems, patch))

    def command(now: datetime) -> ChangeExperiment:
        return ChangeExperiment(patch=patch, at=now, actor=actor, new_ids=new_ids, problems=problems)

    return await execute(connection, project_id, experiment_id, command, version=version)


async def execute(
    connection: AsyncConnection[Any],
    project_id: UUID,
    experiment_id: UUID,
    command: Callable[[datetime], Command],
    *,
    version: int | None = None,
) -> Experiment:
    """Decide a command and append its facts; decided anew when somebody else was faster.

    Raises the Refusal that the decision names, ExperimentChanged when it was to change another `version`.
    """
    for _ in range(_TRIES_MAX):
        now = datetime.now(UTC)
        async with connection.transaction():
            before = await read_experiment(connection, project_id, experiment_id)
            if version is not None and before is not None and before.version != version:
                raise refusals.ExperimentChanged
            facts = decide(command(now), before)
            if not facts:
                return _existing(before)
            after = _fold(before, facts)
            if await _put(connection, project_id, before, after):
                await append_facts(connection, project_id, facts, now)
                return after
    raise RuntimeError(f"experiment {experiment_id} changes faster than a command can be decided")


async def read_experiment(
    connection: AsyncConnection[Any], project_id: UUID, experiment_id: UUID
) -> Experiment | None:
    """One experiment as it stands now."""
    parameters = {"project_id": project_id, "experiment_id": experiment_id}
    row = await (await connection.execute(queries("projects")["experiment"], parameters)).fetchone()
    return _decode(row[1]) if row else None


async def read_experiments(
    connection: AsyncConnection[Any], project_id: UUID, *, running_only: bool = False
) -> list[Experiment]:
    """A project's experiments; the running ones in a lasting order, all of them newest change first."""
    query = queries("projects")["running_experiments" if running_only else "experiments"]
    rows = await (await connection.execute(query, {"project_id": project_id})).fetchall()
    return [_decode(state) for (state,) in rows]


async def count_experiments(
    connection: AsyncConnection[Any],
) -> dict[UUID, dict[ExperimentStatus, tuple[int, datetime]]]:
    """How many experiments each project has in each status, with the latest change of one."""
    rows = await (await connection.execute(queries("projects")["experiment_counts"])).fetchall()
    counted: dict[UUID, dict[ExperimentStatus, tuple[int, datetime]]] = {}
    for project_id, status, count, changed_at in rows:
        counted.setdefault(project_id, {})[status] = (count, changed_at)
    return counted


def documented(experiment: Experiment) -> dict[str, Any]:
    """An experiment in the shape of the reference, and nothing else."""
    return {
        "id": str(experiment.id),
        "name": experiment.name,
        "type": experiment.type,
        "targetUrl": experiment.target_url,
        "urlMatchType": experiment.url_match_type,
        "trafficPercentage": experiment.traffic_percentage,
        "variants": [_documented_variant(variant) for variant in experiment.variants],
    }


def _documented_variant(variant: Variant) -> dict[str, Any]:
    return {
        "id": str(variant.id),
        "name": variant.name,
        "isControl": variant.is_control,
        "weight": variant.weight,
        # Once more: open pages take changes from here, and what was written is cleaned by the list of today.
        "changes": [msgspec.to_builtins(_sanitized_change(change)) for change in variant.changes],
    }


def _creation(body: NewExperiment, actor: str, errors: Sequence[FieldError]) -> CreateExperiment:
    body = _sanitized(body)
    return CreateExperiment(
        experiment_id=uuid4(),
        variant_ids=tuple(uuid4() for _ in body.variants),
        body=body,
        at=datetime.now(UTC),
        actor=actor,
        problems=(*errors, *_selector_problems(body)),
    )


async def _put(
    connection: AsyncConnection[Any], project_id: UUID, before: Experiment | None, after: Experiment
) -> bool:
    query = queries("projects")["add_experiment" if before is None else "change_experiment"]
    cursor = await connection.execute(
        query,
        {
            "project_id": project_id,
            "experiment_id": after.id,
            "version": after.version,
            "expected": before.version if before else 0,
            "status": after.status,
            "changed_at": after.changed_at,
            "state": msgspec.json.encode(after).decode(),
        },
    )
    return cursor.rowcount == 1


def _fold(before: Experiment | None, facts: list[ExperimentFact]) -> Experiment:
    state = before
    for fact in facts:
        state = evolve(state, fact)
    return _existing(state)


def _existing(experiment: Experiment | None) -> Experiment:
    if experiment is None:
        raise refusals.ExperimentNotFound
    return experiment


def _selector_problems(body: NewExperiment | ExperimentPatch) -> tuple[FieldError, ...]:
    problems = []
    for path, selector in selectors(body):
        if not selector.strip() or len(selector) > SELECTOR_CHARS_MAX:
            continue  # refused for that, without the time that a long one would take
        try:
            cssselect2.compile_selector_list(selector)
        except cssselect2.SelectorError as error:
            why = " ".join(part for part in error.args if isinstance(part, str))
            problems.append(FieldError(path=path, reason=f"is not a CSS selector: {why}"))
        except Exception:  # noqa: BLE001  (the parser stumbles over deep nesting and over `:nth-child(2n+)`)
            problems.append(FieldError(path=path, reason="is not a CSS selector that can be read"))
    return tuple(problems)


def _sanitized(body: _Body) -> _Body:
    if not body.variants:
        return body
    variants = tuple(
        msgspec.structs.replace(variant, changes=tuple(_sanitized_change(change) for change in variant.changes))
        if variant.changes
        else variant
        for variant in body.variants
    )
    return msgspec.structs.replace(body, variants=variants)


def _sanitized_change(change: VariantChange) -> VariantChange:
    if change.change_type != "html" or len(change.value) > VALUE_CHARS_MAX:
        return change  # what is too long is refused, and never cleaned: that takes quadratic time
    return msgspec.structs.replace(change, value=sanitize_html(change.value))
