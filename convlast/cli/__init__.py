"""The command line: the library's verbs, with their options, for people and for scripts.

Neither `--help` nor `--version` imports torch; only running a verb does.
"""

from __future__ import annotations

import io
import re
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, BeforeValidator, ConfigDict, field_validator
from rich.console import Console

import convlast
from convlast.cli import outcome
from convlast.cli import progress_bar as progress
from convlast.cli.parameters import flattened
from convlast.cli.places import keep_apart, place_of_artifact, refuse_existing, refuse_own_name
from convlast.cli.usage import Commands
from convlast.errors import OptionError
from convlast.options import Limits, Options
from convlast.progress import Progress
from convlast.rendering import terminal
from convlast.report import Report

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Trust(BaseModel):
    """How far the file is trusted."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    allow_programs: bool = False
    """Also open TorchScript and exported programs. Opening one can run its code."""


def _split(value: object) -> object:
    return tuple(part for part in value.split(",") if part) if isinstance(value, str) else value


class Execution(Trust):
    """Where the work is done."""

    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, or one GPU, e.g. cuda:1."""

    architecture_prefix: Annotated[tuple[str, ...], BeforeValidator(_split)] = ()
    """A module that an architecture may come from, such as mypackage.models, beside the usual ones.
    Building a model runs its code."""

    server: str | None = None
    """The address of a convlast service, e.g. http://127.0.0.1:8000, which does the work on its own
    device and within its own limits."""

    key_file: Path | None = None
    """A file with the service's bearer key."""

    @field_validator("device")
    @classmethod
    def _is_a_device(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", device):
            raise ValueError(f"{device!r} is none of auto, cpu, cuda, cuda:0, cuda:1 ...")
        return device

    @field_validator("key_file")
    @classmethod
    def _can_be_read(cls, key_file: Path | None) -> Path | None:
        if key_file is not None and not key_file.is_file():
            raise ValueError(f"there is no file '{key_file}'")
        return key_file


def _input(metavar: str, text: str) -> typer.models.ArgumentInfo:
    info: typer.models.ArgumentInfo = typer.Argument(
        metavar=metavar, help=text, exists=True, readable=True
    )
    return info


Source = Annotated[
    Path,
    _input(
        "IN",
        "The checkpoint; or a model folder, a zip or tar of one, or the index of shards. "
        "It is never changed.",
    ),
]
Original = Annotated[Path, _input("ORIGINAL", "The original checkpoint, or model folder.")]
Converted = Annotated[Path, _input("CONVERTED", "The converted one.")]
ArtifactFile = Annotated[Path, _input("ARTIFACT", "A converted checkpoint, or model folder.")]
Target = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT",
        help="The file to write, or its folder; for a model folder the folder to make. If not "
        "given: beside IN, named for the layout.",
    ),
]

Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Replace what is there already: a file, or a folder that an earlier conversion made.",
    ),
]


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"convlast {convlast.__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
]


@app.callback()
def prepare(version: Version = False) -> None:
    """Convert the Conv3d weights of PyTorch checkpoints to channels_last_3d, and prove it."""
    # Set before torch is imported: torch works without numpy, and so does this library.
    warnings.filterwarnings("ignore", message="Failed to initialize NumPy")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that has no × or ✓


@app.command()
@outcome.reasoned
@flattened
def convert(  # noqa: PLR0913  # two places, and models of options
    source: Source,
    options: Options,
    output: outcome.Output,
    execution: Execution,
    limits: Limits,
    target: Target = None,
    force: Force = False,
) -> None:
    """Convert a checkpoint or a model folder, prove the result, and report it layer by layer."""
    keep_apart(source, target, output.report)
    if target is None and (report := _unchanged(source, options, output, execution, limits)):
        note = (
            f"Nothing to do: a conversion to {options.memory_format} would change nothing in "
            f"'{report.input.filename}'. Nothing was written; -o OUT writes a copy, and tests it."
        )
        outcome.conclude(lambda: report, output, instead=note)
        return

    place = place_of_artifact(source, target, options)
    if place is not None:
        refuse_own_name(source, target, place)
        keep_apart(source, place.path, output.report)
        if not force:
            refuse_existing(place)
    path = place.path if place else target or source.absolute().parent

    def work() -> Report:
        with progress.shown_on(Console(stderr=True), quiet=output.quiet) as advance:
            if execution.server is not None:
                advance = progress.with_service(advance)
                return _convert_elsewhere(execution, source, path, options, advance)
            return convlast.convert(
                source,
                path,
                options,
                device=execution.device,
                limits=limits,
                allow_programs=execution.allow_programs,
                architecture_prefixes=_prefixes(execution),
                progress=advance,
                overwrite=force,
            )

    outcome.conclude(work, output, made=path)


