"""Arbitrary checkpoints, for the laws that hold for each of them."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

DTYPES = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16,
    torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64, torch.complex128,
    torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool,
]  # fmt: skip

NUMEL = 300
"""Elements of each storage: room for several small weights, whole or overlapping."""

DRAW = st.DrawFn


class Drawn:
    """What a file may hold, with a text that shows its structure and not its numbers."""

    def __init__(self, root: Any) -> None:
        self.root = root

    def __repr__(self) -> str:
        return f"Drawn({_outline(self.root)})"


def _outline(value: Any) -> str:
    if isinstance(value, Tensor):
        facts = (value.dtype, tuple(value.shape), value.stride(), value.storage_offset())
        return f"{type(value).__name__}{facts} on {value.untyped_storage()._cdata % 100_000}"
    if isinstance(value, torch.storage.TypedStorage | torch.UntypedStorage):
        untyped = getattr(value, "_untyped_storage", value)
        return f"storage {untyped._cdata % 100_000}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_outline(child)}" for key, child in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_outline, value))}]"
    return repr(value)


def _storage_of(dtype: torch.dtype, seed: int) -> Tensor:
    """Return a flat tensor of random bits, NaN of all payloads among them."""
    generator = torch.Generator().manual_seed(seed)
    high = 2 if dtype is torch.bool else 256
    raw = torch.randint(0, high, (NUMEL * dtype.itemsize,), dtype=torch.uint8, generator=generator)
    return raw.view(dtype)


def _packed(shape: tuple[int, ...], order: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of a dense tensor whose axes lie in this order, outermost first."""
    strides, step = [0] * len(shape), 1
    for axis in reversed(order):
        strides[axis] = step
        step *= max(shape[axis], 1)
    return tuple(strides)


@st.composite
def _geometries(draw: DRAW) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Draw a shape and strides: mostly a weight's, dense in some order of its axes."""
    kind = draw(st.sampled_from(["weight"] * 6 + ["kernel of one", "gaps", "expanded", "other"]))
    if kind == "other":
        shape = tuple(draw(st.lists(st.integers(0, 4), max_size=4)))
        return shape, _packed(shape, tuple(range(len(shape))))
    extents = [draw(st.integers(1, 3)) for _ in range(5)]
    if draw(st.integers(0, 19)) == 0:
        extents[draw(st.integers(0, 4))] = 0
    if kind == "kernel of one":
        extents[2:] = [1, 1, 1]
    shape = tuple(extents)
    if kind == "weight":
        layouts = st.sampled_from([(0, 1, 2, 3, 4), (0, 1, 2, 3, 4), (0, 2, 3, 4, 1)])
        order = draw(layouts | st.permutations(range(5)).map(tuple))
        return shape, _packed(shape, order)
    strides = list(_packed(shape, (0, 1, 2, 3, 4)))
    if kind == "gaps" and max(shape) < 3:
        strides = [2 * stride for stride in strides]
    if kind == "expanded":
        strides[draw(st.integers(0, 4))] = 0
    return shape, tuple(strides)


def _span(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    if 0 in shape:
        return 0
    return 1 + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))


@st.composite
def _tensors(draw: DRAW, storages: list[Tensor], earlier: list[Tensor]) -> Tensor:
    """Draw a view of a storage, or one that was drawn before: itself, or an alias."""
    how = draw(st.sampled_from(["new"] * 5 + ["same object", "alias"]))
    if earlier and how != "new":
        tensor = draw(st.sampled_from(earlier))
        return tensor if how == "same object" else tensor.detach()
    storage = draw(st.sampled_from(storages))
    shape, strides = draw(_geometries())
    offset = draw(st.sampled_from([0, 0, 100]) | st.integers(0, NUMEL - _span(shape, strides)))
    tensor = storage.as_strided(shape, strides, min(offset, NUMEL - max(_span(shape, strides), 1)))
    if tensor.is_complex() and draw(st.booleans()):
        tensor = tensor.conj()
    decoration = draw(st.sampled_from(["", "", "", "parameter", "frozen", "leaf", "attribute"]))
    if decoration in {"parameter", "leaf"} and not tensor.dtype.is_floating_point:
        return tensor
    if decoration == "parameter":
        return nn.Parameter(tensor)
    if decoration == "frozen":
        return nn.Parameter(tensor, requires_grad=False)
    if decoration == "leaf" and tensor.itemsize > 1:  # torch cannot load such leaves of fp8
        return tensor.detach().requires_grad_()
    if decoration == "attribute":
        tensor.__dict__["mark"] = draw(st.integers(0, 3))
    return tensor


_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(min_size=1, max_size=5),
)


def _container(draw: DRAW) -> Any:
    kind = draw(st.sampled_from(["state dict", "dict", "list"]))
    if kind == "state dict":
        state_dict: OrderedDict[str, Any] = OrderedDict()
        vars(state_dict)["_metadata"] = OrderedDict({"": {"version": draw(st.integers(1, 3))}})
        return state_dict
    return {} if kind == "dict" else []


def _put(container: Any, key: str, value: object) -> None:
    if isinstance(container, list):
        container.append(value)
    else:
        container[key] = value


@st.composite
def checkpoints(draw: DRAW, dtypes: tuple[torch.dtype, ...] = tuple(DTYPES)) -> Drawn:
    """Draw what a file may hold, with at least one convolution weight.

    A tensor is a convolution weight exactly if it is 5-D and its key in a dict ends in `.weight`.
    """
    seeds = draw(st.lists(st.integers(0, 9), min_size=1, max_size=3))
    storages = [_storage_of(draw(st.sampled_from(dtypes)), seed) for seed in seeds]
    numbers = itertools.count()
    root = _container(draw)
    containers = [root]
    for _ in range(draw(st.integers(0, 3))):
        child = _container(draw)
        _put(draw(st.sampled_from(containers)), f"part{next(numbers)}", child)
        if draw(st.integers(0, 4)) == 0:  # the same dict or list in two places
            _put(draw(st.sampled_from(containers)), f"again{next(numbers)}", child)
            containers = [one for one in containers if one is root]
        containers.append(child)
    tensors: list[Tensor] = []
    for _ in range(draw(st.integers(1, 7))):
        tensors.append(draw(_tensors(storages, tensors)))
        name = draw(st.sampled_from(["conv{}.weight", "conv{}.weight", "pos{}", "x{}.weights"]))
        _put(draw(st.sampled_from(containers)), name.format(next(numbers)), tensors[-1])
        if draw(st.integers(0, 3)) == 0:
            _put(draw(st.sampled_from(containers)), f"leaf{next(numbers)}", draw(_LEAVES))
    if draw(st.integers(0, 9)) == 0:
        whole = draw(st.sampled_from(storages))
        if whole.dtype not in (torch.float8_e4m3fn, torch.float8_e5m2):  # torch has none of these
            make: Any = torch.storage.TypedStorage  # torch does not annotate it
            bare = make(wrap_storage=whole.untyped_storage(), dtype=whole.dtype, _internal=True)
            _put(root, f"bare{next(numbers)}", bare)
    certain = storages[0].as_strided((2, 3, 2, 2, 2), (24, 8, 4, 2, 1), 0)
    _put(root, "certain", {"certain.weight": certain})
    return Drawn(root)
