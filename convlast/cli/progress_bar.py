"""The progress of long work: on stderr, and only if that is a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bars
from rich.progress import TimeElapsedColumn as Elapsed

from convlast.progress import Progress


@contextmanager
def shown_on(console: Console) -> Iterator[Progress | None]:
    """Show one bar for each stage while the block runs; they vanish at its end.

    Yields:
        The function to call as `progress(stage, done, total)`; None if this is not a terminal.
    """
    if not console.is_terminal:
        yield None
        return
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), Elapsed()
    with Bars(*columns, console=console, transient=True) as bars:
        stages: dict[str, TaskID] = {}

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = bars.add_task(stage)
            bars.update(stages[stage], completed=done, total=total)

        yield advance
