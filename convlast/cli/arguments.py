"""The arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
