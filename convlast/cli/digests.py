"""`convlast digest`: a list of digests of tensors, its root, or the check of a file against one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from pydantic import BaseModel, ConfigDict, Field, field_validator
from rich.console import Console

import convlast
from convlast import addressed
from convlast.cli import outcome
from convlast.cli import progress_bar as progress
from convlast.cli.arguments import Source, is_file_or_pipe
from convlast.cli.execution import Trust
from convlast.options import Limits
from convlast.report.rendering.notation import printable

if TYPE_CHECKING:
    from convlast.digests.checking import Changed, Check
    from convlast.digests.listing import Digests


class Shown(BaseModel):
    """What is printed."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    root: bool = False
    """Print the root alone: the SHA-256 of the list."""

    as_json: bool = Field(default=False, alias="json")
    """Print JSON on stdout, and nothing else."""

    check: Path | None = None
    """Print no list, but whether each tensor is what this list says. One that changed, is missing
    or is new is named, and ends the command with status 1."""

    quiet: bool = False
    """With --check, do not print which tensors are as they were; else nothing but the list."""

    @field_validator("check")
    @classmethod
    def _is_a_file(cls, check: Path | None) -> Path | None:
        if check is not None and not is_file_or_pipe(check):  # before the work, which may take long
            raise ValueError(f"there is no file '{check}'")
        return check


def digest(source: Source, shown: Shown, trust: Trust, limits: Limits) -> None:
    """Print a digest of each tensor that does not depend on its layout, as sha256sum does."""
    from convlast.digests.checking import check
    from convlast.digests.listing import read_list

    if shown.check is not None and shown.root:
        raise typer.BadParameter("it goes without --check", param_hint="'--root'")
    listed = None if shown.check is None else read_list(shown.check)
    with (
        progress.shown_on(Console(stderr=True), quiet=shown.quiet) as advance,
        addressed.fetched(source, limits=limits, progress=advance) as file,
    ):
        found = convlast.digest(
            file.path, limits=limits, allow_programs=trust.allow_programs, progress=advance
        )
    if listed is None:
        show(found, shown)
    else:
        show_check(check(listed, found), shown)


def show(found: Digests, shown: Shown) -> None:
    """Print digests."""
    if shown.as_json:
        left_out = {"tensors"} if shown.root else None
        _print(f"{found.model_dump_json(indent=2, exclude=left_out)}\n")
    else:
        _print(f"{found.root}\n" if shown.root else found.text)
    if not shown.quiet:
        _name("not opened, and so not in the list", found.not_opened)


def show_check(found: Check, shown: Shown) -> None:
    """Print what came of a check.

    Raises:
        typer.Exit: With status 1, if anything differs.
    """
    if shown.as_json:
        _print(f"{found.model_dump_json(indent=2)}\n")
    else:
        states = {} if shown.quiet else dict.fromkeys(found.same, "OK")
        states |= {each.label: f"FAILED{_other_kind(each)}" for each in found.changed}
        states |= dict.fromkeys(found.missing, "MISSING") | dict.fromkeys(found.new, "NEW")
        _print("".join(f"{label}: {states[label]}\n" for label in sorted(states)))
    _name("not opened, and so not checked", found.not_opened)
    if not found.passed:
        outcome.end(
            "tensors-differ",
            f"{len(found.changed):,} tensors changed, {len(found.missing):,} are missing, "
            f"{len(found.new):,} are new; {len(found.same):,} are as they were.",
        )
    if not shown.quiet:
        outcome.say("passed", f"All {len(found.same):,} tensors are what the list says.")


def _other_kind(changed: Changed) -> str:
    """Say how the dtype or the shape changed, if one of them did."""
    listed, found = (
        ", ".join(f"{each.dtype} [{','.join(map(str, each.shape))}]" for each in side)
        for side in (changed.listed, changed.found)
    )
    return "" if listed == found else f" ({listed} became {found})"


def _name(what: str, files: tuple[str, ...]) -> None:
    """Name files on stderr."""
    for name in files:
        typer.echo(printable(f"convlast: {what}: '{name}'"), err=True)


def _print(text: str) -> None:
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()
