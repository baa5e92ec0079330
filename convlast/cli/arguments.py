"""The arguments and options that several commands take."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from convlast.stores.address import is_address


def _there(text: str) -> str:
    """Return what names an input: an address, or a path where something is that can be read.

    Raises:
        typer.BadParameter: If nothing is there, or it cannot be read.
    """
    if not is_address(text):
        if not Path(text).exists():
            raise typer.BadParameter(f"path '{text}' does not exist.")
        if not os.access(text, os.R_OK):
            raise typer.BadParameter(f"path '{text}' is not readable.")
    return text


def _input(metavar: str, text: str) -> typer.models.ArgumentInfo:
    info: typer.models.ArgumentInfo = typer.Argument(metavar=metavar, help=text, parser=_there)
    return info


def is_file_or_pipe(path: Path) -> bool:
    """Return whether something is there that is read to its end, such as the pipe of `<(…)`."""
    return path.exists() and not path.is_dir()


def readable_file(text: str) -> Path:
    """Return the path of a file that can be read.

    Raises:
        typer.BadParameter: If there is none.
    """
    path = Path(text)
    if not path.is_file() or not os.access(path, os.R_OK):
        raise typer.BadParameter(f"there is no file '{text}' that can be read.")
    return path


Source = Annotated[
    str,
    _input(
        "IN",
        "The checkpoint; or a model folder, a zip or tar of one, or the index of shards. "
        "It is never changed. Also an address, such as s3://bucket/model.pt; that of a folder "
        "ends with a slash.",
    ),
]
Original = Annotated[
    str,
    _input("ORIGINAL", "The original checkpoint, or model folder; with --statement the artifact."),
]
Converted = Annotated[str | None, _input("CONVERTED", "The converted one.")]
ArtifactFile = Annotated[str, _input("ARTIFACT", "A converted checkpoint, or model folder.")]
Target = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT",
        help="The file to write, or its folder; for a model folder the folder to make. If not "
        "given: beside IN, named for the layout. Also an address, such as s3://bucket/made/; the "
        "report goes beside the artifact there.",
    ),
]

Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Replace what is there already: a file, or a folder that an earlier conversion made.",
    ),
]
