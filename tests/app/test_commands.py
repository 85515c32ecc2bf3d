"""The command line, run as a person runs it but on the test's database."""

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from app.commands import main
from app.settings import read_settings

DRAFT = {
    "name": "hero",
    "type": "copy",
    "variants": [{"name": "A", "isControl": True, "weight": 1}, {"name": "B", "weight": 1}],
}


class Shell:
    """Runs commands with an environment of the test's own."""

    def __init__(self, database_url: str, directory: Path) -> None:
        self._environment = {"PROOFLOG_DATABASE_URL": database_url, "PROOFLOG_DATA_DIR": str(directory)}
        self.directory = directory

    def run(self, *arguments: str, code: int = 0, given: str | None = None) -> Result:
        """Run a command and insist on its exit code."""
        result = CliRunner().invoke(main, arguments, env=self._environment, input=given)
        assert result.exit_code == code, result.output
        return result

    def experiment(self) -> str:
        """A started experiment in a new project."""
        self.run("project", "create", "shop")
        created = self.run("experiment", "create", "-", given=json.dumps(DRAFT)).stdout
        experiment_id = created.split()[0]
        self.run("experiment", "start", experiment_id)
        return experiment_id


@pytest.fixture
def shell(database_url, tmp_path) -> Shell:
    """A shell on a fresh database."""
    return Shell(database_url, tmp_path)


def test_every_command_explains_itself(shell) -> None:
    """--help is everywhere."""
    for words in (
        [],
        *([name] for name in main.commands),
        ["project", "create"],
        ["key", "rotate"],
        ["experiment", "create"],
        ["experiment", "stop"],
        ["projections", "rebuild"],
    ):
        assert "Usage: " in shell.run(*words, "--help").stdout


def test_wrong_usage_is_exit_code_2(shell) -> None:
    """An unknown command and a malformed id are told apart from a failure."""
    shell.run("fly", code=2)
    shell.run("results", "no-uuid", code=2)


def test_a_bad_setting_is_named() -> None:
    """A variable that cannot be read ends the command with its name."""
    result = CliRunner().invoke(main, ["project", "list"], env={"PROOFLOG_PORT": "many"})
    assert result.exit_code == 2
    assert "PROOFLOG_" in result.output


@pytest.mark.parametrize(
    ("text", "known"),
    [("", ("127.0.0.1", "::1")), ("10.0.0.0/8, ::1", ("10.0.0.0/8", "::1")), ("*", ("*",)), ("proxy", None)],
)
def test_trusted_proxies_are_addresses(text: str, known: tuple[str, ...] | None) -> None:
    """Or networks, or everybody; a name is refused, since it would be believed silently to be nobody's."""
    environment = {"PROOFLOG_TRUSTED_PROXIES": text}
    if known is None:
        with pytest.raises(ValueError, match="PROOFLOG_TRUSTED_PROXIES names proxy"):
            read_settings(environment)
    else:
        assert read_settings(environment).trusted_proxies == known


def test_a_project_is_created_listed_and_its_key_rotated(shell) -> None:
    """The secret key is shown once, and a rotation shows another one."""
    created = shell.run("project", "create", "shop", "--origin", "https://shop.example").stdout
    listed = shell.run("project", "list").stdout
    rotated = shell.run("key", "rotate", "shop").stdout

    assert listed.split()[0] in created
    assert "prooflog_sk_" in created
    assert "prooflog_sk_" in rotated
    assert rotated.split()[-1] not in created
    began = datetime.now(UTC)
    ended = shell.run("key", "rotate", "shop", "--at-once").stderr
    assert abs(datetime.fromisoformat(ended.split()[-1]) - began) < timedelta(minutes=1)


def test_users_are_added_listed_given_passwords_and_removed(shell) -> None:
    """A one-time password by default, one from standard input if wanted; refusals are told in a line."""
    shell.run("project", "create", "shop")
    shell.run("project", "create", "blog")
    added = shell.run("user", "add", "Ann", "--project", "shop", "--role", "owner")
    assert re.fullmatch(r"Ann is owner now\none-time password  ([a-z0-9]{5}-){3}[a-z0-9]{5}\n", added.stdout)
    assert "keep it" in shell.run("user", "add", "ANN", "--project", "blog").stderr
    given = "correct horse battery\n"
    shell.run("user", "add", "Bob", "--project", "shop", "--password-stdin", given=given)
    assert shell.run("user", "list").stdout.splitlines() == [
        "owner   Ann  in shop  (has not logged in yet)",
        "viewer  Bob  in shop",
        "viewer  Ann  in blog  (has not logged in yet)",
    ]
    assert "one-time password" in shell.run("user", "set-password", "bob").stdout
    set_ = shell.run("user", "set-password", "ann", "--password-stdin", given=given)
    assert set_.stdout == "the password is set\n"
    assert shell.run("user", "remove", "Ann", "--project", "shop").stdout == "Ann is removed\n"
    for arguments, given, reason in (
        (("add", "Bob", "--project", "shop"), None, "has a role here already"),
        (("add", "Eve", "--project", "shop", "--password-stdin"), "short\n", "at least 12 characters"),
        (("add", "Eve", "--project", "shop", "--password-stdin"), "", "no password on standard input"),
        (("remove", "Ann", "--project", "shop"), None, "has no such user"),
        (("set-password", "Eve"), None, "there is no user 'Eve'"),
    ):
        assert reason in shell.run("user", *arguments, code=1, given=given).output
    shell.run("log", "verify")
    shell.run("projections", "verify")


