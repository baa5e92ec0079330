"""The progress of long work, on stderr: bars on a terminal, else one line for each stage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, ProgressColumn, Task, TaskID
from rich.progress import Progress as Bars
from rich.progress import TaskProgressColumn as Percentage
from rich.progress import TextColumn as Text
from rich.progress import TimeElapsedColumn as Elapsed
from rich.progress import TimeRemainingColumn as Remaining
from rich.progress import TransferSpeedColumn as Speed
from rich.text import Text as Words

from convlast.progress import IN_BYTES, Progress, silent
from convlast.report.rendering.notation import duration, size

SERVICE = "service"
"""The stage between an upload and its answer: the service works, and does not say how far it is."""

_OUTER = "files"
"""The stage of a model folder, within which its files have stages of their own."""


@contextmanager
def shown_on(console: Console, *, quiet: bool = False) -> Iterator[Progress]:
    """Show how far each stage is while the block runs.

    On a terminal each stage has a bar, and all bars vanish at the end. Elsewhere each stage has one
    line, when it ends.

    Args:
        console: Where to show it.
        quiet: Whether to show nothing.

    Yields:
        The function to call as `progress(stage, done, total)`.
    """
    if quiet:
        yield silent
    elif console.is_terminal:
        columns = Text("{task.description}"), BarColumn(bar_width=20), Percentage(), Elapsed()
        in_bytes = _InBytes(DownloadColumn()), _InBytes(Speed()), _InBytes(Remaining(), "left")
        with Bars(*columns, *in_bytes, console=console, transient=True) as bars:
            yield _Bars(bars)
    else:
        yield _Lines(console)


@contextmanager
def with_service(progress: Progress) -> Iterator[Progress]:
    """Add the stage of the service, which begins when the upload ends, and ends with its answer."""
    is_working = False

    def advance(stage: str, done: int, total: int) -> None:
        nonlocal is_working
        if is_working:
            is_working = False
            progress(SERVICE, 1, 1)
        progress(stage, done, total)
        if stage == "upload" and done >= total:
            is_working = True
            progress(SERVICE, 0, 1)

    yield advance
    if is_working:
        progress(SERVICE, 1, 1)


class _InBytes(ProgressColumn):
    """A column that is empty for a stage that counts no bytes."""

    def __init__(self, column: DownloadColumn | Speed | Remaining, unit: str = "") -> None:
        super().__init__()
        self._column, self._unit = column, unit

    def render(self, task: Task) -> Words:
        """Render the column, with its unit."""
        if task.description not in IN_BYTES:
            return Words()
        return self._column.render(task).append(f" {self._unit}" if self._unit else "")


class _Bars:
    """A bar for each stage; a stage that begins again begins at nothing."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._done: dict[str, int] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        # Of a single step nothing is known until it ends: the bar moves to and fro.
        shown = None if (done, total) == (0, 1) else total
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=shown)
        elif done < self._done[stage]:
            self._bars.reset(self._tasks[stage], total=shown)
        self._done[stage] = done
        self._bars.update(self._tasks[stage], completed=done, total=shown)


class _Lines:
    """A line for each stage that ends; the stages of a folder's files have none."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began_s: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if done < total:
            self._began_s.setdefault(stage, perf_counter())
            return
        began_s = self._began_s.pop(stage, None)
        if began_s is None or _OUTER in self._began_s:
            return
        words = f"{stage}: {duration(perf_counter() - began_s)}"
        if stage in IN_BYTES:
            words += f", {size(total)}"
        self._console.print(words, markup=False, highlight=False, soft_wrap=True)
