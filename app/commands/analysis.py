"""Commands that read results, look after projections, simulate, export and plan."""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import BinaryIO
from uuid import UUID

import click
import msgspec

from app.commands.session import Connection, find_project, parse_id, with_database
from app.database import connect
from app.demo import BASELINE, TRUE_LIFT, read_demo
from app.export import Format, export_events, export_results
from app.find_results import find_results, owner_of
from app.progress import progress
from app.replays import Replays
from app.results_shape import GoalResult, Results
from app.settings import Settings
from projections import generations
from projections.catch_up import Progress
from projections.comparison import Difference
from projections.generations import ProjectStatus
from stats.not_enough_data import NotEnoughData
from stats.power import Regime, level_of_each, planned_lift, planned_size

LOOKS = {
    "fixed": "one planned look",
    "always_valid": "any looks without end, at most",
    "group_sequential": "any looks until these visitors",
}


@click.command()
@click.argument("experiment_id", metavar="EXPERIMENT")
@click.option("--as-of", help="An ISO time or a position of the log: what was known then.")
@click.option("--method", type=click.Choice(["always_valid", "group_sequential", "fixed"]), default="always_valid")
@click.option("--planned-visitors", type=click.IntRange(1), help="The horizon of group_sequential, all variants.")
@click.option("--guardrail-margin", type=click.FloatRange(0, 1, max_open=True), help="Default 0.05.")
@click.option("--json", "as_json", is_flag=True, help="The same JSON as over HTTP.")
@click.pass_obj
def results(
    settings: Settings,
    experiment_id: str,
    as_of: str | None,
    method: str,
    planned_visitors: int | None,
    guardrail_margin: float | None,
    *,
    as_json: bool,
) -> None:
    """Show the results of an experiment and what to do, now or as of any past moment."""
    if method == "group_sequential" and planned_visitors is None:
        raise click.UsageError("group_sequential needs --planned-visitors, as stated before the start")
    asked = _results_of(settings, parse_id(experiment_id), as_of, method, planned_visitors, guardrail_margin)
    found = with_database(settings, asked)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
    else:
        _print_results(found)


@click.group()
def projections() -> None:
    """What is derived from the log."""


@projections.command("status")
@click.pass_obj
def status(settings: Settings) -> None:
    """Show how far the tallies of each project are behind its log."""

    async def work(connection: Connection, _url: str) -> list[ProjectStatus]:
        return await generations.status(connection)

    for project in with_database(settings, work):
        waits = ""
        if project.waiting_since is not None and project.head > project.position:
            waits = f", for {(datetime.now(UTC) - project.waiting_since).total_seconds():.1f} s"
        click.echo(
            f"{project.project_id}  position {project.position} of {project.head}"
            f"  {project.head - project.position} behind{waits}  {project.name}"
        )


@projections.command("rebuild")
@click.pass_obj
def rebuild(settings: Settings) -> None:
    """Derive all tallies anew beside the live ones, compare, and flip."""

    async def work(connection: Connection, url: str) -> list[Difference]:
        total = sum(project.head for project in await generations.status(connection))
        done: dict[UUID, int] = {}
        async with await connect(url) as keeper:
            with progress("rebuilding", total) as advance:

                def on_progress(project_id: UUID, moved: Progress) -> None:
                    done[project_id] = moved.position
                    advance(min(total, sum(done.values())))  # more may have come meanwhile

                return await generations.rebuild(connection, keeper, on_progress, settings.archive_dir)

    differences = with_database(settings, work)
    for found in differences:
        click.echo(f"{found.project_id}  {found.table}: {found.rows} rows were different before", err=True)
    click.echo("the rebuilt tallies are live" + ("" if differences else "; they equal the ones before"))


@projections.command("verify")
@click.pass_obj
def verify(settings: Settings) -> None:
    """Derive all tallies from the log and compare; exit code 1 when they differ."""

    async def work(connection: Connection, url: str) -> list[Difference]:
        found: list[Difference] = []
        for project in await generations.status(connection):
            async with await connect(url) as replayer, await connect(url) as keeper:
                position, differences = await generations.verify(
                    replayer, keeper, project.project_id, settings.archive_dir
                )
            click.echo(
                f"{project.project_id}  position {position}"
                f"  {'differs' if differences else 'equal'}  {project.name}"
            )
            found += differences
        return found

    differences = with_database(settings, work)
    for found in differences:
        click.echo(f"{found.project_id}  {found.table}: {found.rows} rows differ", err=True)
    if differences:
        raise click.exceptions.Exit(1)