def test_an_experiment_goes_through_its_life(shell) -> None:
    """Create, start, pause, resume and stop; a forbidden step is exit code 1 with its reason."""
    experiment_id = shell.experiment()

    for step, status in (("pause", "paused"), ("resume", "running"), ("stop", "stopped")):
        assert status in shell.run("experiment", step, experiment_id).stdout
    assert "stopped" in shell.run("experiment", "start", experiment_id, code=1).output.lower()
    assert "stopped" in shell.run("experiment", "list").stdout


def test_an_invalid_experiment_is_refused_with_every_reason(shell) -> None:
    """All that is wrong with a file is told at once, with its place."""
    shell.run("project", "create", "shop")
    broken = {**DRAFT, "variants": [{"name": "A", "weight": 0}, {"name": "A", "weight": 1}]}

    told = shell.run("experiment", "create", "-", given=json.dumps(broken), code=1).output

    assert "variants[0].weight" in told
    assert "variants" in told
    assert shell.run("experiment", "create", "-", given="{", code=1)


def test_results_are_shown_for_people_and_as_json(shell) -> None:
    """Without visitors the verdict says that there is not enough data."""
    experiment_id = shell.experiment()
    shell.run("projections", "rebuild")

    told = shell.run("results", experiment_id).stdout
    data = json.loads(shell.run("results", experiment_id, "--json").stdout)

    assert "not enough data" in told
    assert data["experimentId"] == experiment_id
    assert data["goals"][0]["comparisons"][0]["verdict"] == "not_enough_data"


def test_results_of_an_unknown_experiment_are_exit_code_1(shell) -> None:
    """The refusal is the message."""
    told = shell.run("results", "00000000-0000-4000-8000-000000000000", code=1).output
    assert "no experiment" in told


def test_projections_are_verified_and_rebuilt(shell) -> None:
    """Status, verify and rebuild agree on an empty installation and on one with a log."""
    shell.experiment()

    assert "behind" in shell.run("projections", "status").stdout
    assert "the rebuilt tallies are live" in shell.run("projections", "rebuild").stdout
    assert "equal" in shell.run("projections", "verify").stdout


@pytest.mark.parametrize("form", ["csv", "ndjson", "parquet"])
def test_events_are_exported_in_order(shell, form) -> None:
    """Each format holds the same rows: project, key, experiment created and started."""
    shell.experiment()
    target = shell.directory / "events"

    shell.run("export", "events", "--format", form, "-o", str(target))

    assert [row["eventType"] for row in _read(target, form)] == [
        "project_created",
        "secret_key_issued",
        "experiment_created",
        "experiment_started",
    ]


@pytest.mark.parametrize("form", ["csv", "ndjson", "parquet"])
def test_results_are_exported_by_goal_and_variant(shell, form) -> None:
    """Each format holds a row for both variants."""
    experiment_id = shell.experiment()
    shell.run("projections", "rebuild")
    target = shell.directory / "results"

    shell.run("export", "results", "--experiment", experiment_id, "--format", form, "-o", str(target))

    assert [(row["goal"], row["variant"]) for row in _read(target, form)] == [
        ("conversion", "A"),
        ("conversion", "B"),
    ]


def test_power_answers_both_ways(shell) -> None:
    """A lift needs visitors and visitors find a lift; asking for both or neither is wrong usage."""
    assert "31234" in shell.run("power", "--baseline", "0.05", "--lift", "0.1").stdout
    assert "+10" in shell.run("power", "--baseline", "0.05", "--visitors", "31234").stdout
    shell.run("power", "--baseline", "0.05", code=2)


def test_the_demo_is_made_once(shell) -> None:
    """A second run finds what the first one made."""
    assert "made the demo" in shell.run("demo").stdout
    assert "there already" in shell.run("demo").stdout
    assert shell.run("project", "list").stdout.count("Demo shop") == 1


