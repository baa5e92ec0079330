"""The command line: the library's verbs, with their options, for people and for scripts.

Neither `--help` nor `--version` imports torch; only running a verb does.
"""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

import convlast
from convlast import addressed
from convlast.cli import (
    comparing,
    digests,
    jobs,
    manifests,
    outcome,
    provenance,
    remote,
    statement_checks,
)
from convlast.cli import progress_bar as progress
from convlast.cli.arguments import ArtifactFile, Converted, Force, Original, Source, Target
from convlast.cli.codes import EPILOG
from convlast.cli.execution import Execution, Trust
from convlast.cli.parameters import Only, flattened
from convlast.cli.places import (
    Place,
    keep_apart,
    on_this_machine,
    place_in_store,
    place_of_artifact,
    refuse_existing,
    refuse_own_name,
)
from convlast.cli.remote import Service
from convlast.cli.usage import Commands
from convlast.options import Limits, Options
from convlast.options.keywords import INSPECTED
from convlast.report.gates import Gates
from convlast.stores.address import Address, is_address

if TYPE_CHECKING:
    from convlast.report import Report

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(jobs.app, name="jobs")
app.command(epilog=EPILOG)(comparing.compare)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"convlast {convlast.__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
]

FindingGates = Annotated[Gates, Only(("fail_on",))]
"""The gates of a command that runs nothing in fp16, and so measures no error."""


@app.callback()
def prepare(version: Version = False) -> None:
    """Convert the Conv3d weights of PyTorch checkpoints to channels_last_3d, and prove it."""
    # Set before torch is imported: torch works without numpy, and so does this library.
    warnings.filterwarnings("ignore", message="Failed to initialize NumPy")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that has no × or ✓


@app.command(epilog=EPILOG)
@outcome.reasoned
@flattened
def convert(  # noqa: PLR0913  # two places, and models of options
    source: Source,
    options: Options,
    output: outcome.Output,
    gates: Gates,
    execution: Execution,
    service: Service,
    limits: Limits,
    stated: provenance.Provenance,
    target: Target = None,
    force: Force = False,
    detach: remote.Detach = False,
) -> None:
    """Convert a checkpoint or a model folder, prove the result, and report it layer by layer."""
    gates.refuse_unmeasured(options)
    here = on_this_machine(source)
    there = None if target is None else on_this_machine(target)
    keep_apart(here, there, output.report)
    goes = _goes(here, target, options) if stated.statement is not None else None
    stating = stated.begin(here, goes, output.report, service.server)
    if detach:
        stated.refuse_to_wait()
        remote.leave(source, target, options, output, gates, service)
        return
    verb: Callable[..., Report]
    made: Path | Address
    if here is None or is_address(target or ""):
        verb, made = addressed.convert, place_in_store(target)
    elif (
        # A conversion alone measures an error, and makes what can be stated.
        (target, service.server, gates.max_error, stated.statement) == (None,) * 4
        and (report := _unchanged(here, options, output, execution, limits))
    ):
        note = (
            f"Nothing to do: a conversion to {options.memory_format} would change nothing in "
            f"'{report.input.filename}'. Nothing was written; -o OUT writes a copy, and tests it."
        )
        outcome.conclude(lambda: report, output, gates, instead=note)
        return
    else:
        if service.server is None:
            execution.refuse_unmeasurable(options)
        verb, made = convlast.convert, _place(here, there, options, output, force=force)

    place = made if isinstance(made, Path) else made.text

    def work() -> Report:
        with progress.shown_on(Console(stderr=True), quiet=output.quiet) as advance:
            if service.server is not None:
                with service.client(source) as client:
                    return client.convert(source, place, options, overwrite=force, progress=advance)
            return verb(
                here or source,
                place,
                options,
                device=execution.device,
                limits=limits,
                allow_programs=execution.allow_programs,
                architecture_prefixes=execution.prefixes(),
                progress=advance,
                overwrite=force,
            )

    statement = (
        stating.of_run(source, target, options, limits)
        if service.server is None
        else stating.of_service(service)
    )
    outcome.conclude(work, output, gates, made=made, statement=statement)


