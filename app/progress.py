"""Progress of long work: a bar on a terminal, plain lines otherwise."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

LINE_EVERY_SECONDS = 2.0


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that takes how much is done; shows rate and time left on standard error."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(title, total=total)
            yield lambda done: bar.update(task, completed=done)
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


class _Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:,.0f}/s")
