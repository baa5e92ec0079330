"""`convlast report`: the manifest of a converted checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from convlast.cli import outcome
from convlast.options import Limits
from convlast.report.rendering import notation
from convlast.report.rendering.paragraph import below, plain

if TYPE_CHECKING:
    from convlast.checkpoints.manifest import Manifest


def show(artifact: Path, *, as_json: bool) -> None:
    """Print the manifest of a file, or those of the files of a model folder."""
    from convlast.containers import is_folder, read_manifest

    found = read_manifest(artifact)
    if found is None and is_folder(artifact):
        _show_folder(artifact, as_json=as_json)
        return
    if found is None:
        outcome.end(
            "no-manifest",
            f"'{artifact.name}' does not say that convlast converted it.",
            "Use `convlast inspect` to see what it contains, and `convlast verify` to compare it.",
        )
    outcome.show(found, render_manifest(found), as_json=as_json)


def _show_folder(artifact: Path, *, as_json: bool) -> None:
    """Print the manifests of the files of a model folder."""
    from convlast.folders.notes import notes_in

    notes = notes_in(artifact, Limits())
    if not notes.files:
        outcome.end(
            "no-manifest",
            f"No file in '{artifact.name}' says that convlast converted it.",
            "Use `convlast inspect` to see what it contains, and `convlast verify` to compare it.",
        )
    outcome.show(notes, render_manifests(notes.files), as_json=as_json)


def render_manifest(manifest: Manifest) -> RenderableType:
    """Render the manifest that a converted artifact carries."""
    cast = "" if manifest.dtype == "keep" else f", cast to {manifest.dtype}"
    number = notation.count(len(manifest.layers), "layer")
    title = f"{manifest.memory_format}{cast}: {number}, by convlast {manifest.convlast}"
    parts: list[RenderableType] = [below(plain(title), 0)]
    for layer in manifest.layers:
        strides = map(notation.strides, (layer.stride_before, layer.stride_after))
        facts = f"  {notation.shape(layer.shape)}, {' → '.join(dict.fromkeys(strides))}"
        parts.append(below(Text.assemble(plain(layer.name, "bold"), plain(facts, "dim"))))
    return Group(*parts)


def render_manifests(manifests: Mapping[str, Manifest]) -> RenderableType:
    """Render the manifests of the files of a model folder, each under its path."""
    parts: list[RenderableType] = []
    for path, manifest in manifests.items():
        parts += [plain(path, "bold"), render_manifest(manifest)]
    return Group(*parts)
