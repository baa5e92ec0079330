"""Memory that a model allocates and has not written yet: its values mean nothing.

`torch.empty` and its relatives return what the allocator left there, so two runs would differ by
chance. Here such memory is zeroed as soon as it is allocated, and remembered until an operator
writes to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from convlast.smoke.modes import OperatorMode
from convlast.smoke.operands import address_of, tensors_in, written_operands
from convlast.smoke.random_numbers import run_in_order

ALLOCATING = frozenset(
    f"aten::{name}"
    for name in (
        "empty",
        "empty_like",
        "empty_permuted",
        "empty_strided",
        "new_empty",
        "new_empty_strided",
    )
)
"""The operators that return memory that nobody wrote; with `out` they resize it."""

RESIZING = frozenset(f"aten::{name}" for name in ("resize", "resize_", "resize_as", "resize_as_"))
"""The operators that make a tensor larger, by memory that nobody wrote."""


class Unwritten:
    """The memory that nobody has written yet, in one run of a model."""

    def __init__(self) -> None:
        self._addresses: set[int] = set()

    def run(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Run an operator; zero the memory that it allocates and does not write."""
        name, is_mutable = func._schema.name, func._schema.is_mutable
        if is_mutable and (name in RESIZING or name in ALLOCATING):
            return self._resize(func, args, kwargs)
        result = run_in_order(func, args, kwargs)
        if name in ALLOCATING or name in RESIZING:
            for output in tensors_in(result):
                _zero(output, 0)
                self._addresses.add(address_of(output))
        elif self._addresses and not func.is_view:
            # Memory that was freed is allocated again, so results count as well.
            self._addresses.difference_update(map(address_of, tensors_in(result)))
            if is_mutable:
                written = written_operands(func, args, kwargs)
                self._addresses.difference_update(map(address_of, written))
        return result

    def is_all_of(self, tensors: Iterable[Tensor]) -> bool:
        """Return whether nobody has written to any of these tensors, of which there are some."""
        addresses = {address_of(tensor) for tensor in tensors}
        return bool(addresses) and addresses <= self._addresses

    def _resize(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Run an operator that resizes tensors in place, and zero the bytes that it adds."""
        resized = [each for each in written_operands(func, args, kwargs) if _has_memory(each)]
        before = [(each.untyped_storage().nbytes(), address_of(each)) for each in resized]
        result = func(*args, **kwargs)
        for tensor, (nbytes, address) in zip(resized, before, strict=True):
            _zero(tensor, nbytes)
            if not nbytes or address in self._addresses:
                self._addresses.discard(address)
                self._addresses.add(address_of(tensor))
        return result


class ZeroingUnwritten(OperatorMode):
    """While this mode is on, memory that nobody wrote is zero.

    Attributes:
        raised: What the last operator that raised did raise; TorchScript loses its words.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # PyTorch's
        self._unwritten = Unwritten()
        self.raised: Exception | None = None

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one operator."""
        try:
            return self._unwritten.run(func, args, kwargs or {})
        except Exception as error:
            self.raised = error
            raise


def _zero(tensor: Tensor, begin: int) -> None:
    """Zero the bytes of a tensor's storage from `begin` on; its strides may leave gaps."""
    if not _has_memory(tensor):
        return
    storage = tensor.untyped_storage()
    if storage.nbytes() > begin:
        held = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage)
        held[begin:].zero_()


def _has_memory(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and not tensor.is_meta
