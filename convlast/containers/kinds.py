"""The kinds of checkpoint files: one line for each."""

from __future__ import annotations

from convlast.containers.container import Container
from convlast.containers.exported_program import ExportedProgramArchive
from convlast.containers.safetensors import Safetensors
from convlast.containers.torch_legacy import TorchLegacy
from convlast.containers.torch_zip import TorchZip
from convlast.containers.torchscript import TorchScriptArchive

CONTAINERS: dict[str, Container] = {
    container.name: container
    for container in (
        ExportedProgramArchive(),
        TorchScriptArchive(),
        TorchZip(),
        TorchLegacy(),
        Safetensors(),
    )
}
"""By name. The first that recognises a file has it: a TorchScript archive has all the members of a
torch zip file, and more."""
