"""The index of a sharded checkpoint: a JSON file that says which file each tensor is in.

Source: https://huggingface.co/docs/transformers/main/en/big_models#shard-metadata
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from convlast.containers.sniffing import FolderKind, begins_like_an_index
from convlast.errors import LimitExceededError, MalformedCheckpointError
from convlast.folders.folder import Folder, FolderFile
from convlast.folders.member_names import shown
from convlast.folders.plain import PlainFolder
from convlast.folders.stores import Stores
from convlast.options import Limits

_MAX_LINKS = 40
"""The most links that Linux follows, one after the other."""


@dataclass(frozen=True)
class Index:
    """The content of an index.

    Attributes:
        name: The path of the index in the folder.
        places: The path of each tensor's shard, by the tensor's key.
    """

    name: str
    places: dict[str, str]

    @property
    def shards(self) -> list[str]:
        """The paths of its shards, each once, sorted."""
        return sorted(self._keys)

    def keys_in(self, shard: str) -> set[str]:
        """Return the keys of the tensors in one shard."""
        return self._keys.get(shard, set())

    @cached_property
    def _keys(self) -> dict[str, set[str]]:
        keys: dict[str, set[str]] = {}
        for key, shard in self.places.items():
            keys.setdefault(shard, set()).add(key)
        return keys

    def biases_elsewhere(self, shard: str) -> dict[str, str]:
        """Return the biases of a shard's weights that are in other shards, with these shards."""
        biases = [partner for _, partner in self._partners(shard, "weight", "bias")]
        return {bias: self.places[bias] for bias in biases}

    def biases_for_others(self, shard: str) -> list[str]:
        """Return the biases in a shard whose weights are in other shards."""
        return [bias for bias, _ in self._partners(shard, "bias", "weight")]

    def _partners(self, shard: str, ending: str, other: str) -> Iterator[tuple[str, str]]:
        """Yield the keys in a shard with this ending whose partner is in another shard, with it."""
        for key in self.keys_in(shard):
            if key.rpartition(".")[2] == ending:
                partner = key.removesuffix(ending) + other
                if self.places.get(partner, shard) != shard:
                    yield key, partner


def indices_of(folder: Folder) -> list[Index]:
    """Read the indices in a folder, but not those in stores such as `.git`.

    Raises:
        MalformedCheckpointError: If one cannot be read, or some of its shards are missing.
        LimitExceededError: If they name more than `max_tensors` tensors.
    """
    found: list[Index] = []
    number = 0
    stores = Stores(folder)
    for name in folder.members:
        if stores.reason_of_place(name):
            continue
        if begins_like_an_index(folder.head(name)) and (index := read_index(folder, name)):
            found.append(index)
            number += len(index.places)
            _refuse_keys(number, folder.limits)
    return found


def _refuse_keys(number: int, limits: Limits) -> None:
    if number > limits.max_tensors:
        raise LimitExceededError(
            "The indices name many tensors",
            limit="max_tensors",
            allowed=limits.max_tensors,
            found=number,
        )


def read_index(folder: Folder, name: str) -> Index | None:
    """Read one index; None if the JSON is not an index, or all of its shards are missing.

    Raises:
        MalformedCheckpointError: If it cannot be read, or some of its shards are missing.
    """
    places = _places_in(folder, name)
    base = posixpath.dirname(name)
    index = Index(name, {key: posixpath.join(base, at) for key, at in places.items()})
    missing = [shard for shard in index.shards if shard not in folder.members]
    if len(missing) == len(index.shards):
        return None
    if missing:
        raise MalformedCheckpointError(
            f"The index {name!r} names {shown(missing[0])}, which is not there.",
            remedy="Fetch all shards that the index names.",
        )
    return index


def _places_in(folder: Folder, name: str) -> dict[str, str]:
    """Return the file of each tensor, by its key; an empty dict if the JSON is not an index."""
    try:
        found = json.loads(folder.read(name))
    except (ValueError, RecursionError) as error:
        raise MalformedCheckpointError(f"The index {name!r} is no JSON text.") from error
    places = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(places, dict) or not all(isinstance(at, str) for at in places.values()):
        return {}
    return places


class IndexedFiles(PlainFolder):
    """An index and the shards that it names, without the other files of their folder.

    Attributes:
        index: The name of the index.
    """

    kind: FolderKind = "sharded"

    def __init__(self, path: Path, limits: Limits) -> None:
        """Find the shards beside the index, or else beside the file that it links to."""
        for place in _places_of(path):
            self.index = place.name
            super().__init__(place.parent, limits)
            if read_index(self, place.name) is not None:
                return
        raise MalformedCheckpointError(
            f"None of the shards that {path.name!r} names is beside it.",
            remedy="Give the folder, or an archive of it, with all shards in it.",
        )

    @property
    def shards(self) -> list[str]:
        """The names of the shards, without that of the index."""
        return [name for name in self.members if name != self.index]

    def _find(self) -> Iterator[FolderFile]:
        """Yield the index, and the shards that exist directly beside it, not in subfolders."""
        index = self._member(self.index)
        if index is None:
            return
        self.members[self.index] = index
        yield index
        for name in sorted(set(_places_in(self, self.index).values())):
            if "/" not in name and name != self.index and _is_there(self.path / name):
                member = self._member(name)
                if member is not None:
                    yield member


def _places_of(path: Path) -> Iterator[Path]:
    """Yield a path, and each path that a link leads to from there."""
    yield path
    for _ in range(_MAX_LINKS):
        if not path.is_symlink():
            return
        path = path.parent / path.readlink()
        yield path


def _is_there(path: Path) -> bool:
    """Say whether a file exists; False also if its name is too long for one."""
    try:
        return path.exists()
    except OSError:
        return False
