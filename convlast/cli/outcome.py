"""How a command ends: with a report where it was asked for, or a reason, and an exit status.

What decided is the last line on stderr that begins with the name of the program, on success too.
`convlast.cli.codes` lists the codes and the statuses.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import typer
from pydantic import BaseModel, ConfigDict, Field, field_validator
from rich.console import Console, RenderableType
from rich.text import Text

from convlast.cli.codes import FAILED, status_of
from convlast.errors import ConvlastError, StorageFullError, VerificationError
from convlast.errors.full_disk import NO_ROOM
from convlast.report.rendering.notation import cut, printable
from convlast.stores.address import Address

if TYPE_CHECKING:
    from convlast.report import Artifact, Report
    from convlast.report.gates import Decision, Gates

_MOST_BYTES = 4_000
"""The most bytes of a message: names from a checkpoint may be as long as the file."""

_SIGNALLED = 128
"""A command that a signal ended exits with this plus the signal's number, as shells do."""


class Output(BaseModel):
    """Where the report goes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    report: tuple[Path, ...] = ()
    """Also write the report to this file; may be given more than once. Its name says which kind:
    .html for a page, .md for a merge request, .xml for a view of tests (JUnit), .sarif for code
    scanning, and .json or no ending for JSON."""

    as_json: bool = Field(default=False, alias="json")
    """Print the report as JSON on stdout, and nothing else."""

    verbose: bool = False
    """Print all layers and findings, and what ran where."""

    quiet: bool = False
    """Print nothing but errors."""

    @field_validator("report")
    @classmethod
    def _can_be_written(cls, report: tuple[Path, ...]) -> tuple[Path, ...]:
        # Checked before the work: an hour's smoke must not fail because of a misspelt folder.
        for path in report:
            if not path.parent.is_dir():
                raise ValueError(f"there is no folder '{path.parent}'")
            if path.is_dir():
                raise ValueError(f"'{path}' is a folder")
            if not os.access(path.parent, os.W_OK | os.X_OK):
                raise ValueError(f"nothing can be written to the folder '{path.parent}'")
        return report


class Statement(NamedTuple):
    """A statement on the artifact, which is made when there is a report.

    Attributes:
        path: The file that it goes to.
        make: Makes and writes it, given the report.
    """

    path: Path
    make: Callable[[Report], None]


def conclude(
    work: Callable[[], Report],
    output: Output,
    gates: Gates,
    *,
    made: Path | Address | None = None,
    statement: Statement | None = None,
    instead: str = "",
) -> None:
    """Do the work, deliver its report, and say at last what the gates decide.

    Args:
        work: Returns the report.
        output: Where the report goes.
        gates: What the report is judged by.
        made: Where the artifact goes, if the work makes one.
        statement: What is stated of the artifact, if that is wanted.
        instead: What is printed for people in place of the report.

    Raises:
        typer.Exit: With status 1, if the work did not pass its proof, if a gate does not let the
            report pass, or if a file for the report, or the statement, could not be written.
    """
    from convlast.report.gates import deciding, judge

    try:
        report = work()
    except VerificationError as error:
        _deliver(error.report, output, judge(error.report, gates))
        end(error.code, f"{error.message} {error.remedy}".rstrip())
    artifact = report.artifact if made is not None else None
    kept = _place_of(artifact, made) if made is not None and artifact is not None else None
    decisions = judge(report, gates)
    is_delivered = _deliver(report, output, decisions, kept, statement, instead)
    decided = deciding(decisions)
    if not decided.passed:
        note = f" The artifact is kept: '{kept}'." if kept is not None else ""
        end(decided.code, f"{decided.message}{note}")
    if not is_delivered:
        raise typer.Exit(FAILED)
    if not output.quiet:
        say("passed", decided.message)


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
    typer.echo(f"convlast: {code}: {cut(printable(message), _MOST_BYTES)}", err=True)
    for line in remedy.splitlines():
        typer.echo(f"  {printable(line)}", err=True)


def end(code: str, message: str, remedy: str = "") -> NoReturn:
    """End the command with the status of a code, and say why on stderr."""
    say(code, message, remedy)
    raise typer.Exit(status_of(code)) from None


def reasoned(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command end with a reason on stderr and an exit status, never with a traceback."""

    @wraps(command)
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


def _told(error: OSError) -> tuple[str, str]:
    """Return the code of a system's error, and its message."""
    code = StorageFullError.code if error.errno in NO_ROOM else "file-error"
    named = "" if error.filename is None else f"'{error.filename}': "
    return code, f"{named}{error.strerror or error}."


def _deliver(
    report: Report,
    output: Output,
    decisions: Sequence[Decision],
    kept: Path | Address | None = None,
    statement: Statement | None = None,
    instead: str = "",
) -> bool:
    """Write the report to its files, and print it; return whether all could be written.

    Args:
        report: The report.
        output: Where it goes.
        decisions: What the gates say of it.
        kept: The artifact, to be named if a file cannot be written.
        statement: What is stated of the artifact. It does not depend on who reads stdout.
        instead: What is printed for people in place of the report.
    """
    from convlast.report.saving import save

    where = f"The artifact is there: '{kept}'." if kept is not None else ""
    writes = {path: partial(save, report, path, decisions) for path in output.report}
    missing = {path: told for path, write in writes.items() if (told := _problem_of(write, where))}
    unstated = statement and _problem_of(partial(statement.make, report), where)
    try:
        if output.as_json or not output.quiet:
            rendered = _rendered(report, output, kept, instead)
            show(report, rendered, as_json=output.as_json)
    except BrokenPipeError:
        raise  # as in `reasoned`
    except OSError as error:
        end(*_told(error), where)
    for path, (message, remedy) in missing.items():
        say("report-not-written", f"There is no report '{path}': {message}", remedy)
    if statement and unstated:
        message, remedy = unstated
        say("statement-not-written", f"There is no statement '{statement.path}': {message}", remedy)
    return not (missing or unstated)


def _problem_of(write: Callable[[], None], where: str) -> tuple[str, str] | None:
    """Write a file; if that cannot be done, return why, and what to do, and what is there."""
    try:
        write()
    except ConvlastError as error:
        return error.message, f"{error.remedy}\n{where}".strip()
    except OSError as error:
        return f"{error.strerror or error}.", where
    return None


def _rendered(
    report: Report, output: Output, kept: Path | Address | None, instead: str
) -> RenderableType:
    if instead:
        return Text(printable(instead))
    from convlast.report.rendering import terminal

    place = None if kept is None else str(kept)
    return terminal.render(report, verbose=output.verbose, place=place)


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
