"""The note that a conversion leaves in its artifact: what was done, and how to undo it.

It is small and deterministic. Zip containers have it as the member `<root>/extra/convlast.json`,
where `torch.jit` and `torch.export` look for extra files; safetensors has it in `__metadata__`
under `convlast`.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, FailFast, ValidationError

from convlast.layout.memory_format import is_dense
from convlast.options import Dtype, MemoryFormat
from convlast.version import __version__

MEMBER = "extra/convlast.json"
METADATA_KEY = "convlast"

MAX_BYTES = 2 << 20
"""More is read as no manifest: JSON takes a hundred times its bytes of memory while it is read."""

_MAX_STRIDE = 1 << 48
"""Far above any tensor's: on an axis of extent 1 a stride means nothing, and can be anything."""


Numbers: TypeAlias = Annotated[tuple[int, ...], FailFast()]

_Strides: TypeAlias = dict[tuple[str, tuple[int, ...]], tuple[int, ...]]
"""Those that fit, by a layer's name or key, and its shape."""


class LayerLayout(BaseModel):
    """The strides of one convolution weight, in elements."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    name: str
    """The layer's name in the report."""
    key: str
    """Its key in its own state dict."""
    shape: Numbers
    stride_before: Numbers
    """What it had before it was first converted."""
    stride_after: Numbers
    """What it has in this file, or for safetensors gets from `convlast.load`."""


class Manifest(BaseModel):
    """What was done to a checkpoint."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    convlast: str = __version__
    """The version that wrote it."""
    memory_format: MemoryFormat
    """The layout that was asked for."""
    dtype: Dtype = "keep"
    """`float16` if floating-point tensors were cast to it, now or in an earlier conversion."""
    layers: Annotated[tuple[LayerLayout, ...], FailFast()]
    """Every convolution weight, in the file's order."""

    def encode(self) -> bytes:
        """Return its bytes as they stand in an artifact."""
        return self.model_dump_json().encode()

    def stride_before(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return the strides a layer had at first, if they fit this shape."""
        return self._strides_before.get((name, shape))

    def stride_after(self, key: str, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return the strides a tensor of a flat state dict gets, if they fit this shape."""
        return self._strides_after.get((key, shape))

    # Of several layers with one name the first counts. A changed `model_copy` would keep these.
    @cached_property
    def _strides_before(self) -> _Strides:
        fitting = (layer for layer in self.layers if _fits(layer.stride_before, layer.shape))
        return {(each.name, each.shape): each.stride_before for each in reversed([*fitting])}

    @cached_property
    def _strides_after(self) -> _Strides:
        fitting = (layer for layer in self.layers if _fits(layer.stride_after, layer.shape))
        return {(each.key, each.shape): each.stride_after for each in reversed([*fitting])}


def decode(data: bytes | str) -> Manifest | None:
    """Read a manifest; None where the bytes are none, since anyone can put bytes there."""
    if len(data) > MAX_BYTES:
        return None
    try:
        return Manifest.model_validate_json(data)
    except ValidationError:
        return None


def _fits(strides: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Say whether a tensor of this shape can have these strides; the file may say anything."""
    return (
        len(strides) == len(shape)
        and all(0 <= stride <= _MAX_STRIDE for stride in strides)
        and is_dense(shape, strides)
    )
