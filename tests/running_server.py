"""A server in processes of its own, started as a person starts it."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Longer than any start takes beside other work: only one that never comes waits for it.
START_SECONDS_MAX = 120


class RunningServer:
    """A server's address, its demo, and ways to ask it."""

    def __init__(self, url: str, data_dir: Path, process: subprocess.Popen[bytes], log: Path) -> None:
        self.url = url
        self.data_dir = data_dir
        self.process = process
        self._log = log

    @property
    def output(self) -> str:
        """What it has printed until now."""
        return self._log.read_text()

    @property
    def demo(self) -> dict[str, str]:
        """The demo's project, key and experiment."""
        return json.loads((self.data_dir / "demo.json").read_text())

    def results(self, **query: str) -> dict[str, Any]:
        """The demo experiment's results, once projections have reached it."""
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        request = urllib.request.Request(
            f"{self.url}/api/analytics/experiments/{self.demo['experimentId']}/results?{asked}",
            headers={"Authorization": f"Bearer {self.demo['secretKey']}"},
        )
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as refused:
                with refused:
                    if refused.code != 503 or time.monotonic() > deadline:  # 503: not counted yet
                        raise
                time.sleep(0.05)


@contextmanager
def running_server(
    database_url: str | None, data_dir: Path, *arguments: str, ends_well: bool = True, **settings: str
) -> Iterator[RunningServer]:
    """Start `prooflog serve` on a free port; ends it by its own id, and insists that it `ends_well`."""
    environment = {**os.environ, "PROOFLOG_DATA_DIR": str(data_dir), "PROOFLOG_PORT": "0", **settings}
    if database_url is not None:
        environment["PROOFLOG_DATABASE_URL"] = database_url
    descriptor, name = tempfile.mkstemp(prefix="server-", suffix=".log")
    log = Path(name)
    with os.fdopen(descriptor, "wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "app", "serve", *arguments],
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield RunningServer(_address(process, log), data_dir, process, log)
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(timeout=30)
        if ends_well:
            assert process.returncode == 0, log.read_text()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"dashboard +(http://\S+)/dashboard\n", log.read_text()):
            return found[1]
        time.sleep(0.02)
    raise AssertionError(f"the server did not start:\n{log.read_text()}")
