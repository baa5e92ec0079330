"""The options as keywords of the verbs, so that editors and type checkers know them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypedDict

from convlast.options import Dtype


class InspectionKeywords(TypedDict, total=False):
    """The options of an inspection."""

    memory_format: Literal["channels_last_3d", "channels_last", "contiguous_format"]
    select: str | Sequence[str]
    on_unreadable: Literal["copy", "reject"]


class ConversionKeywords(InspectionKeywords, total=False):
    """The options of a conversion: all of them."""

    container: Literal["auto", "torch", "safetensors"]
    dtype: Dtype
    smoke: Literal["auto", "model", "layers", "none"]
    architecture: str | None
    architecture_options: dict[str, Any]
    entry_point: Literal["auto", "forward", "encode", "decode"]
    input_shape: str | Sequence[int] | None
    smoke_seconds: float | None
    on_failure: Literal["reject", "report"]
    min_speedup: float | None
    tensor_digests: bool


INSPECTED = tuple(InspectionKeywords.__annotations__)
"""The options that an inspection takes: it says what a conversion would do."""
