"""Finding every tensor in the objects of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import nn

from convlast.checkpoints.guard import records
from convlast.checkpoints.guard.tensor_limits import TensorCount
from convlast.errors import (
    LimitExceededError,
    MalformedCheckpointError,
    UnsupportedContainerError,
)
from convlast.layout.memory_format import Place, place_of, span_of
from convlast.options import Limits

KeyPath: TypeAlias = tuple[object, ...]

_Children: TypeAlias = list[tuple[object, object]]

_HOLDERS = (
    dict,
    list,
    tuple,
    set,
    frozenset,
    torch.Tensor,
    torch.UntypedStorage,
    torch.storage.TypedStorage,
    nn.Module,
    *records.HOLDERS,
)

_LEAVES = (torch.Tensor, torch.UntypedStorage)
_HASHED = (dict, set, frozenset)

_STATE = ("_parameters", "_buffers", "_modules")
"""The attributes in which a module holds its tensors and submodules."""

_MAX_DEPTH = 200
"""No real checkpoint nests deeper."""


class Entry(NamedTuple):
    """A tensor, or a bare storage, and its place in the checkpoint.

    Attributes:
        path: The keys and indices that lead to it from the root; below a module it is a single key,
            as in the module's state dict.
        value: The tensor or storage.
        owner: The dict, list, tuple or module that holds it; None for the root itself.
        original: A view of the tensor that keeps the present strides when the tensor's are changed;
            None if it was not asked for.
    """

    path: KeyPath
    value: torch.Tensor | torch.UntypedStorage
    owner: object
    original: torch.Tensor | None = None


def walk(root: object, limits: Limits, *, keep_originals: bool = True) -> list[Entry]:
    """Return every tensor and bare storage below an object, in order.

    A tensor in several places is returned for each of them.

    Args:
        root: The object.
        limits: The limits to enforce.
        keep_originals: Whether the entries of tensors get an `original`.

    Raises:
        LimitExceededError: If there are more than `max_tensors`, if their names together are longer
            than `max_pickle_bytes`, or if they are larger than their stored bytes by more than
            `max_expanded_bytes`.
        MalformedCheckpointError: If the objects contain themselves, or a tensor has hooks.
        UnsupportedContainerError: If a tensor or NaN is a dict key, or in a set.
    """
    entries = []
    for entry in _Walk(TensorCount(limits), keep_originals=keep_originals).below(root, (), ()):
        _refuse_hooks(entry)
        entries.append(entry)
    _refuse_expansion(entries, limits)
    return entries


def dotted(path: KeyPath) -> str:
    """Write a path with dots.

    A key that is not valid text (a lone surrogate) is escaped, because a report cannot contain it.

    >>> dotted(("models", 0, "conv.weight"))
    'models.0.conv.weight'
    """
    text = ".".join(str(part) for part in path)
    return text.encode("utf-8", "backslashreplace").decode()


def value_at(root: object, path: KeyPath) -> object:
    """Return what stands at a path, among items or attributes.

    Raises:
        LookupError: If nothing stands there; also if it is below a submodule, whose key is joined.

    >>> value_at({"models": [{"ema": 1}]}, ("models", 0, "ema"))
    1
    """
    found: Any = root
    for key in path:
        if isinstance(found, dict) and key in found:
            found = dict.__getitem__(found, key)  # not its own, which a file may set
        elif isinstance(found, list | tuple) and isinstance(key, int):
            found = found[key]
        else:
            found = getattr(found, "__dict__", {})[key]
    return found


class _Walk:
    """One walk.

    An object in many places is searched once: `_fruitful` has, by the id of each object that was
    searched, its children that lead to tensors. Otherwise a few hundred bytes could describe more
    places than there is time to visit. `_open` has the objects that are being searched: to meet one
    of them again means a cycle.
    """

    def __init__(self, places: TensorCount, *, keep_originals: bool) -> None:
        self._places = places
        self._keeps_originals = keep_originals
        self._fruitful: dict[int, _Children] = {}
        self._open: set[int] = set()
        self._taken = 0

    def below(self, value: object, path: KeyPath, owners: tuple[object, ...]) -> Iterator[Entry]:
        """Yield the entries below a value, whose owners are given from the root on."""
        if len(owners) > _MAX_DEPTH:
            raise _endless()
        if isinstance(value, torch.storage.TypedStorage):
            value = value._untyped_storage
        if isinstance(value, _LEAVES):
            yield self._entry(value, path, owners)
            if not getattr(value, "__dict__", None):
                return  # true for nearly all tensors
        inside = (*owners, value)
        for holder, children in _holders_in(value):
            fruitful = self._enter(holder)
            for key, child in self._fruitful.get(id(holder), children):
                before = self._taken
                yield from self.below(child, _path_of(key, value, path, owners), inside)
                if self._taken > before:
                    fruitful.append((key, child))
            self._leave(holder, fruitful)

    def _enter(self, holder: object) -> _Children:
        """Begin to search an object; return a list for its children that lead to tensors."""
        if id(holder) in self._open:
            raise _endless()
        self._open.add(id(holder))
        return []

    def _leave(self, holder: object, fruitful: _Children) -> None:
        self._open.remove(id(holder))
        self._fruitful[id(holder)] = fruitful

    def _entry(
        self, value: torch.Tensor | torch.UntypedStorage, path: KeyPath, owners: tuple[object, ...]
    ) -> Entry:
        self._taken += 1
        self._places.take(path)
        original = None
        if self._keeps_originals and isinstance(value, torch.Tensor):
            original = torch.Tensor.detach(value)
        return Entry(_joined(path), value, owners[-1] if owners else None, original)


def _endless() -> MalformedCheckpointError:
    return MalformedCheckpointError("Its objects are nested too deeply, or contain themselves.")


def _holders_in(value: object) -> Iterator[tuple[object, Iterable[tuple[object, object]]]]:
    """Yield each object that holds children of a value, with these children.

    It is the value itself; for a module also the dicts of its state, which modules may share.
    """
    if isinstance(value, nn.Module):
        for name, held in vars(value).items():
            if name in _STATE:
                yield held, _children(held)
    yield value, _children(value)


def _children(value: object) -> Iterator[tuple[object, object]]:
    """Yield the children of a value that can be tensors, or can hold some."""
    items: Iterable[tuple[object, object]] = ()
    if isinstance(value, _HASHED):
        _refuse_unequal(value)
    if isinstance(value, dict):
        items = type(value).items(value)  # not its own `items`, which a file may set
    elif isinstance(value, list | tuple | set | frozenset):
        items = enumerate(value)
    for key, child in chain(items, _attributes(value)):
        if isinstance(child, _HOLDERS):
            yield key, child


def _attributes(value: object) -> Iterable[tuple[object, object]]:
    """Return the attributes of a value that torch pickles with it, but not a module's state."""
    if isinstance(value, nn.Module):
        return [(name, held) for name, held in vars(value).items() if name not in _STATE]
    if isinstance(value, (dict, torch.Tensor, *records.HOLDERS)):
        # Of a dict too; a state dict's `_metadata` is one.
        return getattr(value, "__dict__", {}).items()
    return ()


