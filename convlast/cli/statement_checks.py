"""`convlast verify --statement`: whether an artifact is the one that a statement is about."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict
from rich.console import Console, Group
from rich.text import Text

from convlast.addressed import fetched
from convlast.cli import progress_bar as progress
from convlast.cli.arguments import readable_file
from convlast.cli.outcome import Output, say, show
from convlast.options import Limits
from convlast.progress import Progress
from convlast.report.rendering.notation import printable
from convlast.report.sections import as_text

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
    statement = reading.parse(found)
    files = checking.check(artifact, statement, besides=given, progress=advance)
    return Checked(
        statement=as_text(str(given)),
        signed_with=keyid,
        files=files,
        made_of=dict(statement.dependencies),
    )


_OWN = {"as_json", "quiet", "max_files"}
"""The options that belong to a check; the last one is about a folder in a store."""


def refuse_others(converted: str | None, *options: BaseModel) -> None:
    """Refuse what does not belong to the check of a statement.

    Args:
        converted: A second input, if one was given.
        options: The options of the command.

    Raises:
        typer.BadParameter: If there is a second input, or an option of another kind.
    """
    odd = [] if converted is None else [repr(converted)]
    for model in options:
        defaults = type(model)()
        odd += [
            f"--{(field.alias or name).replace('_', '-')}"
            for name, field in type(model).model_fields.items()
            if name not in _OWN and getattr(model, name) != getattr(defaults, name)
        ]
    if odd:
        raise typer.BadParameter(f"with --statement there is no {' and no '.join(odd)}")


def verify(
    artifact: str, statement: Path, key: Path | None, output: Output, limits: Limits
) -> None:
    """Check an artifact against a statement, and print the result; this needs no torch.

    Args:
        artifact: The artifact, or its address.
        statement: The statement, or the envelope that it is in.
        key: The public key that it has to be signed with, if it has to.
        output: What to print.
        limits: How many files a folder in a store may have.

    Raises:
        ConvlastError: If the statement does not hold, or something cannot be read.
    """
    with (
        progress.shown_on(Console(stderr=True), quiet=output.quiet) as advance,
        fetched(artifact, limits=limits, progress=advance) as found,
    ):
        checked = _checked(found.path, statement, key, advance)
    if output.as_json or not output.quiet:
        show(checked, checked.rendered(), as_json=output.as_json)
    if not output.quiet:
        signed = "" if checked.signed_with else " No signature was checked."
        say("passed", f"The artifact is the one that the statement is about.{signed}")
