"""The note that a conversion stores in its artifact: what was done, and how to undo it.

It is small and deterministic. In zip containers it is the member `<root>/extra/convlast.json`,
where `torch.jit` and `torch.export` look for extra files; in safetensors it is in `__metadata__`
under `convlast`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, FailFast, ValidationError

from convlast.checkpoints.guard.zip_directory import Archive
from convlast.layout.density import is_dense
from convlast.options import Dtype, MemoryFormat
from convlast.version import __version__

MEMBER = "extra/convlast.json"
METADATA_KEY = "convlast"

MAX_BYTES = 2 << 20
"""A larger one is ignored: parsing JSON takes a hundred times its size in memory."""

_MAX_STRIDE = 1 << 48
"""Far above any real stride; on an axis of extent 1 a stride has no effect, and can be anything."""


Numbers: TypeAlias = Annotated[tuple[int, ...], FailFast()]

_Strides: TypeAlias = dict[tuple[str, tuple[int, ...]], tuple[int, ...]]
"""The strides that fit, by the layer's name or key and its shape."""


class LayerLayout(BaseModel):
    """The strides of one convolution weight, in elements."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    name: str
    """The layer's name in the report."""
    key: str
    """Its key in its own state dict."""
    shape: Numbers
    stride_before: Numbers
    """Its strides before it was first converted."""
    stride_after: Numbers
    """Its strides in this file; for safetensors, those that `convlast.load` gives it."""


class Manifest(BaseModel):
    """How a checkpoint was converted."""

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
        """Return its bytes as in an artifact."""
        return self.model_dump_json().encode()

    def stride_before(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return the original strides of a layer, if they fit this shape."""
        return self._strides_before.get((name, shape))

    def stride_after(self, key: str, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return the converted strides of a flat state dict's tensor, if they fit this shape."""
        return self._strides_after.get((key, shape))

    # If layers share a name, the first one counts. A changed `model_copy` would keep these caches.
    @cached_property
    def _strides_before(self) -> _Strides:
        fitting = (layer for layer in self.layers if _fits(layer.stride_before, layer.shape))
        return {(each.name, each.shape): each.stride_before for each in reversed([*fitting])}

    @cached_property
    def _strides_after(self) -> _Strides:
        fitting = (layer for layer in self.layers if _fits(layer.stride_after, layer.shape))
        return {(each.key, each.shape): each.stride_after for each in reversed([*fitting])}


def in_archive(archive: Archive) -> Manifest | None:
    """Return the manifest in a zip checkpoint; None if there is none.

    Raises:
        MalformedCheckpointError: If it is damaged.
    """
    member = archive.members.get(MEMBER)
    if member is None or member.unpacked_bytes > MAX_BYTES:
        return None
    return decode(archive.read(MEMBER))


def in_metadata(metadata: Mapping[str, object]) -> Manifest | None:
    """Return the manifest in the metadata of a safetensors file; None if there is none."""
    noted = metadata.get(METADATA_KEY)
    return decode(noted) if isinstance(noted, str) else None


def decode(data: bytes | str) -> Manifest | None:
    """Read a manifest; None if the bytes are not one, because anyone can put bytes there."""
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
