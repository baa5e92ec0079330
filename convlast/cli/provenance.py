"""`--statement`: what a conversion states of its artifact, and whether an artifact still is so."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import BaseModel, ConfigDict, field_validator
from rich.console import Console, Group
from rich.text import Text

from convlast.addressed import fetched
from convlast.cli import progress_bar as progress
from convlast.cli.arguments import readable_file
from convlast.cli.outcome import Output, show
from convlast.cli.places import Place
from convlast.cli.statement_places import keep_statement_apart, refuse_to_replace
from convlast.errors import ConvlastError, OptionError, RemoteError
from convlast.options import Limits, Options
from convlast.progress import Progress
from convlast.report.rendering.notation import printable
from convlast.report.sections import as_text
from convlast.stores.address import Address, is_address
from convlast.writing.workplace import write_whole

if TYPE_CHECKING:
    from convlast.client import Client
    from convlast.provenance.signing import PrivateKey
    from convlast.report import Report

Given = Annotated[
    Path | None,
    typer.Option(
        "--statement",
        metavar="FILE",
        help="Check ORIGINAL, which is an artifact then, against this statement, byte for byte; "
        "there is no CONVERTED.",
        parser=readable_file,
    ),
]
Key = Annotated[
    Path | None,
    typer.Option(
        "--key",
        metavar="FILE",
        help="The public key in PEM that the statement has to be signed with. Without it only the "
        "files are checked.",
        parser=readable_file,
    ),
]


class Provenance(BaseModel):
    """Where the statement on the artifact goes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    statement: Path | None = None
    """Also write a statement to this file: what the artifact was made of, and by what (in-toto,
    SLSA provenance). With --server it is the service's, signed if the service has a key."""

    signing_key: Path | None = None
    """Sign the statement with this private key: Ed25519 or ECDSA P-256, PEM, closed to others."""

    @field_validator("statement")
    @classmethod
    def _can_be_written(cls, statement: Path | None) -> Path | None:
        # Checked before the work, as that of the report.
        if statement is None:
            return None
        if not statement.parent.is_dir():
            raise ValueError(f"there is no folder '{statement.parent}'")
        if statement.is_dir():
            raise ValueError(f"'{statement}' is a folder")
        if not os.access(statement.parent, os.W_OK | os.X_OK):
            raise ValueError(f"nothing can be written to the folder '{statement.parent}'")
        return statement

    def refuse_to_wait(self) -> None:
        """Refuse a statement where nobody waits for the artifact.

        Raises:
            OptionError: If one is wanted.
        """
        if self.statement is not None:
            raise OptionError(
                "detach",
                "--detach does not wait for the result, so there is nothing to state yet.",
                remedy="Give --statement to `convlast jobs fetch`.",
            )

    def begin(
        self,
        source: Path | None,
        made: Place | None,
        reports: Sequence[Path],
        server: str | None,
    ) -> Stating:
        """Read the key and check the place, before the work.

        Args:
            source: The input, if it is on this machine.
            made: Where the artifact goes, if that is known and on this machine.
            reports: The files that the report goes to.
            server: The service that does the work, if one does.

        Raises:
            OptionError: If the statement cannot be signed, or written there, or the key would be
                replaced.
        """
        if self.statement is None and self.signing_key is not None:
            raise OptionError(
                "signing_key", "There is nothing to sign.", remedy="Name a file: --statement FILE."
            )
        if self.statement is None:
            return Stating()
        keep_statement_apart(self.statement, self.signing_key, source, made, reports)
        refuse_to_replace(self.statement)
        if self.signing_key is None:
            return Stating(self.statement)
        if server is not None:
            raise OptionError(
                "signing_key",
                "A service signs its statements itself, with a key of its own.",
                remedy="Leave --signing-key out, and set CONVLAST_SIGNING_KEY_FILE at the service.",
            )
        from convlast.provenance.signing import read_private_key

        return Stating(self.statement, read_private_key(self.signing_key))


