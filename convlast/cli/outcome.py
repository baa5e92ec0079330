"""How a command ends: with a report where it was asked for, or a reason, and an exit status.

The reason is on stderr. `convlast.cli.codes` lists the codes and the statuses.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

import typer
from pydantic import BaseModel, ConfigDict, Field, field_validator
from rich.console import Console, RenderableType
from rich.text import Text

from convlast.cli.codes import FAILED, status_of
from convlast.errors import ConvlastError, StorageFullError, VerificationError
from convlast.errors.full_disk import NO_ROOM
from convlast.report.rendering.notation import printable
from convlast.stores.address import Address
from convlast.writing.workplace import write_whole

if TYPE_CHECKING:
    from convlast.report import Artifact, Report

_SIGNALLED = 128
"""A command that a signal ended exits with this plus the signal's number, as shells do."""


class Output(BaseModel):
    """Where the report goes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    report: Path | None = None
    """Also write the report to this file: as a page if its name ends in .html, else as JSON."""

    as_json: bool = Field(default=False, alias="json")
    """Print the report as JSON on stdout, and nothing else."""

    fail_on: Literal["failed", "warning"] = "failed"
    """When to end with status 1: if the verdict is `failed`, or also if there is a `warning`. The
    artifact is kept then; `--on-failure` is about the verdict `failed` alone."""

    verbose: bool = False
    """Print all layers and findings, and what ran where."""

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
        if report is not None and not os.access(report.parent, os.W_OK | os.X_OK):
            raise ValueError(f"nothing can be written to the folder '{report.parent}'")
        return report


def conclude(
    work: Callable[[], Report],
    output: Output,
    *,
    made: Path | Address | None = None,
    instead: str = "",
) -> None:
    """Do the work, and deliver its report, whether the verdict is good or bad.

    Args:
        work: Returns the report.
        output: Where the report goes.
        made: Where the artifact goes, if the work makes one.
        instead: What is printed for people in place of the report.

    Raises:
        VerificationError: If the work raises it; its report has been delivered.
        typer.Exit: With status 1, if the verdict is failed, or not good enough for `--fail-on`, or
            if the file for the report could not be written.
    """
    try:
        report = work()
    except VerificationError as error:
        _deliver(error.report, output)
        raise
    artifact = report.artifact if made is not None else None
    kept = _place_of(artifact, made) if made is not None and artifact is not None else None
    is_delivered = _deliver(report, output, kept, instead)
    if report.verdict == "failed":
        errors = [found.message for found in report.findings if found.severity == "error"]
        end(VerificationError.code, " ".join(errors) or "The verdict is failed.")
    if report.verdict != "passed" and output.fail_on == "warning":
        end(
            "warnings-found",
            f"--fail-on=warning, and the report has warnings: {_warnings_of(report)}.",
            f"The artifact is kept: '{kept}'." if kept is not None else "",
        )
    if not is_delivered:
        raise typer.Exit(FAILED)


def _place_of(artifact: Artifact, made: Path | Address) -> Path | Address:
    """Return where an artifact is, given its place, or the folder that it went into."""
    if made.name == artifact.filename:
        return made
    return made / artifact.filename if isinstance(made, Path) else made.child(artifact.filename)


def show(model: BaseModel, rendered: RenderableType, *, as_json: bool) -> None:
    """Print a model on stdout, as JSON or as rendered for people."""
    if as_json:
        sys.stdout.buffer.write(f"{model.model_dump_json(indent=2)}\n".encode())
        sys.stdout.buffer.flush()
    else:
        Console(file=sys.stdout, markup=False, highlight=False).print(rendered, crop=False)


def say(code: str, message: str, remedy: str = "") -> None:
    """Say on stderr what is wrong, and what to do about it."""
    typer.echo(f"convlast: {code}: {printable(message)}", err=True)
    for line in remedy.splitlines():
        typer.echo(f"  {printable(line)}", err=True)


def end(code: str, message: str, remedy: str = "") -> NoReturn:
    """End the command with the status of a code, and say why on stderr."""
    say(code, message, remedy)
    raise typer.Exit(status_of(code)) from None


def reasoned(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command end with a reason on stderr and an exit status, never with a traceback."""

    @functools.wraps(command)
    def run(**values: object) -> None:
        try:
            with _terminable():
                command(**values)
        except ConvlastError as error:
            end(error.code, error.message, error.remedy)
        except BrokenPipeError:
            raise  # the reader of stdout has exited, as in `| head`
        except OSError as error:
            end(*_told(error))
        except KeyboardInterrupt:
            end("interrupted", "The work was stopped.")

    return run


def _warnings_of(report: Report) -> str:
    """Name the warnings by their codes, with how many of each there are."""
    counts = Counter(found.code for found in report.findings if found.severity == "warning")
    return ", ".join(f"{code} ({n:,})" if n > 1 else code for code, n in counts.items())


def _told(error: OSError) -> tuple[str, str]:
    """Return the code of a system's error, and its message."""
    code = StorageFullError.code if error.errno in NO_ROOM else "file-error"
    named = "" if error.filename is None else f"'{error.filename}': "
    return code, f"{named}{error.strerror or error}."


def _deliver(
    report: Report, output: Output, kept: Path | Address | None = None, instead: str = ""
) -> bool:
    """Write the report to its file, and print it; return whether its file could be written.

    Args:
        report: The report.
        output: Where it goes.
        kept: The artifact, to be named if the file cannot be written.
        instead: What is printed for people in its place.
    """
    problem = _write(report, output.report) if output.report is not None else ""
    where = f"The artifact is there: '{kept}'." if kept is not None else ""
    try:
        if output.as_json or not output.quiet:
            rendered = _rendered(report, output, kept, instead)
            show(report, rendered, as_json=output.as_json)
    except BrokenPipeError:
        raise  # as in `reasoned`
    except OSError as error:
        end(*_told(error), where)
    if problem:
        say("report-not-written", f"There is no report '{output.report}': {problem}", where)
    return not problem


def _rendered(
    report: Report, output: Output, kept: Path | Address | None, instead: str
) -> RenderableType:
    if instead:
        return Text(printable(instead))
    from convlast.report.rendering import terminal

    place = None if kept is None else str(kept)
    return terminal.render(report, verbose=output.verbose, place=place)


def _write(report: Report, target: Path) -> str:
    """Write a report to a file, whole or not at all; return why that cannot be done, if so."""
    from convlast.report.saving import kind_of

    text = kind_of(target)(report)
    try:
        write_whole(target, text.encode(), "report")
    except ConvlastError as error:
        return error.message
    except OSError as error:
        return f"{error.strerror or error}."
    return ""


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