@app.command()
@outcome.reasoned
@flattened
def inspect(source: Source, output: outcome.Output, trust: Trust, limits: Limits) -> None:
    """Report which layers could be converted; convert nothing, and need no GPU."""
    keep_apart(source, None, output.report)

    def work() -> Report:
        with progress.shown_on(Console(stderr=True), quiet=output.quiet) as advance:
            return convlast.inspect(
                source, limits=limits, allow_programs=trust.allow_programs, progress=advance
            )

    outcome.conclude(work, output)


@app.command()
@outcome.reasoned
@flattened
def verify(
    original: Original, converted: Converted, output: outcome.Output, trust: Trust, limits: Limits
) -> None:
    """Prove that one checkpoint, or model folder, is the other converted, and nothing else."""
    for checked in (original, converted):
        keep_apart(checked, None, output.report)

    def work() -> Report:
        with progress.shown_on(Console(stderr=True), quiet=output.quiet) as advance:
            return convlast.verify(
                original,
                converted,
                limits=limits,
                allow_programs=trust.allow_programs,
                progress=advance,
            )

    outcome.conclude(work, output)


@app.command()
@outcome.reasoned
def report(
    artifact: ArtifactFile,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Print the manifest of a converted checkpoint: what was done to it.

    For a model folder, the manifests of all its converted checkpoints.
    """
    from convlast.containers import is_folder, read_manifest

    found = read_manifest(artifact)
    if found is None and is_folder(artifact):
        _report_folder(artifact, as_json=as_json)
        return
    if found is None:
        outcome.end(
            "no-manifest",
            f"'{artifact.name}' does not say that convlast converted it.",
            "Use `convlast inspect` to see what it contains, and `convlast verify` to compare it.",
        )
    outcome.show(found, terminal.render_manifest(found), as_json=as_json)


def _report_folder(artifact: Path, *, as_json: bool) -> None:
    """Print the manifests of the files of a model folder."""
    from convlast.folders.notes import notes_in

    notes = notes_in(artifact, Limits())
    if not notes.files:
        outcome.end(
            "no-manifest",
            f"No file in '{artifact.name}' says that convlast converted it.",
            "Use `convlast inspect` to see what it contains, and `convlast verify` to compare it.",
        )
    outcome.show(notes, terminal.render_manifests(notes.files), as_json=as_json)


def _prefixes(execution: Execution) -> tuple[str, ...] | None:
    """Return the modules that an architecture may come from; None for the usual ones."""
    if not execution.architecture_prefix:
        return None
    from convlast.architectures.resolving import PREFIXES

    return (*PREFIXES, *execution.architecture_prefix)


def _unchanged(
    source: Path, options: Options, output: outcome.Output, execution: Execution, limits: Limits
) -> Report | None:
    """Return a report if a conversion would change nothing, and None otherwise."""
    from convlast.inspection import inspect_if_unchanged

    with progress.shown_on(Console(stderr=True), quiet=output.quiet) as advance:
        return inspect_if_unchanged(
            source,
            options,
            limits=limits,
            allow_programs=execution.allow_programs,
            progress=advance,
        )


def _convert_elsewhere(
    execution: Execution,
    source: Path,
    target: Path,
    options: Options,
    advance: Progress,
) -> Report:
    """Have a service convert a checkpoint, and fetch the artifact."""
    if source.is_dir():
        raise OptionError(
            "server", "A service takes a model folder as one file.", remedy="Pack it: a zip or tar."
        )
    try:
        from convlast.client import Client
    except ModuleNotFoundError:
        raise OptionError(
            "server", "--server needs the extra client.", remedy="pip install 'convlast[client]'"
        ) from None
    key = execution.key_file.read_text().strip() if execution.key_file else None
    with Client(str(execution.server), key=key) as client:
        return client.convert(source, target, options, progress=advance)
