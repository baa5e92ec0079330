"""What fuzzing begins with: small files of every kind that is read."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn

from benchmarks.fuzz.containers import split_pickles
from convlast.checkpoints import manifest
from tests import builders
from tests.hostile import breaks_the_safetensors_header, nests_objects, parts


def zip_seeds() -> Iterator[bytes]:
    """Save the builders' objects in the zip format."""
    yield from (parts.sound_small(), parts.sound())
    yield from _saved(builders.save)


def legacy_seeds() -> Iterator[bytes]:
    """Save the builders' objects in the legacy format."""
    yield parts.sound_legacy()
    yield from _saved(builders.save_legacy)


def safetensors_seeds() -> Iterator[bytes]:
    """Return headers of several kinds."""
    header = breaks_the_safetensors_header
    yield from (
        header.sound(), header.with_metadata({"a": "b"}), header.with_metadata(None),
        header.overflowing_shape(0), header.of_an_unknown_dtype(),
        header.with_metadata({"convlast": next(manifest_seeds()).decode()}),
    )  # fmt: skip


def pickle_seeds() -> Iterator[bytes]:
    """Return pickles of tensors of several kinds."""
    for data in zip_seeds():
        with zipfile.ZipFile(io.BytesIO(data)) as opened:
            name = next(name for name in opened.namelist() if name.endswith("data.pkl"))
            yield opened.read(name)
    with zipfile.ZipFile(io.BytesIO(nests_objects.itself_in_a_dict())) as opened:
        yield opened.read("archive/data.pkl")


def legacy_pickle_seeds() -> Iterator[bytes]:
    """Return pickles as they stand in legacy files."""
    for data in legacy_seeds():
        yield split_pickles(data)[3]


def a_module() -> nn.Module:
    """Return a whole model, which is pickled as such."""
    return nn.Sequential(
        nn.Conv3d(1, 2, 2), nn.BatchNorm3d(2), nn.ReLU(), nn.ParameterList([torch.ones(2)])
    )


def manifest_seeds() -> Iterator[bytes]:
    """Return one manifest."""
    layer = manifest.LayerLayout(
        name="conv",
        key="conv.weight",
        shape=(2, 3, 1, 1, 2),
        stride_before=(6, 2, 2, 2, 1),
        stride_after=(6, 1, 6, 6, 3),
    )
    yield manifest.Manifest(memory_format="channels_last_3d", layers=(layer,)).encode()


def _saved(save: Callable[[object, Path], Path]) -> Iterator[bytes]:
    makers = (
        builders.one_convolution, builders.tied_weights, builders.aliases,
        builders.overlapping_views, builders.neighbours, builders.with_parameters,
        builders.nested_wrappers, builders.with_optimizer, builders.without_convolutions, a_module,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for make in makers:
            yield save(make(), Path(folder, "saved")).read_bytes()