def test_a_simulation_without_a_server_says_so(shell) -> None:
    """The address that does not answer is named."""
    shell.run("demo")
    told = shell.run("simulate", "--url", "http://127.0.0.1:9", "--visitors", "1", code=1).output
    assert "http://127.0.0.1:9" in told


def _read(path: Path, form: str) -> list[dict]:
    if form == "parquet":
        return pq.read_table(path).to_pylist()
    text = path.read_text()
    if form == "ndjson":
        return [json.loads(line) for line in text.splitlines()]
    return list(csv.DictReader(io.StringIO(text)))


def test_the_log_is_verified(shell, database_url) -> None:
    """An intact log says so; one that was changed by hand is exit code 1 and names the positions."""
    shell.experiment()
    assert "4 events in 3 batches  intact" in shell.run("log", "verify").stdout

    with psycopg.connect(database_url) as connection:
        connection.execute("update event_log set event_type = 'else' where position = 3")

    assert "position" in shell.run("log", "verify", code=1).stdout


def test_a_log_whose_end_was_cut_off_is_noticed(shell, database_url) -> None:
    """By what was counted of it, and by the digest that somebody noted, also when the chain is made anew."""
    shell.experiment()
    shell.run("projections", "rebuild")
    digest = re.search(r"intact  ([0-9a-f]{64})  ", shell.run("log", "verify").stdout)[1]
    shell.run("log", "verify", "--noted", digest)

    with psycopg.connect(database_url) as connection:
        connection.execute("delete from event_log where position = 4")
        connection.execute("delete from log_batch where first_position = 4")
    assert "up to 4 were counted" in shell.run("log", "verify", code=1).stdout

    with psycopg.connect(database_url) as connection:
        connection.execute("update projection_2.projection_checkpoint set position = 3")
    shell.run("log", "verify")
    assert f"{digest} is the digest of no batch" in shell.run("log", "verify", "--noted", digest, code=1).stdout


def test_a_log_whose_project_was_deleted_is_still_verified(shell, database_url) -> None:
    """It is listed with what is wrong, and so is a log of which only its tallies are left."""
    shell.experiment()
    shell.run("projections", "rebuild")
    with psycopg.connect(database_url) as connection:
        connection.execute("set session_replication_role = replica")
        [(project_id,)] = connection.execute("delete from project returning project_id").fetchall()

    told = shell.run("log", "verify", code=1).stdout
    assert f"{project_id}  4 events in 3 batches" in told
    assert "its project is gone" in told

    with psycopg.connect(database_url) as connection:
        connection.execute("delete from event_log")
        connection.execute("delete from log_batch")
    assert (
        f"{project_id}  0 events in 0 batches  events up to 4 were counted"
        in shell.run("log", "verify", code=1).stdout
    )


def test_a_rebuild_that_was_interrupted_leaves_nothing_behind(shell, database_url) -> None:
    """The next rebuild drops what one that was killed had begun."""
    shell.experiment()
    with psycopg.connect(database_url) as connection:
        connection.execute("create schema projection_2; create table projection_2.goal_tally (n int)")
        connection.execute(
            "insert into projection_generation (generation, state, layout) values (2, 'building', 2)"
        )

    shell.run("projections", "rebuild")

    with psycopg.connect(database_url) as connection:
        schemas = connection.execute(
            "select nspname from pg_namespace where nspname like 'projection%'"
        ).fetchall()
        generations = connection.execute("select state from projection_generation").fetchall()
    assert len(schemas) == 1
    assert generations == [("live",)]


@pytest.mark.parametrize("words", [["project", "list"], ["migrate"], ["worker"], ["serve"]])
def test_a_data_directory_that_cannot_be_one_is_one_line(tmp_path, words) -> None:
    """No trace, exit code 1: it is a file, or below one."""
    (tmp_path / "file").touch()
    for where in (tmp_path / "file", tmp_path / "file" / "below"):
        environment = {"PROOFLOG_DATA_DIR": str(where), "PROOFLOG_DATABASE_URL": "", "PROOFLOG_PORT": "0"}
        result = CliRunner().invoke(main, words, env=environment)
        assert result.exit_code == 1
        assert f"PROOFLOG_DATA_DIR cannot be {where}" in result.output


@pytest.mark.parametrize("url", ["nonsense", "postgresql://127.0.0.1:9/none"])
def test_a_database_that_cannot_be_reached_is_one_line(tmp_path, url) -> None:
    """No trace, exit code 1."""
    for words in (["project", "list"], ["migrate"]):
        environment = {"PROOFLOG_DATABASE_URL": url, "PROOFLOG_DATA_DIR": str(tmp_path)}
        result = CliRunner().invoke(main, words, env=environment)
        assert result.exit_code == 1
        assert result.output.startswith("Error: the database does not answer")
