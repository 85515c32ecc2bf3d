"""The demo shop: a project with a running experiment, made once and remembered in the data directory."""

import os
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from psycopg import AsyncConnection

from app.experiments import create_experiment, execute, read_experiment
from app.projects import create_project
from domain.experiment import Goal, NewExperiment, NewVariant, StartExperiment, VariantChange

ACTOR = "demo"
TRUE_LIFT = 0.25
BASELINE = 0.12
VISITORS = 4_000
PAGE = "/demo"

EXPERIMENT = NewExperiment(
    name="Clearer promise",
    type="copy",
    target_url=PAGE,
    url_match_type="starts_with",
    hypothesis="A headline that says what lasts sells more of it.",
    goals=(
        Goal(name="purchase", event_type="conversion", event_name="purchase", kind="conversion", role="primary"),
        Goal(
            name="revenue",
            event_type="conversion",
            event_name="order_paid",
            kind="value",
            value_field="amount",
            role="secondary",
        ),
        Goal(name="offer clicks", event_type="cta_click", kind="count", role="secondary"),
    ),
    variants=(
        NewVariant(name="Control", is_control=True, weight=50),
        NewVariant(
            name="Made to last",
            weight=50,
            changes=(
                VariantChange(
                    selector="#hero-title", change_type="text", value="One mug for the next twenty years"
                ),
                VariantChange(selector="#cta", change_type="text", value="Find yours"),
                VariantChange(selector="#cta", change_type="style", property="background-color", value="#b4451f"),
            ),
        ),
    ),
)


class Demo(msgspec.Struct, frozen=True, rename="camel"):
    """What the demo's pages and its simulated visitors need to know."""

    project_id: UUID
    secret_key: str
    experiment_id: UUID


async def ensure_demo(connection: AsyncConnection[Any], data_dir: Path) -> tuple[Demo, bool]:
    """The demo, and whether it was made just now."""
    known = read_demo(data_dir)
    if known is not None and await read_experiment(connection, known.project_id, known.experiment_id):
        return known, False
    project_id, secret_key = await create_project(connection, "Demo shop", actor=ACTOR)
    experiment = await create_experiment(connection, project_id, EXPERIMENT, actor=ACTOR)
    await execute(connection, project_id, experiment.id, lambda now: StartExperiment(at=now, actor=ACTOR))
    demo = Demo(project_id, secret_key, experiment.id)
    _remember(data_dir, demo)
    return demo, True


def read_demo(data_dir: Path) -> Demo | None:
    """The demo that this data directory remembers."""
    try:
        return msgspec.json.decode((data_dir / "demo.json").read_bytes(), type=Demo)
    except FileNotFoundError:
        return None


def _remember(data_dir: Path, demo: Demo) -> None:
    data_dir.mkdir(parents=True, exist_ok=True)
    # It holds a secret key, so it is its owner's only, as the admin token is.
    descriptor = os.open(data_dir / "demo.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(demo))
