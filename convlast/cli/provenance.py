"""`--statement`: what a conversion states of its artifact."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, field_validator

from convlast.cli.outcome import Statement
from convlast.cli.places import Place
from convlast.cli.statement_places import keep_statement_apart, refuse_to_replace
from convlast.errors import OptionError, RemoteError
from convlast.options import Limits, Options
from convlast.places.workplace import write_whole
from convlast.stores.address import Address, is_address

if TYPE_CHECKING:
    from convlast.cli.remote import Service
    from convlast.provenance.signing import PrivateKey
    from convlast.report import Report


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
    """The statement on one conversion, if one is wanted."""

    def __init__(self, path: Path | None = None, key: PrivateKey | None = None) -> None:
        self._path, self._key = path, key
        self._started_at = time.time()

    def of_run(
        self, source: str, target: str | None, options: Options, limits: Limits
    ) -> Statement | None:
        """Return how to state what this machine does.

        Args:
            source: What was given.
            target: Where the artifact is to go.
            options: What was asked for.
            limits: What the file may cost.
        """

        def text_of(report: Report) -> bytes:
            from convlast.provenance import statement

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
            return self._key.sign(text).text() if self._key else text

        return self._written(text_of)

    def of_service(self, service: Service) -> Statement | None:
        """Return how to fetch what a service states of what it has done."""

        def text_of(report: Report) -> bytes:
            if report.job_id is None:
                raise RemoteError("not-found", "The service is too old to make statements.")
            with service.connected() as client:
                content = client.provenance(report.job_id)
            _refuse_another(content, report)
            return content

        return self._written(text_of)

    def _written(self, text_of: Callable[[Report], bytes]) -> Statement | None:
        path = self._path
        if path is None:
            return None

        def make(report: Report) -> None:
            text = text_of(report)
            refuse_to_replace(path)  # the artifact may be there now
            write_whole(path, text, "statement")

        return Statement(path, make)


def _refuse_another(content: bytes, report: Report) -> None:
    """Refuse a statement that is not about the artifact of a report.

    Raises:
        RemoteError: If it is about another one.
    """
    from convlast.provenance import checking, reading

    if not checking.is_about(reading.parse(reading.read(content)), report):
        raise RemoteError(
            "digest-mismatch",
            "What the service states is about another artifact than its report.",
            remedy="Ask whoever runs the service: its answers do not belong together.",
        )


def _shown(named: str) -> str:
    """Return a name as others may see it: an address without its query, a path without folders."""
    if is_address(named):
        return str(Address.parse(named))
    return Path(os.path.abspath(named)).name  # noqa: PTH100  # a link keeps its name
