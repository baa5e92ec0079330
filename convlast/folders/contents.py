"""The files of a model folder: its checkpoints, the shards among them, and all others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import torch

from convlast.checkpoints.checkpoint import Checkpoint
from convlast.containers import CONTAINERS, FOLDERS, container_of, open_checkpoint
from convlast.containers.sniffing import begins_like_a_checkpoint, begins_like_a_pickle
from convlast.errors import (
    ConvlastError,
    MalformedCheckpointError,
    NoConv3dWeightsError,
    NotACheckpointError,
    ProgramNotAllowedError,
)
from convlast.folders.folder import Folder
from convlast.folders.index import Index, indices_of
from convlast.folders.member_names import shown
from convlast.report import Finding, InputFile, Role, Severity


@dataclass(frozen=True)
class Found:
    """A checkpoint in a folder, temporarily available as a file.

    Attributes:
        name: Its path in the folder.
        path: The path of the file.
        container: The kind of file.
        is_closed: Whether it contains code that was not allowed, so that it is not opened.
        index: The index that names it, if it is a shard.
        beside: The biases of its weights that are in other shards, by their keys; without data.
    """

    name: str
    path: Path
    container: str
    is_closed: bool = False
    index: Index | None = None
    beside: Mapping[str, torch.Tensor] = field(default_factory=dict)


class Contents:
    """The files of a folder, their indices, and the findings about them."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._indices = {index.name: index for index in indices_of(folder)}
        self._index_of = {
            shard: index for index in self._indices.values() for shard in index.shards
        }
        self._closed: list[str] = []
        self._checkpoints = 0
        self._noted: dict[str, list[Finding]] = {}
        self._biases: dict[tuple[str, str], dict[str, torch.Size]] = {}

    @contextmanager
    def found(self, name: str, allow_programs: bool) -> Iterator[Found | None]:
        """Yield a file as a checkpoint, within the context; None if it is not a checkpoint.

        Raises:
            MalformedCheckpointError: If it begins like a checkpoint but is broken, or if an index
                names it as a shard but it is not a checkpoint.
        """
        index = self._index_of.get(name)
        is_one = begins_like_a_checkpoint(self.folder.head(name))
        if index is not None and not is_one:
            raise _no_shard(name, index)
        if not is_one:
            yield None
            return
        with self.folder.as_file(name) as path, located(name):
            container = container_of(path)
            if container in FOLDERS:
                yield None  # an archive in a folder is treated as an ordinary file
                return
            is_closed = CONTAINERS[container].holds_code and not allow_programs
            self._closed += [name] if is_closed else []
            self._checkpoints += 1
            beside = self._beside(name, index) if index else {}
            yield Found(name, path, container, is_closed, index, beside)

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

    def note_unconvertible(self, found: Found, findings: list[Finding]) -> None:
        """Store the findings about a checkpoint without convolution weights."""
        self._noted[found.name] = findings

    def findings_of(self, name: str, found: Found | None) -> list[Finding]:
        """Return the findings about a file that is kept unchanged."""
        if found is not None and found.is_closed:
            return [
                _finding(
                    "program-not-opened",
                    "warning",
                    f"{name} is a {found.container} archive, which holds code. It was not opened, "
                    "and is as it was. Allow programs (--allow-programs, or "
                    "CONVLAST_ALLOW_PROGRAMS=true), from senders you trust, to have it converted.",
                )
            ]
        if found is not None:
            nothing = _finding("no-conv3d-weights", "info", f"{name} holds no Conv3d weight.")
            return [nothing, *self._noted.get(name, [])]
        if begins_like_a_pickle(self.folder.head(name)):
            return [
                _finding(
                    "pickle-not-opened",
                    "info",
                    f"{name} is a pickle, though none of torch.save's. It was not opened, and is "
                    "as it was; loading it can run code.",
                )
            ]
        return []

    def refuse_without_layers(self, *, has_layers: bool) -> None:
        """Refuse a folder in which no layer was found.

        Raises:
            NotACheckpointError: If it has no checkpoint.
            ProgramNotAllowedError: If it has programs, which might contain layers, and nothing else
                that could be converted.
            NoConv3dWeightsError: In all other cases.
        """
        if has_layers:
            return
        if not self._checkpoints:
            raise NotACheckpointError(
                f"There is no checkpoint among its {len(self.folder.members)} files.",
                remedy="Send what torch.save or safetensors wrote, alone or with what belongs "
                "to it.",
            )
        if self._closed:
            raise ProgramNotAllowedError(
                f"{shown(self._closed[0])} holds code, and nothing else in the folder could be "
                "converted.",
                remedy="Allow programs, from senders you trust: --allow-programs, or "
                "CONVLAST_ALLOW_PROGRAMS=true.",
            )
        raise NoConv3dWeightsError(
            f"None of the {self._checkpoints} checkpoints in the folder holds a Conv3d or "
            "ConvTranspose3d weight.",
            remedy="There is nothing to convert; keep the folder.",
        )

    def check_shard(self, found: Found, checkpoint: Checkpoint) -> Iterator[Finding]:
        """Compare the keys of a shard with those in its index.

        Raises:
            MalformedCheckpointError: If it lacks a tensor, or is not a flat dict.
        """
        if found.index is None:
            return
        if not isinstance(checkpoint.root, dict):
            raise _no_shard(found.name, found.index)
        keys = {str(key) for key in checkpoint.root}
        named = found.index.keys_in(found.name)
        if missing := sorted(named - keys):
            raise MalformedCheckpointError(
                f"The shard lacks {shown(missing[0])}, which the index {found.index.name!r} says "
                "is in it.",
                remedy="Fetch the index and its shards anew from where they came.",
            )
        for key in sorted(keys - named):
            yield _finding(
                "not-in-index",
                "warning",
                f"{key} is in the shard, and not in the index {found.index.name}: what "
                "loads by the index may leave it out.",
                layer=key,
            )

    def _beside(self, name: str, index: Index) -> dict[str, torch.Tensor]:
        """Return the biases of a shard's weights that are in other shards, without data."""
        return {
            key: torch.empty(self._biases_in(shard, index)[key], device="meta")
            for key, shard in sorted(index.biases_elsewhere(name).items())
            if key in self._biases_in(shard, index)
        }

    def _biases_in(self, shard: str, index: Index) -> dict[str, torch.Size]:
        """Return the shapes of a shard's biases for other shards; open each shard only once."""
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


def _finding(code: str, severity: Severity, message: str, *, layer: str | None = None) -> Finding:
    return Finding(code=code, severity=severity, layer=layer, message=message)


def _no_shard(name: str, index: Index) -> MalformedCheckpointError:
    return MalformedCheckpointError(
        f"{name!r} is no shard, though the index {index.name!r} says so.",
        remedy="Fetch the index and its shards anew from where they came.",
    )
