"""How a command ends: with a report where it was asked for, or a reason, and an exit status.

0    passed, with findings or without
1    failed or refused; the reason is on stderr
2    usage: an option does not exist, has a bad value, or does not fit the checkpoint
130  interrupted (143: terminated, 129: its terminal was closed)
"""

from __future__ import annotations

import functools
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer
from pydantic import BaseModel, ConfigDict, Field, field_validator
from rich.console import Console, RenderableType

from convlast.errors import ConvlastError, OptionError, VerificationError
from convlast.rendering import html, terminal
from convlast.rendering.notation import printable
from convlast.report import Report
from convlast.writing.workplace import write_whole

FAILED, USAGE, INTERRUPTED = 1, 2, 130

_SIGNALLED = 128
"""A command that a signal ended exits with this plus the signal's number, as shells do."""


class Output(BaseModel):
    """Where the report goes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    report: Path | None = None
    """Also write the report to this file: as a page if its name ends in .html, else as JSON."""

    as_json: bool = Field(default=False, alias="json")
    """Print the report as JSON on stdout, and nothing else."""

    quiet: bool = False
    """Print nothing but errors."""

    @field_validator("report")
    @classmethod
    def _can_be_written(cls, report: Path | None) -> Path | None:
        # Checked before the work: an hour's smoke must not fail because of a misspelt folder.
        if report is not None and not report.parent.is_dir():
            raise ValueError(f"there is no folder '{report.parent}'")
        if report is not None and report.is_dir():
            raise ValueError(f"'{report}' is a folder")
        return report


def conclude(work: Callable[[], Report], output: Output) -> None:
    """Do the work, and deliver its report, whether the verdict is good or bad.

    Raises:
        VerificationError: If the work raises it; its report has been delivered.
        typer.Exit: With status 1, if the verdict is failed.
    """
    try:
        report = work()
    except VerificationError as error:
        _deliver(error.report, output)
        raise
    _deliver(report, output)
    if report.verdict == "failed":
        errors = [found.message for found in report.findings if found.severity == "error"]
        end(FAILED, VerificationError.code, " ".join(errors) or "The verdict is failed.")


def show(model: BaseModel, rendered: RenderableType, *, as_json: bool) -> None:
    """Print a model on stdout, as JSON or as rendered for people."""
    if as_json:
        sys.stdout.buffer.write(f"{model.model_dump_json(indent=2)}\n".encode())
        sys.stdout.buffer.flush()
    else:
        Console(file=sys.stdout, markup=False, highlight=False).print(rendered, crop=False)


def end(status: int, code: str, message: str, remedy: str = "") -> NoReturn:
    """End the command, and say why on stderr."""
    typer.echo(f"convlast: {code}: {printable(message)}", err=True)
    for line in remedy.splitlines():
        typer.echo(f"  {printable(line)}", err=True)
    raise typer.Exit(status) from None


def reasoned(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command end with a reason on stderr and an exit status, never with a traceback."""

    @functools.wraps(command)
    def run(**values: object) -> None:
        try:
            with _terminable():
                command(**values)
        except OptionError as error:
            end(USAGE, error.code, error.message, error.remedy)
        except ConvlastError as error:
            end(FAILED, error.code, error.message, error.remedy)
        except BrokenPipeError:
            raise  # the reader of stdout has exited, as in `| head`
        except OSError as error:
            reason = error.strerror or str(error)
            if error.filename is None:  # a write to a full file system
                end(FAILED, "failed", f"{reason}.")
            end(FAILED, reason, f"'{error.filename}'")
        except KeyboardInterrupt:
            end(INTERRUPTED, "interrupted", "The work was stopped.")

    return run


def _deliver(report: Report, output: Output) -> None:
    if output.report is not None:
        is_page = output.report.suffix.lower() in {".html", ".htm"}
        text = html.render(report) if is_page else f"{report.model_dump_json(indent=2)}\n"
        write_whole(output.report, text.encode(), "report")
    if output.as_json or not output.quiet:
        show(report, terminal.render(report), as_json=output.as_json)


@contextmanager
def _terminable() -> Iterator[None]:
    """Unwind on SIGTERM and SIGHUP too, so that half-written files are deleted.

    A signal that is ignored stays ignored, such as SIGHUP under `nohup`.
    """

    def stop(number: int, _: object) -> None:
        sys.exit(_SIGNALLED + number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {n: found for n in numbers if (found := signal.getsignal(n)) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
