"""The processes under test: started as a person starts them, killed, paused, started again."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.faults.answers import ask

STOP_SECONDS_MAX = 40


class Service:
    """One of our commands in a process of its own."""

    def __init__(self, name: str, command: list[str], environment: Mapping[str, str], directory: Path) -> None:
        self.name = name
        self._command = command
        self._environment = {**os.environ, **environment}
        # The suite's PostgreSQL is durable: whatever other tests allow, nothing unsafe is allowed here.
        self._environment.pop("PROOFLOG_ALLOW_UNSAFE", None)
        self._log = directory / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The id of the process that was started last."""
        assert self._process is not None
        return self._process.pid

    @property
    def output(self) -> str:
        """What it has printed since the first start."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """Start it, unless it runs."""
        if self.running:
            return
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-m", *self._command],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Kill -9."""
        if self.running:
            self._signal(signal.SIGKILL)
            self._wait()

    def terminate(self) -> None:
        """Ask it to end, and wait until it has."""
        if self.running:
            self._signal(signal.SIGTERM)
            self._wait()

    def pause(self) -> None:
        """Stop it in the middle of what it does."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        if self.running:
            self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Be rid of it."""
        self.resume()
        self.kill()

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _wait(self) -> None:
        assert self._process is not None
        self._process.wait(timeout=STOP_SECONDS_MAX)


class HttpService(Service):
    """A `prooflog serve`, which answers on a port of its own."""

    def __init__(
        self, name: str, command: list[str], environment: Mapping[str, str], directory: Path, port: int
    ) -> None:
        super().__init__(name, command, {**environment, "PROOFLOG_PORT": str(port)}, directory)
        self.port = port

    async def answers(self) -> bool:
        """Whether it is ready to serve."""
        try:
            return (await ask(self.port, "GET", "/readyz", seconds_max=3)).status == 200
        except (OSError, TimeoutError, EOFError):
            return False
