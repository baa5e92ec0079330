"""A program in a zip archive: each tensor's bytes in a member, and members that describe tensors.

The program is never run here. The descriptions, pickles or JSON texts, are read as data, and can be
rewritten with other strides.
"""

from __future__ import annotations

import weakref
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from convlast.checkpoints import manifest
from convlast.checkpoints.checkpoint import CHUNK_BYTES, Checkpoint, StoredBytes, tensor_over
from convlast.checkpoints.declaration import Declaration
from convlast.checkpoints.guard.extents import refuse_extents
from convlast.checkpoints.guard.zip_directory import Archive, read_directory
from convlast.errors import LimitExceededError, MalformedCheckpointError
from convlast.layout.memory_format import Place, place_of, span_of
from convlast.options import Limits


@dataclass(frozen=True)
class Outline:
    """A tensor, as a program describes it.

    Attributes:
        member: The member with its storage.
        location: Its device tag.
        dtype: Its dtype.
        offset: Its offset in the storage, in elements.
        shape: Its extents.
        stride: Its strides, in elements.
    """

    member: str
    location: str
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class ZippedProgram(Checkpoint):
    """A program, whose members may be compressed. Its root is a dict of tensors by name."""

    reads_parts = False  # a member may be compressed

    def __init__(self, path: Path, container: str, limits: Limits) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        super().__init__(path, container, self.tensors)
        self.members: Archive = read_directory(path, limits, is_program=True)
        self.archive = self.members
        self.limits = limits
        self._by_member: dict[str, torch.UntypedStorage] = {}
        self._unread: set[str] = set()
        self.manifest = manifest.in_archive(self.archive)

    @cached_property
    def _zipped(self) -> zipfile.ZipFile:
        """The zip file, whose directory is read once; closed when this object is garbage."""
        zipped = zipfile.ZipFile(self.path)
        weakref.finalize(self, zipped.close)
        return zipped

    def rewritten(self) -> dict[str, bytes]:
        """Return the members that describe tensors, with the present strides of the tensors.

        Unchanged members are left out.
        """
        raise NotImplementedError

    def read_into(self, buffer: memoryview, tensor: torch.Tensor) -> None:
        """Fill a buffer with the bytes that a tensor spans; the buffer must have their size."""
        start, end = span_of(tensor)
        buffer[:] = self.member(self.stored(tensor.untyped_storage()).member)[start:end]

    def chunks(self, tensor: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the bytes that a tensor spans as flat uint8 pieces of bounded size, in order."""
        start, end = span_of(tensor)
        data = self.member(self.stored(tensor.untyped_storage()).member)
        for position in range(start, end, CHUNK_BYTES):
            piece = bytearray(data[position : min(position + CHUNK_BYTES, end)])
            yield tensor_over(piece, torch.uint8)

    def member(self, name: str) -> bytes:
        """Return the bytes of a member, by its name below the root.

        Raises:
            MalformedCheckpointError: If it is missing or damaged.
        """
        if name not in self.members.members:
            raise MalformedCheckpointError(f"The archive has no member {name!r}.")
        try:
            return self._zipped.read(f"{self.members.root}/{name}")
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise MalformedCheckpointError(
                f"Member {name!r} is damaged: {error}.",
                remedy="Fetch the file anew from where it came.",
            ) from error

    def description(self, name: str) -> bytes:
        """Return the bytes of a member that describes tensors.

        Raises:
            LimitExceededError: If it is larger than `max_pickle_bytes`.
        """
        data = self.member(name)
        if len(data) > self.limits.max_pickle_bytes:
            raise LimitExceededError(
                f"The program's member {name!r} is large",
                limit="max_pickle_bytes",
                allowed=self.limits.max_pickle_bytes,
                found=len(data),
            )
        return data

    def build(self, outline: Outline) -> torch.Tensor:
        """Make a tensor without data.

        Raises:
            LimitExceededError: If there are too many tensors.
            MalformedCheckpointError: If its storage is missing or too small, or if no tensor can
                have such extents.
        """
        if len(self.tensors) >= self.limits.max_tensors:
            raise LimitExceededError(
                "The program has many tensors",
                limit="max_tensors",
                allowed=self.limits.max_tensors,
                found=len(self.tensors) + 1,
            )
        what = f"A tensor in {outline.member!r}"
        refuse_extents(outline.shape, outline.stride, outline.offset, what)
        storage = self._storage(outline)
        _refuse_misfit(outline, storage.nbytes() // outline.dtype.itemsize)
        return tensor_over(bytearray(), outline.dtype).set_(
            storage, outline.offset, outline.shape, outline.stride
        )

    def hold(self, key: str, tensor: torch.Tensor) -> None:
        """Add a tensor; if another one has this name already, this one is left out."""
        if self.tensors.setdefault(key, tensor) is not tensor:
            self.leave_out(key, self.stored(tensor.untyped_storage()).member)

    def leave_out(self, key: str, *members: str) -> None:
        """Note a tensor that is not read, and the members with its bytes."""
        self.left_out.add(key)
        self._unread.update(members)

    def leave_out_shared(self) -> None:
        """Leave out what shares a member with a tensor that is not read, so that it stays."""
        for key, tensor in list(self.tensors.items()):
            if self.stored(tensor.untyped_storage()).member in self._unread:
                del self.tensors[key]
                self.left_out.add(key)

    def declare_aliases(self) -> None:
        """Give tensors that are the same the best declaration among them."""
        known: dict[Place, Declaration] = {}
        for name, tensor in self.tensors.items():
            found = self.declared.get((name,))
            if found and (found.hyperparameters or place_of(tensor) not in known):
                known[place_of(tensor)] = found
        for name, tensor in self.tensors.items():
            if place_of(tensor) in known:
                self.declared[(name,)] = known[place_of(tensor)]

    def _storage(self, outline: Outline) -> torch.UntypedStorage:
        member = outline.member
        if member not in self._by_member:
            if member not in self.members.members:
                raise MalformedCheckpointError(f"The archive has no member {member!r}.")
            nbytes = self._zipped.getinfo(f"{self.members.root}/{member}").file_size
            storage = torch.empty(nbytes, dtype=torch.uint8).untyped_storage()
            self._by_member[member] = storage
            self.add(storage, StoredBytes(0, nbytes, outline.location, member=member))
        return self._by_member[member]


def _refuse_misfit(outline: Outline, numel: int) -> None:
    """Refuse a tensor that reaches past the end of its storage; torch would enlarge the storage."""
    last = outline.offset + sum(
        stride * (extent - 1) for stride, extent in zip(outline.stride, outline.shape, strict=True)
    )
    if 0 not in outline.shape and last >= numel:
        raise MalformedCheckpointError(
            f"A tensor reaches past the end of its storage {outline.member!r}."
        )
