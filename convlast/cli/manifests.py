"""The manifest of a converted checkpoint, in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from convlast.report.rendering import notation
from convlast.report.rendering.paragraph import below, plain

if TYPE_CHECKING:
    from convlast.checkpoints.manifest import Manifest


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
