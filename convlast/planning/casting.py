"""The cast of a state dict to fp16, as `module.half()` would do it, storage by storage.

A storage is cast as a whole: offsets and strides, which count elements, stay, and so do aliases.
Where an `Obstacle` is in the way, it stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias

import torch

from convlast.checkpoints.checkpoint import Checkpoint, Storage, StoredBytes
from convlast.checkpoints.tree import Entry, KeyPath
from convlast.planning.plan import Plan

WIDER = {torch.float32, torch.float64, torch.bfloat16}
"""The dtypes that `dtype=float16` casts."""

Obstacle: TypeAlias = Literal["used-elsewhere", "several-dtypes", "negated"]
"""Why a storage stays as it is: something outside the state dicts uses its bytes too, tensors of
several dtypes do, or a tensor negates them when it reads them."""


@dataclass(frozen=True)
class Cast:
    """One storage that becomes another, of fp16."""

    source: Storage
    dtype: torch.dtype


@dataclass
class Casts:
    """All storages that are cast, by the id of the storage that takes their place."""

    by_target: dict[int, Cast] = field(default_factory=dict)
    paths: set[KeyPath] = field(default_factory=set)
    """The tensors on them."""
    kept: dict[Obstacle, list[KeyPath]] = field(default_factory=dict)
    """The tensors of the state dicts that stay wider than fp16, by what is in the way."""

    @cached_property
    def sources(self) -> frozenset[int]:
        """The ids of the storages that they take the place of."""
        return frozenset(id(cast.source) for cast in self.by_target.values())


def cast_to_float16(checkpoint: Checkpoint, plan: Plan) -> Casts:
    """Make every floating-point tensor of the state dicts fp16; no byte is read yet.

    The tensor objects stay the same ones. The checkpoint learns where the data comes from.
    """
    state_dicts = {decision.candidate.path[:-1] for decision in plan.decisions}
    groups: dict[int, list[Entry]] = {}
    for entry in plan.entries:
        groups.setdefault(id(_storage_of(entry)), []).append(entry)
    casts = Casts()
    for entries in groups.values():
        wider = [entry for entry in entries if entry.path[:-1] in state_dicts and _is_wider(entry)]
        if not wider:
            continue
        if reason := _obstacle(entries, state_dicts):
            casts.kept.setdefault(reason, []).extend(entry.path for entry in wider)
            continue
        source, dtype = _storage_of(entries[0]), _tensor_of(entries[0]).dtype
        numel = source.nbytes() // dtype.itemsize
        target = torch.empty(numel, dtype=torch.float16).untyped_storage()
        stored = checkpoint.stored(source)
        checkpoint.add(target, StoredBytes(0, 0, stored.location, member=stored.member))
        casts.by_target[id(target)] = Cast(source, dtype)
        casts.paths.update(entry.path for entry in entries)
        for tensor in {id(entry.value): _tensor_of(entry) for entry in entries}.values():
            tensor.data = torch.empty(0, dtype=torch.float16).set_(
                target, tensor.storage_offset(), tensor.shape, tensor.stride()
            )
    return casts


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
