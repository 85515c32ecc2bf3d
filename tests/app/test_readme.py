"""The README's tour, pasted into a shell as a reader would."""

import json
import re
import subprocess
from pathlib import Path

from tests.running_server import running_server

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


def test_every_page_that_is_linked_exists() -> None:
    """No link of the README or of docs/ leads nowhere."""
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def _tour() -> str:
    text = (ROOT / "README.md").read_text()
    return text.split("## A tour", 1)[1].split("```sh\n", 1)[1].split("```", 1)[0]


def _paste(lines: str, directory: Path) -> str:
    pasted = subprocess.run(
        ["/bin/bash", "-eu"], input=lines, cwd=directory, capture_output=True, text=True, check=False, timeout=60
    )
    assert pasted.returncode == 0, pasted.stdout + pasted.stderr
    return pasted.stdout
