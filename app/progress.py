"""Progress of long work: a bar on a terminal, plain lines otherwise."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

LINE_EVERY_SECONDS = 2.0


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that takes how much is done; shows rate and time left on standard error."""
    if sys.stderr.isatty():
        with _bar(title, total) as show:
            yield show
        return
    began = time.monotonic()
    last = began
    finished = False

    def line(done: int) -> None:
        nonlocal last, finished
        now = time.monotonic()
        if finished or (done < total and now - last < LINE_EVERY_SECONDS):
            return
        last, finished = now, done >= total
        rate = done / max(1e-9, now - began)
        left = max(0, total - done) / rate if rate else 0.0
        click.echo(f"{title}: {done} of {total}, {rate:.0f}/s, {left:.0f} s left", err=True)

    yield line


@contextmanager
def _bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console  # noqa: PLC0415  (slow to import, and servers show no bar)
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text  # noqa: PLC0415

    class Rate(ProgressColumn):
        """How many a second."""

        def render(self, task: Task) -> Text:
            return Text(f"{task.finished_speed or task.speed or 0:,.0f}/s")

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)
