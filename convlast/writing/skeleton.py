"""A torch zip file with everything in it but the data, written by torch itself.

torch writes the pickle, the records and the alignment; under `skip_data` it leaves the space of
each storage empty. What is left to do is to fill that space, and to state the CRCs.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

import torch

from convlast.checkpoints.checkpoint import Checkpoint, Storage
from convlast.checkpoints.guard.zip_directory import Archive, ZipMember
from convlast.errors import StorageFullError

_DESCRIPTOR = b"PK\x07\x08"
_ROOT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. +-]{0,99}")


@dataclass
class _Tags:
    """The device tags to write, and the order in which torch asks for them."""

    locations: dict[int, str]
    order: dict[int, Storage] = field(default_factory=dict)


_TAGS: ContextVar[_Tags | None] = ContextVar("_TAGS", default=None)


def _tag(storage: object) -> str | None:
    """Answer torch's question for a storage's device tag, while a skeleton is written."""
    tags = _TAGS.get()
    if tags is None:
        return None
    if isinstance(storage, Storage):
        tags.order.setdefault(id(storage), storage)
    return tags.locations.get(id(storage))


# Asked before torch's own taggers, the first of which has priority 10. It answers only for the
# storages of a checkpoint that is being written, so that other uses of torch.save see no change.
torch.serialization.register_package(1, _tag, lambda _storage, _location: None)


def write_skeleton(checkpoint: Checkpoint, folder: Path) -> tuple[Path, list[Storage]]:
    """Write a checkpoint's objects as they are now, without data, into a folder.

    Returns:
        The file, and the storages in the order of the members `data/0`, `data/1` ...

    Raises:
        StorageFullError: If there is no room for them.
    """
    _require_room(checkpoint, folder)
    # torch names the archive's root folder after the file.
    path = folder / f"{root_name(checkpoint)}.pt"
    with _tags(checkpoint) as tags, warnings.catch_warnings(), torch.serialization.skip_data():
        warnings.simplefilter("ignore")
        try:
            torch.save(checkpoint.root, path)
        except RuntimeError as error:
            # torch reports what the file system refuses under the name of its source file.
            if "inline_container" not in str(error) and "iostream" not in str(error):
                raise
            raise _full() from error
    return path, list(tags.order.values())


def _require_room(checkpoint: Checkpoint, folder: Path) -> None:
    """Refuse to begin what cannot be finished.

    torch's writer does not survive a file system that fills up under it: its destructor throws,
    and that ends the process.
    """
    overhead_bytes = (1 << 20) + 512 * len(checkpoint.storages)
    if shutil.disk_usage(folder).free < checkpoint.path.stat().st_size + overhead_bytes:
        raise _full()


def _full() -> StorageFullError:
    return StorageFullError(
        "The artifact cannot be written: the file system is full.",
        remedy="Free room for an artifact as large as the input.",
    )


def root_name(checkpoint: Checkpoint) -> str:
    """Return the name of the archive's root folder: the input's own, where it is a plain name."""
    root = checkpoint.archive.root if checkpoint.archive else ""
    return root if _ROOT.fullmatch(root) and not root.endswith((".", " ")) else "archive"


def finish(archive: Archive, crcs: dict[str, int], extras: Iterable[tuple[str, bytes]]) -> None:
    """Make the directory of a skeleton that was filled, and add further members.

    Args:
        archive: The skeleton's directory.
        crcs: The CRC-32 of each filled member, by its name below the root.
        extras: Members to add, likewise; at least one, since that rewrites the directory. They
            are taken one at a time.
    """
    with zipfile.ZipFile(archive.path, "a") as zipped:
        for entry in zipped.infolist():
            entry.CRC = crcs.get(entry.filename.removeprefix(f"{archive.root}/"), entry.CRC)
        for name, data in extras:
            # A ZipInfo made from a name alone is dated 1980-01-01, the same on every machine.
            zipped.writestr(zipfile.ZipInfo(f"{archive.root}/{name}"), data)


def state_crc(descriptor: int, member: ZipMember, crc: int) -> None:
    """Write a CRC into the data descriptor that torch puts behind a member."""
    offset = member.offset + member.nbytes
    if os.pread(descriptor, len(_DESCRIPTOR), offset) == _DESCRIPTOR:
        os.pwrite(descriptor, struct.pack("<I", crc), offset + len(_DESCRIPTOR))


@contextmanager
def _tags(checkpoint: Checkpoint) -> Iterator[_Tags]:
    tags = _Tags({key: stored.location for key, (_, stored) in checkpoint.storages.items()})
    token = _TAGS.set(tags)
    try:
        yield tags
    finally:
        _TAGS.reset(token)
