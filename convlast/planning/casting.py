"""The cast of a state dict to another dtype, as `module.half()` would do it, storage by storage.

A storage is cast as a whole: offsets and strides, which count elements, stay, and so do aliases.
If there is an `Obstacle`, the storage stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import torch

from convlast.checkpoints.checkpoint import Checkpoint, Storage, StoredBytes
from convlast.checkpoints.tree import Entry, KeyPath
from convlast.options import Dtype

DTYPES: dict[Dtype, torch.dtype] = {"float16": torch.float16}
"""What the values of the option `dtype` cast to."""

WIDER = {torch.float32, torch.float64, torch.bfloat16}
"""The dtypes that `dtype=float16` casts."""

Obstacle: TypeAlias = Literal["used-elsewhere", "several-dtypes", "negated"]
"""Why a storage stays as it is: an object outside the state dicts uses its bytes too, tensors of
several dtypes do, or a tensor negates its values when it reads them."""


@dataclass(frozen=True)
class Cast:
    """One storage that another one of another dtype replaces.

    Attributes:
        source: The storage in the input.
        source_dtype: The dtype of its elements.
        dtype: The dtype that they get.
    """

    source: Storage
    source_dtype: torch.dtype
    dtype: torch.dtype


@dataclass
class Casts:
    """All casts of a checkpoint's storages."""

    by_target: dict[int, Cast] = field(default_factory=dict)
    """By the id of the storage that replaces the source."""
    dtypes: dict[KeyPath, torch.dtype] = field(default_factory=dict)
    """The new dtype of each tensor on these storages."""
    kept: dict[Obstacle, list[KeyPath]] = field(default_factory=dict)
    """The wider tensors of the state dicts that are not cast, by the obstacle."""


def cast_state_dicts(
    checkpoint: Checkpoint,
    entries: Iterable[Entry],
    state_dicts: set[KeyPath],
    dtype: torch.dtype,
) -> Casts:
    """Give every wider tensor of the state dicts another dtype; no byte is read yet.

    The tensor objects stay the same ones. The checkpoint learns the device tags of the
    new storages.

    Args:
        checkpoint: The source.
        entries: Every tensor in it.
        state_dicts: The paths of the state dicts.
        dtype: The dtype to cast to.
    """
    groups: dict[int, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(id(_storage_of(entry)), []).append(entry)
    casts = Casts()
    for group in groups.values():
        wider = [entry for entry in group if entry.path[:-1] in state_dicts and _is_wider(entry)]
        if not wider:
            continue
        if obstacle := _obstacle(group, state_dicts):
            casts.kept.setdefault(obstacle, []).extend(entry.path for entry in wider)
            continue
        target, cast = _cast(checkpoint, group, dtype)
        casts.by_target[id(target)] = cast
        casts.dtypes.update({entry.path: dtype for entry in group})
    return casts


def _cast(checkpoint: Checkpoint, group: list[Entry], dtype: torch.dtype) -> tuple[Storage, Cast]:
    """Put all tensors of one storage onto a new storage."""
    source, source_dtype = _storage_of(group[0]), _tensor_of(group[0]).dtype
    numel = source.nbytes() // source_dtype.itemsize
    target = torch.empty(numel, dtype=dtype).untyped_storage()
    stored = checkpoint.stored(source)
    checkpoint.add(target, StoredBytes(0, 0, stored.location, member=stored.member))
    for tensor in {id(entry.value): _tensor_of(entry) for entry in group}.values():
        tensor.data = torch.empty(0, dtype=dtype).set_(
            target, tensor.storage_offset(), tensor.shape, tensor.stride()
        )
    return target, Cast(source, source_dtype, dtype)


def _is_wider(entry: Entry) -> bool:
    tensor = entry.value
    return isinstance(tensor, torch.Tensor) and tensor.dtype in WIDER and not tensor.is_meta


def _obstacle(entries: Iterable[Entry], state_dicts: set[KeyPath]) -> Obstacle | None:
    """Say why a storage cannot be cast as a whole, if it cannot."""
    dtypes: set[torch.dtype] = set()
    for entry in entries:
        tensor = entry.value
        if not isinstance(tensor, torch.Tensor) or entry.path[:-1] not in state_dicts:
            return "used-elsewhere"
        if tensor.is_neg():
            return "negated"
        dtypes.add(tensor.dtype)
    return "several-dtypes" if len(dtypes) > 1 else None


def _tensor_of(entry: Entry) -> torch.Tensor:
    assert isinstance(entry.value, torch.Tensor)  # noqa: S101  # _obstacle saw to that; for mypy
    return entry.value


def _storage_of(entry: Entry) -> Storage:
    value = entry.value
    return value.untyped_storage() if isinstance(value, torch.Tensor) else value
