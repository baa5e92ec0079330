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

_QUEUE = "queue"
"""The stage of a job that waits in a service; what is left of it is the job's place."""

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
        columns = Text("{task.description}"), BarColumn(bar_width=20), _Share(), Elapsed()
        in_bytes = _InBytes(DownloadColumn()), _InBytes(Speed()), _InBytes(Remaining(), "left")
        with Bars(*columns, *in_bytes, console=console, transient=True) as bars:
            yield _Bars(bars)
    else:
        yield _Lines(console)


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


class _Share(Percentage):
    """The percentage of a stage; in a queue the place, where 1 is next."""

    def render(self, task: Task) -> Words:
        """Render the column."""
        place = int((task.total or 1) - task.completed)
        if task.description == _QUEUE and place > 0:
            return Words(f"place {place}", style="progress.percentage")
        return super().render(task)


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
