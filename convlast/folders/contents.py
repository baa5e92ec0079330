"""The files of a model folder: its checkpoints, the shards among them, and all others.

A file that cannot be opened is passed on as it is, unless an index names it, or the caller is
strict: most folders of a training run have one, such as the random state beside the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from convlast.containers import CONTAINERS, FOLDERS, container_of, open_checkpoint
from convlast.containers.other_files import other_file, other_zip
from convlast.containers.sniffing import begins_like_a_checkpoint
from convlast.errors import CheckpointError, ConvlastError, MalformedCheckpointError
from convlast.folders.folder import Folder
from convlast.folders.index import Index, indices_of
from convlast.folders.member_names import shown
from convlast.folders.passed_on import PART, PassedOn, part_of_distributed
from convlast.folders.stores import Stores
from convlast.options import Options
from convlast.report import Finding, InputFile, Role
from convlast.report.codes import finding

if TYPE_CHECKING:
    import torch

    from convlast.checkpoints.checkpoint import Checkpoint


@dataclass(frozen=True)
class Found:
    """A checkpoint in a folder, temporarily available as a file.

    Attributes:
        name: Its path in the folder.
        path: The path of the file.
        container: The kind of file.
        is_closed: Whether it contains code that was not allowed, so that it is not opened.
        index: The index that names it, if it is a shard.
    """

    name: str
    path: Path
    container: str
    is_closed: bool = False
    index: Index | None = None


class Contents:
    """The files of a folder, their indices, and the findings about them."""

    def __init__(self, folder: Folder, options: Options | None = None) -> None:
        """Look through a folder.

        Raises:
            MalformedCheckpointError: If an index cannot be read, or some of its shards are missing;
                or if something cannot be copied, and the options are strict.
        """
        self.folder = folder
        self._is_strict = options is not None and options.on_unreadable == "reject"
        if self._is_strict:
            _refuse_left_out(folder)
        self._stores = Stores(folder)
        self._indices = {index.name: index for index in indices_of(folder)}
        self._index_of = {
            shard: index for index in self._indices.values() for shard in index.shards
        }
        self._checkpoints = 0
        self._biases: dict[tuple[str, str], dict[str, torch.Size]] = {}
        self.passed_on = PassedOn(folder)

    @contextmanager
    def found(self, name: str, allow_programs: bool) -> Iterator[Found | None]:
        """Yield a file as a checkpoint, within the context; None if it is none that is opened.

        Raises:
            CheckpointError: If it begins like a checkpoint but is broken, and may not be passed on.
            MalformedCheckpointError: If an index names it as a shard but it is not a checkpoint.
        """
        head = self.folder.head(name)
        index = self._index_of.get(name)
        if not begins_like_a_checkpoint(head):
            if index is not None:
                raise _no_shard(name, index, head)
            self.passed_on.note_other(name, other_file(head))
            yield None
            return
        if index is None and (reason := self._stores.reason_to_keep(name)):
            self.passed_on.note_stored(name, reason)
            yield None
            return
        with self.folder.as_file(name) as path, located(name):
            container = self._container_of(name, path)
            if container is None or container in FOLDERS:
                yield None  # an archive in a folder is treated as an ordinary file
                return
            is_closed = CONTAINERS[container].holds_code and not allow_programs
            if is_closed:
                self.passed_on.note_closed(name, container)
            self._checkpoints += 1
            yield Found(name, path, container, is_closed, index)

    def pass_on(self, name: str, error: CheckpointError) -> None:
        """Note that a checkpoint cannot be opened, and is passed on as it is.

        Raises:
            CheckpointError: The error itself, if an index names the file, or the caller is strict.
        """
        if self._is_strict or name in self._index_of:
            raise error
        self.passed_on.note_unreadable(name, error)

    def role_of(self, name: str, found: Found | None) -> Role:
        """Return the role of a file."""
        if name in self._indices:
            return "index"
        return "checkpoint" if found else "other"

    def describe(self, name: str, found: Found | None, sha256: str) -> InputFile:
        """Describe a file that is kept unchanged."""
        return InputFile(
            filename=PurePosixPath(name).name,
            sha256=sha256,
            bytes=self.folder.members[name].nbytes,
            container=found.container if found else "other",
        )

    def refuse_without_layers(self, *, has_layers: bool) -> None:
        """Refuse a folder in which no layer was found, as `PassedOn.refuse` does."""
        if not has_layers:
            self.passed_on.refuse(self._checkpoints)

    def _container_of(self, name: str, path: Path) -> str | None:
        """Return the container of a file; None if it is broken, and may be passed on."""
        try:
            if name.endswith(PART):
                raise part_of_distributed()
            container = container_of(path)
        except CheckpointError as error:
            self.pass_on(name, error)
            return None
        if container in FOLDERS:
            index = self._index_of.get(name)
            if index is not None:
                raise _no_shard(name, index, self.folder.head(name))
            self.passed_on.note_other(name, other_zip(path))
        return container

    def check_shard(self, found: Found, checkpoint: Checkpoint) -> Iterator[Finding]:
        """Compare the keys of a shard with those in its index.

        Raises:
            MalformedCheckpointError: If it lacks a tensor, or is not a flat dict.
        """
        if found.index is None:
            return
        if not isinstance(checkpoint.root, dict):
            raise MalformedCheckpointError(
                f"The shard is no dict of tensors, though the index {found.index.name!r} says so.",
                remedy="Fetch the index and its shards anew from where they came.",
            )
        keys = {str(key) for key in checkpoint.root}
        named = found.index.keys_in(found.name)
        if missing := sorted(named - keys):
            raise MalformedCheckpointError(
                f"The shard lacks {shown(missing[0])}, which the index {found.index.name!r} says "
                "is in it.",
                remedy="Fetch the index and its shards anew from where they came.",
            )
        for key in sorted(keys - named):
            yield finding(
                "not-in-index",
                layer=key,
                message=f"{key} is in the shard, and not in the index {found.index.name}: what "
                "loads by the index may leave it out.",
            )

    def beside(self, found: Found) -> Mapping[str, torch.Tensor]:
        """Return the biases of a shard's weights that are in other shards, without data."""
        import torch  # not above: the manifests of a folder are read without it

        index = found.index
        if index is None:
            return {}
        return {
            key: torch.empty(self._biases_in(shard, index)[key], device="meta")
            for key, shard in sorted(index.biases_elsewhere(found.name).items())
            if key in self._biases_in(shard, index)
        }

    def _biases_in(self, shard: str, index: Index) -> dict[str, torch.Size]:
        """Return the shapes of a shard's biases for other shards; open each shard only once."""
        import torch

        if (index.name, shard) not in self._biases:
            with self.folder.as_file(shard) as path, located(shard):
                root = open_checkpoint(path, limits=self.folder.limits).root
            tensors = root if isinstance(root, dict) else {}
            self._biases[index.name, shard] = {
                key: value.shape
                for key in index.biases_for_others(shard)
                if isinstance(value := tensors.get(key), torch.Tensor)
            }
        return self._biases[index.name, shard]


@contextmanager
def located(name: str) -> Iterator[None]:
    """Add to each error which file of the folder it is about."""
    try:
        yield
    except ConvlastError as error:
        if "file" not in error.details:
            error.locate(name)
        raise


def _refuse_left_out(folder: Folder) -> None:
    for name, reason in folder.left_out.items():
        raise MalformedCheckpointError(
            f"{shown(name)} cannot be copied: {reason}.",
            remedy="Remove it, or leave it out with on_unreadable=copy.",
        )


def _no_shard(name: str, index: Index, head: bytes) -> MalformedCheckpointError:
    kind = other_file(head)
    return MalformedCheckpointError(
        f"{name!r} is no shard, though the index {index.name!r} says so: it is {kind.words}.",
        remedy="Fetch the index and its shards anew from where they came."
        if kind.kind == "data"
        else kind.remedy,
    )
