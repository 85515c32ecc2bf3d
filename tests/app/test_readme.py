"""The README's tour, pasted into a shell as a reader would."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.running_server import RunningServer, running_server

ROOT = Path(__file__).parents[2]


def test_the_tour_does_what_it_says(database_url, tmp_path) -> None:
    """Every line works, the purchase is counted for its variant, and position 5 does not know it yet."""
    with running_server(database_url, tmp_path / ".prooflog", "--no-demo") as server:
        told = _paste(_tour().replace("http://127.0.0.1:8000", server.url), tmp_path)
        again = _paste(_tour().replace("http://127.0.0.1:8000", server.url), tmp_path)

    lines = told.splitlines()
    results = json.loads("\n".join(lines[lines.index("{") : lines.index("}") + 1]))
    treated = results["goals"][0]["variants"][1]
    assert (treated["visitors"], treated["converters"], treated["rate"]) == (1, 1, 1.0)
    assert results["asOf"]["position"] == 6
    assert lines[-1].startswith("sha256:")
    assert lines[-1] != results["digest"]
    assert again.splitlines()[-1] != lines[-1]  # another project, other ids


def test_a_backend_reports_a_purchase_as_the_samples_show(database_url, tmp_path, monkeypatch) -> None:
    """In Python and in Node, the same order twice, and both purchases count for the visitor's variant."""
    node = shutil.which("node", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert node
    environment = {**os.environ, "PROOFLOG_DATABASE_URL": database_url, "PROOFLOG_DATA_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-m", "app", "demo"], check=True, env=environment)
    with running_server(database_url, tmp_path, "--no-demo") as server:
        monkeypatch.setenv("PROOFLOG_SECRET_KEY", server.demo["secretKey"])
        [_, arm] = server.results()["variants"]
        assignment = {"experimentId": server.demo["experimentId"], "variantId": arm["variantId"]}
        sample = {"requests": httpx, "os": os}
        exec(_block("python").replace("http://127.0.0.1:8000", server.url), sample)  # noqa: S102
        script = _block("js").replace("http://127.0.0.1:8000", server.url)
        script += f"reportPurchase({{id: 'two', amount: 5}}, 'bob', {json.dumps(assignment)})"
        for _ in range(2):
            sample["report_purchase"]({"id": "one", "amount": 2.5}, "ann", assignment)
            answer = subprocess.run(
                [node, "-e", f"{script}.then((answer) => console.log(answer.status))"],
                check=True,
                capture_output=True,
                text=True,
            )
        assert answer.stdout == "200\n"  # counted already, the first time
        deadline = time.monotonic() + 10
        while (bought := _purchases(server, arm)) != 2 and time.monotonic() < deadline:
            time.sleep(0.1)
    assert bought == 2


def test_every_page_that_is_linked_exists() -> None:
    """No link of the README or of docs/ leads nowhere."""
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def _tour() -> str:
    text = (ROOT / "README.md").read_text()
    lines = text.split("## A tour", 1)[1].split("```sh\n", 1)[1].split("```", 1)[0]
    # Whoever pastes it by hand is slower than projections; a shell on a busy machine need not be.
    return lines.replace(
        "curl -s $url/experiments/$experiment/results", "sleep 1; curl -s $url/experiments/$experiment/results", 1
    )


def _purchases(server: RunningServer, arm: dict[str, str]) -> int:
    [purchase] = [goal for goal in server.results()["goals"] if goal["name"] == "purchase"]
    [found] = [each for each in purchase["variants"] if each["variantId"] == arm["variantId"]]
    return found["conversions"]


def _block(language: str) -> str:
    return (ROOT / "README.md").read_text().split(f"```{language}\n", 1)[1].split("```", 1)[0]


def _paste(lines: str, directory: Path) -> str:
    pasted = subprocess.run(
        ["/bin/bash", "-eu"], input=lines, cwd=directory, capture_output=True, text=True, check=False, timeout=60
    )
    assert pasted.returncode == 0, pasted.stdout + pasted.stderr
    return pasted.stdout
