"""`convlast jobs`: the jobs of a service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import RootModel
from rich.console import Console

from convlast.cli import job_lines, outcome
from convlast.cli import progress_bar as progress
from convlast.cli.arguments import Force
from convlast.cli.parameters import Only, flattened
from convlast.cli.places import Place, keep_reports_apart
from convlast.cli.provenance import Provenance
from convlast.cli.remote import Service
from convlast.errors import OptionError, RemoteError
from convlast.jobs import JobState, JobStatus
from convlast.report.gates import Gates

if TYPE_CHECKING:
    from convlast.report import Report

app = typer.Typer(
    no_args_is_help=True,
    help="The jobs of a service: list them, show one, wait for it, fetch or cancel it.",
)

JobId = Annotated[
    str, typer.Argument(metavar="ID", help="The job's id, as `convert --detach` printed it.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
State = Annotated[
    JobState | None, typer.Option("--state", help="Only jobs in this state.", show_default=False)
]
Target = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="OUT", help="The file to write, or the folder for it."),
]


class _Jobs(RootModel[list[JobStatus]]):
    """The list, as JSON."""


@app.command("list")
@outcome.reasoned
@flattened
def list_jobs(service: Service, state: State = None, as_json: Json = False) -> None:
    """List your jobs, newest first."""
    with service.connected() as client:
        found = list(client.jobs(state))
    outcome.show(_Jobs(found), job_lines.render_list(found), as_json=as_json)


@app.command()
@outcome.reasoned
@flattened
def show(job_id: JobId, service: Service, as_json: Json = False) -> None:
    """Show the status of a job."""
    with service.connected() as client:
        job = client.job(job_id)
    outcome.show(job, job_lines.render(job), as_json=as_json)


@app.command()
@outcome.reasoned
@flattened
def wait(job_id: JobId, service: Service, as_json: Json = False, quiet: Quiet = False) -> None:
    """Wait until a job is finished, and show its progress; Ctrl-C leaves it running."""
    try:
        with (
            progress.shown_on(Console(stderr=True), quiet=quiet) as advance,
            service.connected() as client,
        ):
            job = client.wait(job_id, advance)
    except KeyboardInterrupt:
        outcome.end("interrupted", "The job goes on.", "`convlast jobs cancel` stops it.")
    if as_json or not quiet:
        outcome.show(job, job_lines.render(job), as_json=as_json)
    _refuse_unless_succeeded(job)


@app.command()
@outcome.reasoned
@flattened
def fetch(  # noqa: PLR0913  # a place, and models of options
    job_id: JobId,
    service: Service,
    output: outcome.Output,
    gates: Gates,
    stated: Annotated[Provenance, Only(("statement",))],
    target: Target = Path(),
    force: Force = False,
) -> None:
    """Write the artifact of a finished conversion, and show its report.

    Of an inspection, and of a conversion that was delivered to a store, there is only the report.
    """
    keep_reports_apart(output.report, target)
    made = Place(target, is_folder=False)
    stating = stated.begin(None, made, output.report, service.server)
    with service.connected() as client:
        job = client.job(job_id)
        is_fetched = job.verb == "convert" and job.target is None
        if job.verb == "inspect" and stated.statement is not None:
            raise OptionError(
                "statement",
                "An inspection makes no artifact, so there is nothing to state.",
                remedy="Leave out --statement.",
            )
        if not is_fetched and target != Path():
            why = f"The artifact was delivered to {job.target}."
            if job.verb == "inspect":
                why = "An inspection makes no artifact."
            raise OptionError("output", why, remedy="Leave out -o.")

        def work() -> Report:
            if not is_fetched and job.state == "succeeded":
                return client.report(job_id)
            with progress.shown_on(Console(stderr=True), quiet=output.quiet) as advance:
                return client.fetch(job_id, target, overwrite=force, progress=advance)

        place = target.absolute() if is_fetched else None
        statement = stating.of_service(service)
        outcome.conclude(work, output, gates, made=place, statement=statement)


@app.command()
@outcome.reasoned
@flattened
def cancel(job_id: JobId, service: Service, as_json: Json = False) -> None:
    """Stop a job that is queued or running; a finished one stays as it is."""
    with service.connected() as client:
        job = client.cancel(job_id)
    outcome.show(job, job_lines.render(job), as_json=as_json)


def _refuse_unless_succeeded(job: JobStatus) -> None:
    """Raise the reason of a job that has not succeeded.

    Raises:
        RemoteError: With the code of its problem; `gone` if it was cancelled.
    """
    problem = job.problem or {}
    if job.state == "cancelled":
        raise RemoteError("gone", "The job was cancelled.")
    if job.state == "failed":
        detail = problem.get("detail", "The service does not say why the job failed.")
        raise RemoteError(str(problem.get("code", "internal")), str(detail))
