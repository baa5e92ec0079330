"""torch's zip format, as `torch.save` has written it since 1.6."""

from __future__ import annotations

import io
from pathlib import Path

from convlast.checkpoints import manifest, metadata
from convlast.checkpoints.checkpoint import Checkpoint, StoredBytes
from convlast.checkpoints.guard.pickles import scan
from convlast.checkpoints.guard.storages import StorageReference
from convlast.checkpoints.guard.zip_directory import Archive, read_directory
from convlast.checkpoints.structure import load_structure, refuse_unloadable
from convlast.errors import (
    MalformedCheckpointError,
    UnsupportedContainerError,
)
from convlast.options import Limits


def open_torch_zip(path: Path, limits: Limits) -> Checkpoint:
    """Open a torch zip checkpoint without reading its data.

    Raises:
        CheckpointError: One of its kinds, if the file cannot be opened or must not be.
    """
    archive = read_directory(path, limits)
    _refuse_foreign_byte_order(archive)
    found = scan(io.BytesIO(archive.read("data.pkl")))
    refuse_unloadable(found, limits)
    for reference in found.storages:
        _refuse_misfit(archive, reference)
    root, pairs = load_structure(path, found.storages, found.asks_for)
    checkpoint = Checkpoint(path, "torch", root, archive=archive, asks_for=found.asks_for)
    for storage, reference in pairs:
        member = archive.members[f"data/{reference.key}"]
        checkpoint.add(
            storage,
            StoredBytes(
                member.offset,
                member.nbytes,
                reference.location,
                member.crc,
                f"{archive.root}/data/{reference.key}",
            ),
        )
    checkpoint.manifest = manifest.in_archive(archive)
    if metadata.MEMBER in archive.members:
        checkpoint.metadata = metadata.decode(archive.read(metadata.MEMBER))
    return checkpoint


def _refuse_misfit(archive: Archive, reference: StorageReference) -> None:
    name = f"data/{reference.key}"
    member = archive.members.get(name)
    if member is None:
        raise MalformedCheckpointError(f"The pickle refers to {name!r}, which is not there.")
    if member.nbytes != reference.nbytes:
        raise MalformedCheckpointError(
            f"Member {name!r} has {member.nbytes:,} bytes; the pickle says {reference.nbytes:,}."
        )


def _refuse_foreign_byte_order(archive: Archive) -> None:
    if "byteorder" in archive.members and archive.read("byteorder") != b"little":
        raise UnsupportedContainerError(
            "The checkpoint was saved on a big-endian machine.",
            remedy="Load it with torch.load on this one, and save it anew.",
        )
