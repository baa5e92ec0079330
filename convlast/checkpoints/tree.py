"""A walk over the objects of a checkpoint, to every tensor in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch

from convlast.errors import LimitExceededError, MalformedCheckpointError
from convlast.options import Limits

Path: TypeAlias = tuple[object, ...]

_MAX_DEPTH = 200
"""No real checkpoint nests deeper; a walk that goes on has met a cycle."""


@dataclass(frozen=True)
class Entry:
    """A tensor, or a bare storage, and where it stands.

    Attributes:
        path: The keys and indices that lead to it from the root.
        value: The tensor or storage.
        owner: The dict, list or tuple that holds it; None for the root itself.
        original: A view of a tensor that keeps its present strides, should they be changed.
    """

    path: Path
    value: torch.Tensor | torch.UntypedStorage
    owner: object
    original: torch.Tensor | None = None


def walk(root: object, limits: Limits) -> list[Entry]:
    """Return every tensor and bare storage below an object, in order.

    One that stands in several places is returned for each of them.

    Raises:
        LimitExceededError: If there are more than `max_tensors`.
        MalformedCheckpointError: If the objects contain themselves.
    """
    entries: list[Entry] = []
    for entry in _walk(root, (), None):
        entries.append(entry)
        if len(entries) > limits.max_tensors:
            raise LimitExceededError(
                "The checkpoint names tensors in many places",
                limit="max_tensors",
                allowed=limits.max_tensors,
                found=len(entries),
            )
    return entries


def dotted(path: Path) -> str:
    """Write a path as people write it.

    A key that is not valid text (a lone surrogate) is escaped, since a report could not hold it.

    >>> dotted(("models", 0, "conv.weight"))
    'models.0.conv.weight'
    """
    text = ".".join(str(part) for part in path)
    return text.encode("utf-8", "backslashreplace").decode()


def _walk(value: object, path: Path, owner: object) -> Iterator[Entry]:
    if len(path) > _MAX_DEPTH:
        raise MalformedCheckpointError("Its objects are nested too deeply, or contain themselves.")
    if isinstance(value, torch.storage.TypedStorage):
        value = value.untyped()  # type: ignore[no-untyped-call]  # torch's own, unannotated
    if isinstance(value, torch.Tensor | torch.UntypedStorage):
        original = value.detach() if isinstance(value, torch.Tensor) else None
        yield Entry(path, value, owner, original)
    for key, child in _children(value):
        yield from _walk(child, (*path, key), value)


def _children(value: object) -> Iterator[tuple[object, object]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from enumerate(value)
    if isinstance(value, dict | torch.Tensor):
        # torch pickles the attributes of these too; a state dict's `_metadata` is one.
        yield from getattr(value, "__dict__", {}).items()
