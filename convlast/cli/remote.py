"""A service that does the work in place of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import BaseModel, ConfigDict, field_validator
from rich.console import Console

from convlast.cli import progress_bar as progress
from convlast.errors import OptionError
from convlast.options import Options
from convlast.report.gates import Gates
from convlast.stores.address import is_address

if TYPE_CHECKING:
    from convlast.cli.outcome import Output
    from convlast.client import Client

Detach = Annotated[
    bool,
    typer.Option(
        "--detach",
        help="Leave the work to the service of --server: print the id of the job, and end. "
        "`convlast jobs` waits for it and fetches the artifact.",
    ),
]


class Service(BaseModel):
    """The service that does the work, if one does."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    server: str | None = None
    """The address of a convlast service, e.g. http://127.0.0.1:8000, which does the work on its own
    device and within its own limits. What is in a store it fetches and delivers itself."""

    key_file: Path | None = None
    """A file with the service's bearer key."""

    @field_validator("key_file")
    @classmethod
    def _can_be_read(cls, key_file: Path | None) -> Path | None:
        if key_file is not None and not key_file.is_file():
            raise ValueError(f"there is no file '{key_file}'")
        return key_file

    def client(self, source: str) -> Client:
        """Return a client, which is not connected yet.

        Raises:
            OptionError: If the source is a folder, or the client is not installed.
        """
        if Path(source).is_dir():
            raise OptionError(
                "server",
                "A service takes a model folder as one file.",
                remedy="Pack it: a zip or tar; or name its address, if it is in a store.",
            )
        return self.connected()

    def connected(self) -> Client:
        """Return a client, which is not connected yet.

        Raises:
            OptionError: If no service was named, or the client is not installed.
        """
        if self.server is None:
            raise OptionError("server", "No service was named.", remedy="Name it: --server URL.")
        try:
            from convlast.client import Client
        except ModuleNotFoundError:
            raise OptionError(
                "server",
                "--server needs the extra client.",
                remedy="pip install anyio httpx",
            ) from None
        key = self.key_file.read_text().strip() if self.key_file else None
        return Client(self.server, key=key)


def leave(
    source: str,
    target: str | None,
    options: Options,
    output: Output,
    gates: Gates,
    service: Service,
) -> None:
    """Submit a conversion, and print the id of its job; do not wait for it.

    Raises:
        OptionError: If no service was named, or the result was to come here, or to be judged here.
        RemoteError: If the service refuses, or does not answer.
    """
    comes_here = target is not None and not is_address(target)
    if comes_here or output.report or output.as_json or gates != Gates():
        raise OptionError(
            "detach",
            "--detach does not wait for the result, so -o, --report, --json, --fail-on and "
            "--max-error have nothing to work on.",
            remedy="Give them to `convlast jobs fetch`.",
        )
    with (
        progress.shown_on(Console(stderr=True), quiet=output.quiet) as advance,
        service.client(source) as client,
    ):
        job = client.submit(source, options, target=target, progress=advance)
    typer.echo(job.id)