def _path_of(key: object, value: object, path: KeyPath, owners: tuple[object, ...]) -> KeyPath:
    """Return the path of the child of a value with this key."""
    if isinstance(value, nn.Module) and owners and isinstance(owners[-1], nn.Module):
        return (*path, _Further(key))
    return (*path, key)


class _Further(NamedTuple):
    """A key in a submodule, which is appended to the submodule's own key."""

    key: object

    def __str__(self) -> str:
        return f".{self.key}"


def _joined(path: KeyPath) -> KeyPath:
    """Return a path with one dotted key for nested modules.

    This is done for tensors only, because a long key may lead to any number of other objects.
    """
    if not any(isinstance(key, _Further) for key in path):
        return path
    groups: list[list[object]] = []
    for key in path:
        if isinstance(key, _Further):
            groups[-1].append(key)
        else:
            groups.append([key])
    return tuple("".join(map(str, keys)) if len(keys) > 1 else keys[0] for keys in groups)


def _refuse_unequal(keys: Iterable[object]) -> None:
    """Refuse dict keys and set elements that, when loaded again, do not equal themselves."""
    for key in keys:
        if type(key) is str:
            continue
        if isinstance(key, tuple | frozenset):
            _refuse_unequal(key)  # of few parts, as the guard has seen
        elif isinstance(key, _HOLDERS):
            raise UnsupportedContainerError(
                "The checkpoint has a tensor, or another object, as a dict key or in a set.",
                remedy="Leave it out, or put it into a list.",
            )
        elif key != key:
            raise UnsupportedContainerError(
                "The checkpoint has NaN as a dict key or in a set, where it cannot be found.",
                remedy="Leave it out, or put it into a list.",
            )


def _refuse_hooks(entry: Entry) -> None:
    """Refuse a tensor with hooks: a pickle can set them, but no checkpoint can store them."""
    hooks = getattr(entry.value, "_backward_hooks", None)
    if hooks is not None and not (isinstance(hooks, dict) and not hooks):
        raise MalformedCheckpointError(
            f"Tensor {dotted(entry.path)} has backward hooks, which no checkpoint can store."
        )


def _refuse_expansion(entries: Iterable[Entry], limits: Limits) -> None:
    """Refuse tensors that repeat their stored elements too often, with a stride of 0."""
    seen: set[Place] = set()
    found = 0
    for entry in entries:
        tensor = entry.value
        if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided or tensor.is_meta:
            continue
        if tensor.is_contiguous():  # then it repeats nothing
            continue
        place = place_of(tensor)
        if place in seen:
            continue
        seen.add(place)
        start, end = span_of(tensor)
        found += max(tensor.numel() * tensor.itemsize - (end - start), 0)
        if found > limits.max_expanded_bytes:
            raise LimitExceededError(
                f"Tensor {dotted(entry.path)} is larger than its stored bytes",
                limit="max_expanded_bytes",
                allowed=limits.max_expanded_bytes,
                found=found,
            )
