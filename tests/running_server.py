"""A server in processes of its own, started as a person starts it."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

START_SECONDS_MAX = 30


class RunningServer:
    """A server's address, its demo, and ways to ask it."""

    def __init__(self, url: str, data_dir: Path, process: subprocess.Popen[str], output: list[str]) -> None:
        self.url = url
        self.data_dir = data_dir
        self.process = process
        self.output = output

    @property
    def demo(self) -> dict[str, str]:
        """The demo's project, key and experiment."""
        return json.loads((self.data_dir / "demo.json").read_text())

    def results(self, **query: str) -> dict[str, Any]:
        """The demo experiment's results."""
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        request = urllib.request.Request(
            f"{self.url}/api/analytics/experiments/{self.demo['experimentId']}/results?{asked}",
            headers={"Authorization": f"Bearer {self.demo['secretKey']}"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


@contextmanager
def running_server(
    database_url: str | None, data_dir: Path, *arguments: str, **settings: str
) -> Iterator[RunningServer]:
    """Start `prooflog serve` on a free port; ends it by its own id and insists that it ends well."""
    environment = {**os.environ, "PROOFLOG_DATA_DIR": str(data_dir), "PROOFLOG_PORT": "0", **settings}
    if database_url is not None:
        environment["PROOFLOG_DATABASE_URL"] = database_url
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "app", "serve", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output: list[str] = []
    try:
        yield RunningServer(_address(process, output), data_dir, process, output)
    finally:
        if process.poll() is None:
            process.terminate()
        rest, _ = process.communicate(timeout=30)
        output += rest.splitlines()
    assert process.returncode == 0, "\n".join(output)


def _address(process: subprocess.Popen[str], output: list[str]) -> str:
    deadline = time.monotonic() + START_SECONDS_MAX
    assert process.stdout is not None
    while time.monotonic() < deadline:
        line = process.stdout.readline()
        output.append(line.rstrip())
        if "/dashboard" in line:
            return line.split()[-1].removesuffix("/dashboard")
        if not line and process.poll() is not None:
            break
    raise AssertionError("the server did not start:\n" + "\n".join(output))
