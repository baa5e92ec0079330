"""The digests of a model folder, file by file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from convlast.bytes.reclaiming import Leftovers
from convlast.checkpoints.tree import dotted, walk
from convlast.containers import open_checkpoint
from convlast.digests.listing import Digests, TensorDigest
from convlast.digests.of_file import refuse_twins, tensor_digests
from convlast.errors import CheckpointError, NotACheckpointError
from convlast.folders import Folder
from convlast.folders.contents import Contents, Found
from convlast.progress import Portions, Progress, silent


@dataclass
class FolderDigests:
    """What was found in a folder.

    Attributes:
        files: The tensors of each checkpoint, by its path.
        not_opened: The files that look like checkpoints and were not opened.
        is_sharded: Whether it is one checkpoint in several files, named by an index.
    """

    is_sharded: bool
    files: dict[str, list[TensorDigest]] = field(default_factory=dict)
    not_opened: list[str] = field(default_factory=list)

    def root_of(self, name: str) -> str | None:
        """Return the root of one file, as if it were alone; None if it was not opened."""
        return Digests.of(self.files[name]).root if name in self.files else None

    def together(self) -> Digests:
        """Return the digests of all files; those of shards as if they were one file.

        Raises:
            UnsupportedContainerError: If tensors that differ have one name, in different shards.
        """
        digests = list(self._all())
        if self.is_sharded:
            refuse_twins(digests, "in different shards")
        return Digests.of(digests, self.not_opened)

    def _all(self) -> Iterator[TensorDigest]:
        for name, tensors in self.files.items():
            if self.is_sharded:
                yield from tensors
            else:
                file = dotted((name,))
                yield from (each.model_copy(update={"file": file}) for each in tensors)


def folder_digests(
    folder: Folder, *, allow_programs: bool = False, progress: Progress = silent
) -> FolderDigests:
    """Return the digests of each checkpoint in a folder; one is open at a time.

    Args:
        folder: The folder.
        allow_programs: Whether files that hold code may be opened.
        progress: Called as `progress("files", done, total)`, in bytes.

    Raises:
        NotACheckpointError: If none of its files is a checkpoint.
        CheckpointError: If a file that an index names cannot be opened.
    """
    contents, found = Contents(folder), FolderDigests(folder.kind == "sharded")
    portions, leftovers = Portions(progress, "files", folder.nbytes), Leftovers()
    for name, member in folder.members.items():
        with contents.found(name, allow_programs) as checkpoint:
            if checkpoint is not None and not checkpoint.is_closed:
                _add(found, checkpoint, contents)
                leftovers.add(member.nbytes)
        if name not in found.files and contents.passed_on.of_file(name):
            found.not_opened.append(dotted((name,)))
        portions.add(member.nbytes)
    if not found.files:
        raise NotACheckpointError(
            f"None of its {len(folder.members):,} files is a checkpoint that was opened.",
            remedy="Programs are opened if they are allowed (--allow-programs), from senders you "
            "trust.",
        )
    return found


def _add(found: FolderDigests, checkpoint: Found, contents: Contents) -> None:
    """Digest one file; one that cannot be opened is noted, unless an index names it."""
    limits = contents.folder.limits
    try:
        opened = open_checkpoint(checkpoint.path, limits=limits, allow_programs=True)
        list(contents.check_shard(checkpoint, opened))
        found.files[checkpoint.name] = tensor_digests(opened, walk(opened.root, limits), limits)
    except CheckpointError as error:
        contents.pass_on(checkpoint.name, error)
