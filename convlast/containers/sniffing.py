"""What kind of file this is, told from its bytes and never from its name."""

from __future__ import annotations

import struct
from collections.abc import Set
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from convlast.checkpoints.guard.zip_directory import open_zip
from convlast.containers.container import ZIP_MAGIC
from convlast.containers.exported_program import COMPILED
from convlast.containers.kinds import CONTAINERS
from convlast.containers.other_files import MERGE_DISTRIBUTED, is_tar, other_file, with_its_end
from convlast.errors import (
    MalformedCheckpointError,
    NotACheckpointError,
    UnsupportedContainerError,
)

FolderKind: TypeAlias = Literal["folder", "zip-folder", "tar-folder", "sharded"]
"""What holds several files: a folder, an archive of one, an index with the shards it names."""

FOLDERS: frozenset[str] = frozenset(get_args(FolderKind))

HEAD_BYTES = 4096
"""How many bytes of a file `begins_like_a_checkpoint` and `begins_like_an_index` look at."""

_LOCAL_HEADER = struct.Struct("<26x2H")
_PADDING_ID = b"FB"
"""The first bytes of the extra field with which PyTorch's writer aligns what it writes.

Source: https://github.com/pytorch/pytorch/blob/v2.13.0/caffe2/serialize/inline_container.cc
"""

_COUNTED_BYTES = 1 << 32
"""From here on offsets in a directory need zip64; macOS's Finder writes their remainder."""


def container_of(path: Path) -> str:
    """Return the name of the container that a file is, or the `FolderKind`.

    Raises:
        NotACheckpointError: If it is none.
        MalformedCheckpointError: If it begins like one and then ends, or has a broken directory.
    """
    if path.is_dir():
        return "folder"
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(ZIP_MAGIC):
        return _kind_of_zip(path)
    for name, container in CONTAINERS.items():
        if container.begins(head):
            return name
    if is_tar(head):
        return "tar-folder"
    if begins_like_an_index(head):
        return "sharded"
    magics = (magic for container in CONTAINERS.values() for magic in container.magics)
    if head and any(magic.startswith(head) for magic in magics):
        raise MalformedCheckpointError(f"The file ends after {len(head)} bytes.")
    other = with_its_end(other_file(head), path)
    raise NotACheckpointError(
        f"This is not a PyTorch checkpoint: it is {other.words}.", remedy=other.remedy
    )


def begins_like_a_checkpoint(head: bytes) -> bool:
    """Say whether a file with this beginning may be a checkpoint; of a zip only its end tells."""
    return any(container.begins(head) for container in CONTAINERS.values())


def begins_like_torch_zip(path: Path) -> bool:
    """Say whether torch.save wrote the first member of a zip.

    For a zip of many members this is quicker than to read the names of all. Other programs may
    call a member `data.pkl` too, but do not align it as PyTorch does.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if len(head) < _LOCAL_HEADER.size or not head.startswith(ZIP_MAGIC):
        return False
    name_bytes, extra_bytes = _LOCAL_HEADER.unpack_from(head)
    name = head[_LOCAL_HEADER.size :][:name_bytes]
    extra = head[_LOCAL_HEADER.size + name_bytes :][:extra_bytes]
    is_pickle = name.endswith(b"/data.pkl") and name.count(b"/") == 1
    return is_pickle and extra.startswith(_PADDING_ID)


def begins_like_an_index(head: bytes) -> bool:
    """Say whether a file with this beginning may be the index of a sharded checkpoint."""
    return head.lstrip().startswith(b"{") and b'"weight_map"' in head


def _kind_of_zip(path: Path) -> str:
    """Return the container of a zip, by the members of each of its root folders.

    Raises:
        MalformedCheckpointError: If it has no readable directory, or one of a part of it.
        UnsupportedContainerError: If it holds weights in a form that cannot be changed.
    """
    with open_zip(path) as archive:
        entries = archive.infolist()
    _refuse_other_start(min((entry.header_offset for entry in entries), default=0))
    roots: dict[str, set[str]] = {}
    for entry in entries:
        root, slash, name = entry.filename.partition("/")
        roots.setdefault(root if slash else "", set()).add(name if slash else root)
    for name, container in CONTAINERS.items():
        for names in roots.values():
            if container.has_members(names):
                return name
    for names in roots.values():
        _refuse_packages(names)
    return "zip-folder"


def _refuse_other_start(first: int) -> None:
    """Refuse a zip that begins with bytes which its directory does not name."""
    if first and first % _COUNTED_BYTES == 0:
        raise MalformedCheckpointError(
            "The zip archive has more than 4 GiB, and a directory that cannot count so far, as "
            "the Finder of macOS writes it.",
            remedy="Pack it anew in a terminal, with tar -cf or zip -r.",
        )
    if first:
        raise UnsupportedContainerError(
            "The file is several zip archives, one after the other, as the .distcp files of a "
            "distributed checkpoint (torch.distributed.checkpoint) are.",
            remedy=MERGE_DISTRIBUTED,
        )


def _refuse_packages(names: Set[str]) -> None:
    """Refuse an archive of torch.package or AOTInductor, given the names below its root."""
    if not names.isdisjoint({".data/extern_modules", ".data/python_version"}):
        raise UnsupportedContainerError(
            "This is an archive of torch.package: code, and pickles that need the code.",
            remedy="Load it with torch.package.PackageImporter where it came from, and save its "
            "state dict: torch.save(model.state_dict(), path).",
        )
    if any(name.startswith(COMPILED) for name in names):
        raise UnsupportedContainerError(
            "This is a compiled package of AOTInductor: the layout of its weights is part of the "
            "compiled code.",
            remedy="Convert the checkpoint or the exported program that it was compiled from, and "
            "compile that again.",
        )
