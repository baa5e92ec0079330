"""The input sizes that a model may run on, the likeliest first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from torch import nn

Shape: TypeAlias = tuple[int, ...]

SIZES: tuple[Shape, ...] = (
    (8, 8, 8),
    (16, 16, 16),
    (24, 24, 24),
    (5, 64, 64),
    (32, 32, 32),
    (48, 48, 48),
    (17, 96, 96),
    (16, 112, 112),
    (64, 64, 64),
    (16, 224, 224),
    (96, 96, 96),
    (128, 128, 128),
)
"""(D, H, W), in growing order: cubic volumes and video clips, some of them of 4 n + 1 frames."""

_EXTENTS = ("img_size", "image_size", "input_size", "spatial_size", "sample_size", "roi_size")
_FRAMES = ("num_frames", "sample_frames", "temporal_size")
"""The options of a model that may contain its input size."""


def channels_of(model: nn.Module, *, decodes: bool = False) -> list[int]:
    """Return the numbers of channels that the input may have: those of the convolutions, in order.

    >>> channels_of(nn.Sequential(nn.Conv3d(3, 8, 3), nn.Conv3d(8, 8, 3), nn.Conv3d(8, 2, 1)))
    [3, 8]
    """
    named = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d)
    ]
    if decodes:  # put first the convolutions that an autoencoder calls first when it decodes
        named.sort(key=lambda pair: (not _is_before(pair[0]), not _decodes(pair[0])))
    return list(dict.fromkeys(module.in_channels for _, module in named))[:8]


def candidates(channels: Sequence[int], said: Mapping[str, Any]) -> list[list[Shape]]:
    """Return groups of shapes to try, the likeliest first.

    Args:
        channels: The values that C may have.
        said: The options of the model; some contain a size.

    >>> candidates([3], {"image_size": 224, "num_frames": 16})[:2]
    [[(1, 3, 16, 224, 224)], [(1, 16, 3, 224, 224)]]
    """
    groups: list[list[Shape]] = []
    for depth, height, width in _sizes_in(said):
        groups += [[(1, count, depth, height, width)] for count in channels]
        groups += [[(1, depth, count, height, width)] for count in channels]  # frames first
    return groups + [[(1, count, *size) for size in SIZES] for count in channels]


def _sizes_in(said: Mapping[str, Any]) -> Iterator[tuple[int, int, int]]:
    frames = [extent for name in _FRAMES for extent in _extents(said.get(name))]
    for name in _EXTENTS:
        match _extents(said.get(name)):
            case [depth, height, width]:
                yield depth, height, width
            case [height, width]:
                yield (*frames, height)[0], height, width
            case [extent]:
                yield (*frames, extent)[0], extent, extent


def _extents(value: object) -> list[int]:
    """Return a number, or several, as a list; an empty list if the value is not a size."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    extents = [extent for extent in values if type(extent) is int and 0 < extent <= 1024]
    return extents if len(extents) == len(values) else []


def _is_before(name: str) -> bool:
    return name.startswith("post_quant")


def _decodes(name: str) -> bool:
    return "decoder" in name.split(".")[0]
