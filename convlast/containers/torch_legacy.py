"""The file that `torch.save` wrote before PyTorch 1.6."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

from convlast.checkpoints.manifest import Manifest
from convlast.containers.container import Container
from convlast.options import Limits

if TYPE_CHECKING:
    from convlast.checkpoints.checkpoint import Checkpoint

_MAGIC_NUMBER = bytes.fromhex("8a0a6cfc9c46f9206aa850192e")


class TorchLegacy(Container):
    """Five pickles, and then the storages. Nothing says so but the number in the first pickle."""

    name = "torch-legacy"
    magics = (
        *(bytes([0x80, protocol]) + _MAGIC_NUMBER for protocol in (2, 3)),
        # From protocol 4 on there is a frame around the number.
        *(
            bytes([0x80, protocol, 0x95]) + struct.pack("<Q", len(_MAGIC_NUMBER)) + _MAGIC_NUMBER
            for protocol in (4, 5)
        ),
    )

    def open(self, path: Path, limits: Limits) -> Checkpoint:
        """Open a file, as the base class says."""
        from convlast.checkpoints.torch_legacy import open_torch_legacy

        return open_torch_legacy(path, limits)

    def manifest_of(self, path: Path) -> Manifest | None:
        """Return nothing: no artifact is of this kind."""
        return None
