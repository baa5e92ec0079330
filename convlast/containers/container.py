"""What is known of a kind of checkpoint file, as classes to derive from.

To recognise a file and to read its manifest takes no torch, which takes seconds to import. So the
methods that need it import the modules that do the work.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from convlast.checkpoints.manifest import Manifest
from convlast.options import Limits

if TYPE_CHECKING:
    import torch

    from convlast.checkpoints.checkpoint import Checkpoint
    from convlast.report import Survival
    from convlast.writing.request import WriteRequest, Written

ZIP_MAGIC = b"PK\x03\x04"

VERSIONS = frozenset({"version", ".data/version"})
"""The members with the number of the format: PyTorch reads no archive without one of them.

Source: https://github.com/pytorch/pytorch/blob/v2.13.0/caffe2/serialize/inline_container.cc
"""


class Container(ABC):
    """A kind of checkpoint file: how to recognise and open it.

    Attributes:
        name: What options and reports call it.
        magics: The first bytes of such a file are one of these.
        holds_strides: Whether strides survive in it. If not, the manifest states them.
        holds_objects: Whether it holds more than names and values: classes, `requires_grad`,
            aliases and device tags.
        holds_code: Whether it holds a program. Such a file is opened only if programs are allowed.
    """

    name: ClassVar[str]
    magics: ClassVar[tuple[bytes, ...]] = (ZIP_MAGIC,)
    holds_strides: ClassVar[bool] = True
    holds_objects: ClassVar[bool] = True
    holds_code: ClassVar[bool] = False

    def begins(self, head: bytes) -> bool:
        """Return whether a file with this beginning may be one."""
        return head.startswith(self.magics)

    def has_members(self, names: Set[str]) -> bool:
        """Return whether a zip file is one, given the names of its members below their root."""
        return False

    @abstractmethod
    def open(self, path: Path, limits: Limits) -> Checkpoint:
        """Open a file without reading its data or running its code.

        Raises:
            CheckpointError: One of its kinds, if the file cannot be opened or must not be.
        """

    def manifest_of(self, path: Path) -> Manifest | None:
        """Return the manifest that an earlier conversion left in a file.

        Raises:
            CheckpointError: If the file cannot be opened.
        """
        return self.open(path, Limits()).manifest

    def records_of(self, checkpoint: Checkpoint) -> Mapping[str, object]:
        """Return what a file holds beside its tensors and the manifest, by name."""
        return {}


class WritableContainer(Container):
    """A kind of file that artifacts can be: how to write it, and how its users load it.

    Attributes:
        extension: That of a new file, with the dot.
        needs_extension: Whether loaders recognise the kind by its extension alone.
    """

    extension: ClassVar[str] = ".pt"
    needs_extension: ClassVar[bool] = False

    @abstractmethod
    def write(self, request: WriteRequest) -> Written:
        """Write an artifact.

        Raises:
            OptionError: If this kind of file cannot hold the checkpoint.
            StorageFullError: If there is no room.
            MalformedCheckpointError: If the source is damaged.
        """

    @abstractmethod
    def reload(self, artifact: Path, original: Checkpoint, limits: Limits) -> Checkpoint:
        """Load an artifact the way its users do, without the code that wrote it.

        Args:
            artifact: The file.
            original: The checkpoint it was made from.
            limits: The limits for opening it.

        Raises:
            CheckpointError: If it cannot be loaded.
        """

    def tensors_by_torch(self, artifact: Path) -> Mapping[str, torch.Tensor]:
        """Return the tensors that PyTorch's own loader finds, if `reload` does without it."""
        return {}

    @abstractmethod
    def survival(self, original: Checkpoint) -> Survival:
        """Return what loading does to the layout of an artifact that passed the proof."""

    @abstractmethod
    def loading_code(self, original: Checkpoint, *, has_layout: bool) -> str:
        """Return Python code that loads an artifact of this checkpoint.

        Args:
            original: The checkpoint.
            has_layout: Whether weights are channels-last, so that the layout can be lost.

        `{name!r}` stands for the file's name, and `{wrapper}` for the subscripts that lead to the
        state dict.
        """