@app.command(epilog=EPILOG)
@outcome.reasoned
@flattened
def inspect(  # noqa: PLR0913  # a place, and models of options
    source: Source,
    options: Annotated[Options, Only(INSPECTED)],
    output: outcome.Output,
    gates: FindingGates,
    trust: Trust,
    service: Service,
    limits: Limits,
) -> None:
    """Report which layers could be converted; convert nothing, and need no GPU."""
    keep_apart(on_this_machine(source), None, output.report)

    def work() -> Report:
        with progress.shown_on(Console(stderr=True), quiet=output.quiet) as advance:
            if service.server is not None:
                with service.client(source) as client:
                    return client.inspect(source, options, progress=advance)
            with addressed.fetched(source, limits=limits, progress=advance) as found:
                return convlast.inspect(
                    found.as_source(),
                    options,
                    limits=limits,
                    allow_programs=trust.allow_programs,
                    progress=advance,
                )

    outcome.conclude(work, output, gates)


@app.command(epilog=EPILOG)
@outcome.reasoned
@flattened
def verify(  # noqa: PLR0913  # two inputs, and models of options
    original: Original,
    output: outcome.Output,
    gates: FindingGates,
    trust: Trust,
    limits: Limits,
    converted: Converted = None,
    statement: statement_checks.Given = None,
    key: statement_checks.Key = None,
) -> None:
    """Prove that one checkpoint, or model folder, is the other converted, and nothing else.

    With --statement: check that an artifact is the one that a statement is about.
    """
    if statement is not None:
        statement_checks.refuse_others(converted, output, gates, trust, limits)
        statement_checks.verify(original, statement, key, output, limits)
        return
    if converted is None or key is not None:
        missing = "CONVERTED" if converted is None else "--statement"
        raise typer.BadParameter(
            f"{missing} is missing: convlast verify ORIGINAL CONVERTED, or "
            "convlast verify --statement FILE ARTIFACT"
        )
    for checked in (original, converted):
        keep_apart(on_this_machine(checked), None, output.report)

    def work() -> Report:
        with (
            progress.shown_on(Console(stderr=True), quiet=output.quiet) as advance,
            addressed.fetched(original, limits=limits, progress=advance) as before,
            addressed.fetched(converted, limits=limits, progress=advance) as after,
        ):
            return convlast.verify(
                before.path,
                after.path,
                limits=limits,
                allow_programs=trust.allow_programs,
                progress=advance,
            )

    outcome.conclude(work, output, gates)


app.command(epilog=EPILOG)(outcome.reasoned(flattened(digests.digest)))


@app.command(epilog=EPILOG)
@outcome.reasoned
def report(
    artifact: ArtifactFile,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Print the manifest of a converted checkpoint: what was done to it.

    For a model folder, the manifests of all its converted checkpoints.
    """
    with (
        progress.shown_on(Console(stderr=True), quiet=not is_address(artifact)) as advance,
        addressed.fetched(artifact, progress=advance) as found,
    ):
        manifests.show(found.path, as_json=as_json)


def _place(
    source: Path, target: Path | None, options: Options, output: outcome.Output, *, force: bool
) -> Path:
    """Return where the artifact goes on this machine, or the folder for it.

    Raises:
        OptionError: If it may not go there.
    """
    place = place_of_artifact(source, target, options)
    if place is None:  # the verb will say what is wrong with the source
        return target or source.absolute().parent
    refuse_own_name(source, target, place)
    keep_apart(source, place.path, output.report)
    if not force:
        refuse_existing(place)
    return place.path


def _goes(source: Path | None, target: str | None, options: Options) -> Place | None:
    """Return where the artifact goes, if that is on this machine, and known before the work."""
    there = None if target is None else on_this_machine(target)
    if source is not None and (there is not None or target is None):
        return place_of_artifact(source, there, options)
    return None if there is None else Place(there, is_folder=False)


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
