"""What `convlast report` prints."""

from __future__ import annotations

import io

from rich.console import Console

from convlast.checkpoints.manifest import LayerLayout, Manifest
from convlast.cli import manifests


def test_manifest_is_rendered_with_each_layer() -> None:
    """The manifest shows its layout, its version, and each layer's strides."""
    layers = [
        LayerLayout(
            name=f"conv{i}.weight",
            key=f"conv{i}.weight",
            shape=(8, 4, 3, 3, 3),
            stride_before=(108, 27, 9, 3, 1),
            stride_after=(108, 1, 36, 12, 4),
        )
        for i in range(3)
    ]
    manifest = Manifest(convlast="9.9", memory_format="channels_last_3d", layers=tuple(layers))
    stream = io.StringIO()

    Console(file=stream, width=100).print(manifests.render_manifests({"vae/a.pt": manifest}))

    title, head, *rows = stream.getvalue().splitlines()
    assert title.strip() == "vae/a.pt"
    assert head.strip() == "channels_last_3d: 3 layers, by convlast 9.9"
    assert [row.strip() for row in rows] == [
        f"conv{i}.weight  8×4×3×3×3, (108,27,9,3,1) → (108,1,36,12,4)" for i in range(3)
    ]