class Stating:
    """Writes the statement on one conversion, if one is wanted."""

    def __init__(self, path: Path | None = None, key: PrivateKey | None = None) -> None:
        self._path, self._key = path, key
        self._started_at = time.time()

    def write(
        self, report: Report, source: str, target: str | None, options: Options, limits: Limits
    ) -> None:
        """State what this machine has done.

        Args:
            report: The report on it.
            source: What was given.
            target: Where the artifact was to go.
            options: What was asked for.
            limits: What the file was allowed to cost.

        Raises:
            ConvlastError: If the file cannot be written; the artifact is there.
        """
        from convlast.provenance import statement

        if self._path is None or report.artifact is None:
            return
        run = statement.Run(
            builder=statement.COMMAND_LINE,
            source=_shown(source),
            target=_shown(target) if target and is_address(target) else None,
            options=options,
            limits=limits,
            environment=report.environment,
            started_at=self._started_at,
            finished_at=time.time(),
        )
        text = statement.text_of(statement.of_report(report, run))
        self._keep(self._key.sign(text).text() if self._key else text, self._path)

    def fetch(self, client: Client, report: Report) -> None:
        """Write what a service states of the conversion that a report is about.

        Raises:
            RemoteError: If it states nothing.
            ConvlastError: If the file cannot be written; the artifact is there.
        """
        if self._path is None:
            return
        if report.job_id is None:
            raise RemoteError("not-found", "The service is too old to make statements.")
        self._keep(client.provenance(report.job_id), self._path)

    def _keep(self, text: bytes, path: Path) -> None:
        try:
            refuse_to_replace(path)  # the artifact may be there now
            write_whole(path, text, "statement")
        except ConvlastError as error:
            error.add("The artifact was made.")
            raise


class Checked(BaseModel):
    """An artifact that is as its statement says."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    statement: str
    """The file of the statement."""
    signed_with: str | None
    """The id of the key that has signed it; null if no signature was checked."""
    files: dict[str, str]
    """The SHA-256 of each file, by its name."""
    made_of: dict[str, str]
    """The SHA-256 of each file that it was made of, as the statement says."""

    def rendered(self) -> Group:
        """Return it as lines for people."""
        lines = [f"✓ {name}: the bytes that the statement is about" for name in self.files]
        if len(lines) > 1:
            lines = [f"✓ {len(self.files):,} files: the bytes that the statement is about"]
        lines.append(
            f"✓ The statement is signed with the key {self.signed_with}."
            if self.signed_with
            else "! The signature was not checked: name the public key with --key."
        )
        given = list(self.made_of.items())
        if len(given) == 1:
            lines.append("– It says: made of {}, SHA-256 {}.".format(*given[0]))
        whole = partial(Text, no_wrap=True, overflow="ignore")  # so that a digest can be copied
        return Group(*(whole(printable(line)) for line in lines))


def _checked(artifact: Path, given: Path, key: Path | None, advance: Progress) -> Checked:
    """Check an artifact against a statement, and this against a key, if one is named.

    Raises:
        OptionError: If the key cannot be used.
        ProvenanceError: If the statement does not hold.
        OSError: If a file cannot be read.
    """
    from convlast.errors import SignatureError
    from convlast.provenance import checking, reading
    from convlast.provenance.envelope import Envelope

    found, keyid = reading.read_file(given), None
    if key is not None:
        from convlast.provenance.signing import read_public_key

        public = read_public_key(key)
        if not isinstance(found, Envelope):
            raise SignatureError(
                f"'{given}' is a statement that nobody has signed.",
                keyid=public.keyid,
                remedy="Give the envelope: provenance.dsse.json, or what --signing-key made.",
            )
        public.require_signed(found)
        keyid = public.keyid
    statement = reading.parse(found.payload if isinstance(found, Envelope) else found)
    files = checking.check(artifact, statement, besides=given, progress=advance)
    return Checked(
        statement=as_text(str(given)),
        signed_with=keyid,
        files=files,
        made_of=dict(statement.dependencies),
    )


def verify(
    artifact: str, other: str | None, statement: Path, key: Path | None, output: Output
) -> None:
    """Check an artifact against a statement, and print the result; this needs no torch.

    Args:
        artifact: The artifact, or its address.
        other: Another argument, which must not be there.
        statement: The statement, or the envelope that it is in.
        key: The public key that it has to be signed with, if it has to.
        output: What to print.

    Raises:
        typer.BadParameter: If an argument or an option does not belong there.
        ConvlastError: If the statement does not hold, or something cannot be read.
    """
    if other is not None or output.report:
        odd = "--report" if output.report else f"'{other}'"
        raise typer.BadParameter(f"with --statement there is no {odd}")
    with (
        progress.shown_on(Console(stderr=True), quiet=output.quiet) as advance,
        fetched(artifact, progress=advance) as found,
    ):
        checked = _checked(found.path, statement, key, advance)
    if output.as_json or not output.quiet:
        show(checked, checked.rendered(), as_json=output.as_json)


def _shown(named: str) -> str:
    """Return a name as others may see it: an address without its query, a path without folders."""
    if is_address(named):
        return str(Address.parse(named))
    return Path(os.path.abspath(named)).name  # noqa: PTH100  # a link keeps its name