@click.command()
@click.option("--url", help="The server; default http://HOST:PORT of the settings.")
@click.option("--project", "project_id", help="Public key; default the demo's.")
@click.option("--experiment", "experiment_id", help="Default: the first one that runs.")
@click.option("--secret-key", envvar="PROOFLOG_SECRET_KEY", help="Reports orders too; default the demo's.")
@click.option("--visitors", type=click.IntRange(1, 10_000_000), default=2_000, show_default=True)
@click.option("--baseline", type=click.FloatRange(0, 1), default=BASELINE, show_default=True)
@click.option("--lift", type=click.FloatRange(-1, 10), default=TRUE_LIFT, show_default=True, help="True lift.")
@click.option("--days", type=click.FloatRange(0, 29), default=7.0, show_default=True, help="Spread over the past.")
@click.option("--seed", type=int, default=lambda: time.time_ns() % 2**31, help="Default: another one each time.")
@click.option("--quiet", is_flag=True, help="Print nothing unless it fails.")
@click.pass_obj
def simulate(
    settings: Settings,
    url: str | None,
    project_id: str | None,
    experiment_id: str | None,
    secret_key: str | None,
    visitors: int,
    baseline: float,
    lift: float,
    days: float,
    seed: int,
    *,
    quiet: bool,
) -> None:
    """Send simulated visitors with a known true lift to a running server, over HTTP."""
    from app import simulate as simulation_of  # noqa: PLC0415  (its HTTP client is slow to import)

    if project_id is None:
        demo = read_demo(settings.data_dir)
        if demo is None:
            raise click.UsageError("there is no demo here: name a project with --project")
        project_id, secret_key = str(demo.project_id), secret_key or demo.secret_key
    simulation = simulation_of.Simulation(
        url=url or f"http://{settings.host}:{settings.port}",
        project_id=project_id,
        secret_key=secret_key,
        experiment_id=experiment_id,
        visitors=visitors,
        baseline=baseline,
        lift=lift,
        days=days,
        seed=seed,
    )
    shown = _silence() if quiet else progress("simulating visitors", visitors)
    try:
        with shown as advance:
            sent = asyncio.run(simulation_of.simulate(simulation, advance))
    except simulation_of.SimulationError as error:
        raise click.ClickException(str(error)) from None
    if not quiet:
        click.echo(f"sent {visitors} visitors (seed {seed}, true lift {lift:+.1%})")
        _print_sent(sent.visitors, sent.converters)


@click.command()
@click.argument("what", type=click.Choice(["events", "results"], case_sensitive=False))
@click.option(
    "--format", "form", type=click.Choice(["csv", "ndjson", "parquet"]), default="csv", show_default=True
)
@click.option("--project", "project_name", help="Id or name, for events.")
@click.option("--experiment", "experiment_id", help="Id, for results.")
@click.option("--as-of", help="For results: a time or a position.")
@click.option("--output", "-o", type=click.File("wb"), default="-", help="Default: standard output.")
@click.pass_obj
def export(
    settings: Settings,
    what: str,
    form: Format,
    project_name: str | None,
    experiment_id: str | None,
    as_of: str | None,
    output: BinaryIO,
) -> None:
    """Export the events of a project or the results of an experiment."""
    if what == "results":
        if experiment_id is None:
            raise click.UsageError("results are of an experiment: name it with --experiment")
        found = with_database(settings, _results_of(settings, parse_id(experiment_id), as_of, "always_valid"))
        rows = export_results(found, form, output)
    else:

        async def work(connection: Connection, _url: str) -> int:
            project = await find_project(connection, project_name)
            return await export_events(connection, project.project_id, form, output, archive=settings.archive_dir)

        rows = with_database(settings, work)
    click.echo(f"exported {rows} rows", err=True)


