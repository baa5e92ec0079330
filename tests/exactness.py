"""Two checkpoints, loaded by plain `torch.load`, compared in everything.

Nothing of the library takes part: this is what its own proof is checked against.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

ObjectPath = tuple[object, ...]
Strides = tuple[int, ...]

_CARRIER = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.int64}


class Loaded:
    """What `torch.load(weights_only=True)` gives, and the device tag of each storage."""

    def __init__(self, path: Path) -> None:
        self.tags: dict[int, str] = {}
        self._storages: list[object] = []
        # torch hands over an untyped storage, whatever its annotation says.
        self.root: Any = torch.load(path, weights_only=True, map_location=self._keep)  # type: ignore[arg-type]

    def _keep(self, storage: torch.UntypedStorage, tag: str) -> torch.UntypedStorage:
        self.tags[storage._cdata] = tag
        self._storages.append(storage)
        return storage


def restrided(before: Path, after: Path) -> dict[ObjectPath, tuple[Strides, Strides]]:
    """Return the tensors that have other strides, and fail if anything else differs."""
    comparison = _Comparison(Loaded(before), Loaded(after))
    comparison.compare(comparison.before.root, comparison.after.root, ())
    return comparison.restrided


def strides_by_pytorch(weight: Tensor) -> Strides:
    """Return the strides that PyTorch's own function gives a module with this weight."""
    module = nn.Conv3d(1, 1, 1)
    module.weight = nn.Parameter(weight.detach(), requires_grad=False)
    nn.utils.convert_conv3d_weight_memory_format(module, torch.channels_last_3d)
    return module.weight.stride()


def at(root: Any, path: ObjectPath) -> Any:
    """Return what stands at a path."""
    for part in path:
        root = root[part]
    return root


def bits(tensor: Tensor) -> Tensor:
    """Return the stored bits as integers, so that NaN equals NaN and -0.0 is not 0.0."""
    size, carrier = tensor.element_size(), _CARRIER[tensor.element_size()]
    shape, stride, offset = tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset())
    if size == 16:
        shape, stride, offset = (*shape, 2), (*(2 * step for step in stride), 1), 2 * offset
    return torch.empty(0, dtype=carrier).set_(tensor.untyped_storage(), offset, shape, stride)


class _Comparison:
    """One comparison, with all pairs of objects that were met."""

    def __init__(self, before: Loaded, after: Loaded) -> None:
        self.before, self.after = before, after
        self.restrided: dict[ObjectPath, tuple[Strides, Strides]] = {}
        self._partners: dict[tuple[str, int], int] = {}

    def compare(self, old: Any, new: Any, path: ObjectPath) -> None:
        """Compare two objects and all below them."""
        assert type(old) is type(new), path
        if isinstance(old, Tensor):
            self._compare_tensors(old, new, path)
        elif isinstance(old, torch.storage.TypedStorage | torch.UntypedStorage):
            self._compare_storages(_untyped(old), _untyped(new), path)
            assert bytes(_untyped(old)) == bytes(_untyped(new)), path
        elif isinstance(old, dict | list | tuple):
            self._compare_containers(old, new, path)
        elif isinstance(old, float):
            assert struct.pack("d", old) == struct.pack("d", new), path
        else:
            assert old == new, path

    def _compare_containers(self, old: Any, new: Any, path: ObjectPath) -> None:
        if old or isinstance(old, dict):  # there is but one empty tuple
            self._pair("object", id(old), id(new), path)
        keys = list(old) if isinstance(old, dict) else list(range(len(old)))
        assert keys == (list(new) if isinstance(new, dict) else list(range(len(new)))), path
        for key in keys:
            self.compare(old[key], new[key], (*path, key))
        if isinstance(old, dict):
            assert [type(key) for key in old] == [type(key) for key in new], path
            left, right = getattr(old, "__dict__", None), getattr(new, "__dict__", None)
            self.compare(left or None, right or None, (*path, "__dict__"))

    def _compare_tensors(self, old: Tensor, new: Tensor, path: ObjectPath) -> None:
        self._pair("object", id(old), id(new), path)
        self.compare(vars(old), vars(new), (*path, "__dict__"))
        for fact in ("dtype", "shape", "requires_grad", "is_leaf", "layout", "device"):
            assert getattr(old, fact) == getattr(new, fact), (path, fact)
        assert (old.is_conj(), old.is_neg()) == (new.is_conj(), new.is_neg()), path
        assert old.storage_offset() == new.storage_offset(), path
        if old.stride() != new.stride():
            self.restrided[path] = (old.stride(), new.stride())
        self._compare_storages(old.untyped_storage(), new.untyped_storage(), path)
        assert torch.equal(bits(old), bits(new)), path

    def _compare_storages(
        self, old: torch.UntypedStorage, new: torch.UntypedStorage, path: ObjectPath
    ) -> None:
        assert old.nbytes() == new.nbytes(), path
        if old.nbytes():
            self._pair("storage", old._cdata, new._cdata, path)
            assert self.before.tags[old._cdata] == self.after.tags[new._cdata], path

    def _pair(self, kind: str, old: int, new: int, path: ObjectPath) -> None:
        """Check that what was one thing is one thing still, and what was two is two."""
        assert self._partners.setdefault((f"{kind} before", old), new) == new, path
        assert self._partners.setdefault((f"{kind} after", new), old) == old, path


def _untyped(storage: Any) -> torch.UntypedStorage:
    if isinstance(storage, torch.storage.TypedStorage):
        return storage._untyped_storage
    assert isinstance(storage, torch.UntypedStorage)
    return storage
