"""The input sizes that a model may run on, the likeliest first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from torch import nn

Shape: TypeAlias = tuple[int, ...]

_DEEP = (nn.Conv3d, nn.ConvTranspose3d)

SIZES: tuple[Shape, ...] = (
    (8, 8, 8),
    (16, 16, 16),
    (24, 24, 24),
    (5, 64, 64),
    (32, 32, 32),
    (9, 64, 64),
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


_CHANNELS = (
    "in_channels",
    "in_chans",
    "input_channels",
    "num_input_channels",
    "n_input_channels",
    "num_channels",
    "n_channels",
    "in_dim",
)
_LATENTS = ("latent_channels", "z_channels", "z_dim")
"""The options of a model that may contain the number of its input's channels, or of a decoder's."""

_PATCHES, _PATCHED_FRAMES = ("patch_size",), ("patch_size_t", "temporal_patch_size")
"""The options of a model that may say how many elements it folds into channels at first."""

USUAL = (3, 1)
"""The channels of videos and of medical volumes; the last to be tried."""

MOST = 10
"""The most numbers of channels that are tried."""


def channels_of(
    model: nn.Module, said: Mapping[str, Any] | None = None, *, decodes: bool = False
) -> list[int]:
    """Return the numbers of channels that the input may have, the likeliest first.

    Those that the options say come first, then those of the convolutions, in order, and both
    without the patches that the model folds into channels; then the usual ones.

    Args:
        model: The model.
        said: Its options.
        decodes: Whether the input is an autoencoder's latent.

    >>> channels_of(nn.Sequential(nn.Conv3d(2, 8, 3), nn.Conv3d(8, 8, 3), nn.Conv3d(8, 2, 1)))
    [2, 8, 3, 1]
    >>> channels_of(nn.Sequential(nn.Conv2d(48, 8, 3)), {"in_channels": 12, "patch_size": 2})
    [12, 48, 3, 6, 1]
    """
    named = [(name, module) for name, module in model.named_modules() if _is_convolution(module)]
    if decodes:  # put first the convolutions that an autoencoder calls first when it decodes
        named.sort(key=lambda pair: (not _is_before(pair[0]), not _decodes(pair[0])))
    flat: list[int] = []
    deep: list[int] = []
    for _, module in named:
        (deep if isinstance(module, _DEEP) else flat).append(int(module.in_channels))
    is_flat_first = bool(named) and not isinstance(named[0][1], _DEEP)
    return likeliest([*flat[: int(is_flat_first)], *deep], said or {}, decodes=decodes)


def likeliest(found: Sequence[int], said: Mapping[str, Any], *, decodes: bool = False) -> list[int]:
    """Return the numbers of channels to try, given those of the convolutions, in order."""
    names = _LATENTS if decodes else _CHANNELS
    told = [count for name in names for count in _extents(said.get(name))]
    first, *others = list(dict.fromkeys(found)) or [0]
    folds = list(_folds_in(said))
    unfolded = [count // fold for count in (*told, first) for fold in folds if count % fold == 0]
    usual = () if decodes else USUAL
    likely = dict.fromkeys([*told, first, *unfolded, *others[:7], *usual])
    rest = [count for count in likely if count > 0 and count not in usual]
    return [count for count in likely if count in rest[: MOST - len(usual)] or count in usual]


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


def _folds_in(said: Mapping[str, Any]) -> Iterator[int]:
    """Yield how many elements a model may fold into one channel, if its options say a patch."""
    patches = [extent for name in _PATCHES for extent in _extents(said.get(name))]
    frames = [extent for name in _PATCHED_FRAMES for extent in _extents(said.get(name))]
    if patches:
        height, width = patches[-1], patches[-2:][0]
        for deep in dict.fromkeys([1, *frames, patches[0]]):
            yield height * width * deep


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


def _is_convolution(module: nn.Module) -> bool:
    return isinstance(module, (*_DEEP, nn.Conv2d, nn.ConvTranspose2d))


def _is_before(name: str) -> bool:
    return name.startswith("post_quant")


def _decodes(name: str) -> bool:
    return "decoder" in name.split(".")[0]