@click.command()
@click.option(
    "--baseline",
    type=click.FloatRange(0, min_open=True),
    required=True,
    help="The control's rate; mean with --sd.",
)
@click.option("--sd", type=click.FloatRange(0, min_open=True), help="Of a visitor's value: plans for a mean.")
@click.option("--lift", type=float, help="Relative lift to find, 0.1 for +10 %.")
@click.option("--visitors", type=click.IntRange(1), help="Visitors per variant: the smallest lift they can find.")
@click.option("--per-day", type=click.FloatRange(0, min_open=True), help="Visitors a day: how long it takes.")
@click.option("--variants", type=click.IntRange(2, 20), default=2, show_default=True)
@click.option(
    "--alpha", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.05, show_default=True
)
@click.option("--power", "chance", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.8)
@click.option(
    "--method",
    type=click.Choice(["fixed", "always_valid", "group_sequential"]),
    default="fixed",
    show_default=True,
)
def power(
    baseline: float,
    sd: float | None,
    lift: float | None,
    visitors: int | None,
    per_day: float | None,
    variants: int,
    alpha: float,
    chance: float,
    method: Regime,
) -> None:
    """Say how many visitors a lift of a rate or a mean needs, or which lift visitors can find."""
    if (lift is None) == (visitors is None):
        raise click.UsageError("give either --lift or --visitors")
    level = level_of_each(alpha, variants - 1, method)
    try:
        if visitors is not None:
            found = planned_lift(baseline, sd, visitors, level, chance, method)
            if isinstance(found, NotEnoughData):
                raise click.ClickException(found.reason)
            click.echo(f"{visitors} visitors per variant find a lift of {found:+.2%} or more")
            needed = visitors
        else:
            needed = math.ceil(planned_size(baseline, sd, lift or 0.0, level, chance, method))
            shown = f"{baseline:.2%}" if sd is None else f"{baseline:g}"
            click.echo(f"a lift of {lift:+.2%} on {shown} needs {needed} visitors per variant")
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    test = "score test" if sd is None else "t test"
    click.echo(f"  (two-sided {test}, {LOOKS[method]}, alpha {alpha:g}, power {chance:.0%})")
    if per_day is not None:
        click.echo(f"  at {per_day:g} visitors a day: {math.ceil(needed * variants / per_day)} days")


def _results_of(
    settings: Settings,
    experiment_id: UUID,
    as_of: str | None,
    method: str,
    planned_visitors: int | None = None,
    guardrail_margin: float | None = None,
) -> "Callable[[Connection, str], asyncio.Future[Results]]":
    async def work(connection: Connection, url: str) -> Results:
        project_id = await owner_of(connection, experiment_id)
        if as_of is None:  # no server may be running
            await generations.catch_up_live(connection, project_id, settings.archive_dir)
        replays = Replays(lambda: connect(url), settings.archive_dir)
        try:
            return await find_results(
                lambda: contextlib.nullcontext(connection),
                replays,
                project_id,
                experiment_id,
                as_of=as_of,
                method=method,
                planned_visitors=planned_visitors,
                guardrail_margin=guardrail_margin,
            )
        finally:
            await replays.close()

    return work  # type: ignore[return-value]


def _print_results(found: Results) -> None:
    moment = f" ({found.as_of.time.isoformat(timespec='seconds')})" if found.as_of.time else ""
    click.echo(f"{found.name}: {found.status}, position {found.as_of.position}{moment}")
    if found.lag.events:
        click.echo(f"{found.lag.events} events are not counted yet")
    health = {True: "as planned", False: "NOT as planned: look into it before you decide", None: "unknown"}
    click.echo(f"split of visitors: {health[found.sample_ratio.healthy]}")
    if found.decision is not None:
        click.echo(found.decision.sentence)
        for reason in found.decision.reasons:
            click.echo(f"  {reason}")
    for goal in found.goals:
        _print_goal(found, goal)
    for row in found.unattributed:
        click.echo(f"not attributed: {row.events} events, {row.reason}")
    click.echo(found.digest)


def _print_goal(found: Results, goal: GoalResult) -> None:
    names = {variant.variant_id: variant.name for variant in found.variants}
    click.echo(f"\n{goal.name} ({goal.role}, {goal.kind})")
    for arm in goal.variants:
        rate = "–" if arm.rate is None else f"{arm.rate:.2%}"
        click.echo(f"  {names[arm.variant_id]:30} {arm.converters:>8} of {arm.visitors:>8}  {rate:>8}")
    for against in goal.comparisons:
        lift = against.relative.estimate
        told = "" if lift is None else f"{lift:+.1%}: "
        click.echo(f"  {names[against.variant_id]}: {told}{against.verdict.replace('_', ' ')}. {against.reason}")


def _print_sent(visitors: dict[str, int], converters: dict[str, int]) -> None:
    for name, sent in sorted(visitors.items()):
        click.echo(f"  {name:30} {converters[name]:>7} of {sent:>7}  {converters[name] / sent:.2%}")


@contextlib.contextmanager
def _silence() -> Iterator[Callable[[int], None]]:
    yield lambda _done: None
