"""The conversion of bytes: the elements of one weight, put in the order of new strides."""

from __future__ import annotations

import ctypes
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch

from convlast.checkpoints.checkpoint import tensor_over
from convlast.layout.pieces import copy_elements, equal_elements

CARRIER = {
    1: torch.uint8,
    2: torch.int16,
    4: torch.int32,
    8: torch.int64,
    16: torch.complex128,
}
"""A dtype for each item size, so that elements are moved as bits and no value is looked at."""


@dataclass(frozen=True)
class Restriding:
    """A dense weight that is to get other strides.

    Attributes:
        shape: (O, I, D, H, W)
        before: Its strides, dense, in elements.
        after: The strides it is to have, likewise.
        itemsize: Bytes of an element.
    """

    shape: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    itemsize: int

    @property
    def nbytes(self) -> int:
        """Its size, in either order."""
        return math.prod(self.shape) * self.itemsize

    def relates(self, before: memoryview, after: memoryview) -> bool:
        """Say whether bytes in the one order and bytes in the other are the same elements."""
        carrier = CARRIER[self.itemsize]
        left = tensor_over(before, carrier).as_strided(self.shape, self.before)
        right = tensor_over(after, carrier).as_strided(self.shape, self.after)
        return equal_elements(bits_of(left), bits_of(right))


Read: TypeAlias = Callable[[memoryview], None]
"""Fills a buffer with a weight's bytes, in the order they have."""


def permute_all(
    weights: Iterable[tuple[Restriding, Read]], device: torch.device
) -> Iterator[tuple[memoryview, memoryview]]:
    """Put the elements of many weights in their new order, in memory that is used again.

    On a GPU one weight is read, or written by whoever takes it, while another one is on its way
    there and back.

    Args:
        weights: What is to be done to each, and what reads it.
        device: Where the elements change places.

    Yields:
        Each weight's bytes before and after; both are overwritten when a later one is taken.
    """
    slots = [_Slot(device) for _ in range(2 if device.type == "cuda" else 1)]
    under_way: deque[_Slot] = deque()
    for index, (restriding, read) in enumerate(weights):
        slot = slots[index % len(slots)]
        slot.start(restriding, read)
        under_way.append(slot)
        if len(under_way) == len(slots):
            yield under_way.popleft().finish()
    while under_way:
        yield under_way.popleft().finish()


def permuted(weight: torch.Tensor, stride: tuple[int, ...], device: torch.device) -> bytes:
    """Return a dense weight's bytes in the order of other strides.

    Args:
        weight: (O, I, D, H, W), on the CPU, dense.
        stride: The new strides, dense, in elements.
        device: Where the elements change places.

    >>> weight = torch.arange(4, dtype=torch.uint8).reshape(1, 2, 1, 1, 2)
    >>> list(permuted(weight, (4, 1, 4, 4, 2), torch.device("cpu")))
    [0, 2, 1, 3]
    """
    restriding = Restriding(tuple(weight.shape), weight.stride(), stride, weight.itemsize)
    flat = weight.detach().as_strided((weight.numel(),), (1,)).view(torch.uint8)

    def read(buffer: memoryview) -> None:
        tensor_over(buffer, torch.uint8).copy_(flat)

    for _, after in permute_all([(restriding, read)], device):
        return bytes(after)
    raise AssertionError


class _Slot:
    """Room for one weight in both orders; on a GPU with a queue of its own."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._is_on_gpu = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if self._is_on_gpu else None  # type: ignore[no-untyped-call] # torch's
        self._resize(0)
        self._nbytes = 0

    def start(self, restriding: Restriding, read: Read) -> None:
        """Read a weight, and begin to permute it."""
        self._nbytes = restriding.nbytes
        if self._before.numel() < self._nbytes:
            self._resize(self._nbytes)
        read(self._view_before[: self._nbytes])
        carrier = CARRIER[restriding.itemsize]
        source = self._before[: self._nbytes].view(carrier)
        target = self._after[: self._nbytes].view(carrier)
        shape, before, after = restriding.shape, restriding.before, restriding.after
        if self._stream is None:
            copy_elements(target.as_strided(shape, after), source.as_strided(shape, before))
            return
        with torch.cuda.stream(self._stream):
            arrived = source.to(self._device, non_blocking=True)
            moved = torch.empty_like(arrived)
            moved.as_strided(shape, after).copy_(arrived.as_strided(shape, before))
            target.copy_(moved, non_blocking=True)

    def finish(self) -> tuple[memoryview, memoryview]:
        """Wait for it; return its bytes in both orders."""
        if self._stream is not None:
            self._stream.synchronize()
        return self._view_before[: self._nbytes], self._view_after[: self._nbytes]

    def _resize(self, nbytes: int) -> None:
        self._before, self._after = self._room(nbytes), self._room(nbytes)
        self._view_before, self._view_after = memory_of(self._before), memory_of(self._after)

    def _room(self, nbytes: int) -> torch.Tensor:
        # A GPU copies to and from pinned memory by itself, while this thread goes on.
        return torch.empty(nbytes, dtype=torch.uint8, pin_memory=self._is_on_gpu and nbytes > 0)


def memory_of(flat: torch.Tensor) -> memoryview:
    """Give the bytes of a tensor as a buffer; it must not outlive the tensor."""
    array = (ctypes.c_ubyte * flat.numel()).from_address(flat.data_ptr() or 0)
    return memoryview(array).cast("B")


def bits_of(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor's stored bits as integers, so that NaN equals NaN and -0.0 not 0.0.

    >>> bits_of(torch.tensor([0.0, -0.0]))
    tensor([          0, -2147483648], dtype=torch.int32)
    """
    tensor = tensor.detach()
    if tensor.is_conj():
        tensor = tensor.conj()
    if tensor.is_neg():
        tensor = torch._neg_view(tensor)  # its view is the tensor itself, of any dtype
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return tensor.view(CARRIER[tensor.itemsize])
