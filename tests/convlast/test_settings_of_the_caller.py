"""What a process has set torch to, for its own purposes, changes nothing here and stays set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.serialization import config

import convlast
from convlast.options import Options
from tests import builders


@contextmanager
def default_device() -> Iterator[None]:
    """Have tensors made on another device, in all of the process."""
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def default_dtype() -> Iterator[None]:
    """Have tensors made in another dtype."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def mapped_loading() -> Iterator[None]:
    """Have `torch.load` map files."""
    config.load.mmap = True
    try:
        yield
    finally:
        config.load.mmap = False


SETTINGS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "nothing": torch.no_grad,
    "a default device": default_device,
    "a device for a while": lambda: torch.device("meta"),
    "a default dtype": default_dtype,
    "mapped loading": mapped_loading,
    "inference": torch.inference_mode,
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_verbs_do_what_they_always_do(name: str, tmp_path: Path) -> None:
    """The artifact has the same bytes, its smoke passes, and what is loaded is on the CPU."""
    source = builders.save(builders.one_convolution(), tmp_path / "source.pt")
    convlast.convert(source, tmp_path / "expected.pt", device="cpu")
    targets = tmp_path / "made.pt", tmp_path / "made.safetensors"
    with SETTINGS[name]():
        report = convlast.convert(source, targets[0], device="cpu")
        options = Options(smoke="none", container="safetensors")
        convlast.convert(source, targets[1], options, device="cpu")
        assert convlast.inspect(source).layers[0].status == "convertible"
        verdicts = [convlast.verify(source, target).verdict for target in targets]
        loaded = [convlast.load(target) for target in targets]
        kind = torch.get_default_device(), torch.get_default_dtype()
        assert (torch.ones(1).device.type, torch.ones(1).dtype) == (kind[0].type, kind[1])

    assert report.smoke is not None
    assert (report.smoke.status, verdicts) == ("passed", ["passed"] * 2)
    assert targets[0].read_bytes() == (tmp_path / "expected.pt").read_bytes()
    for state_dict in loaded:
        assert state_dict["conv.weight"].stride() == (81, 1, 27, 9, 3)
        assert torch.equal(state_dict["conv.weight"], builders.numbered(*builders.SHAPE))


def test_a_model_is_filled_where_it_is_built(tmp_path: Path) -> None:
    """Inside the block that builds it without memory, too."""
    source = builders.save_safetensors(nn.Conv3d(3, 4, 3).state_dict(), tmp_path / "a.safetensors")
    options = Options(smoke="none", container="safetensors")
    convlast.convert(source, tmp_path / "b.safetensors", options)
    with torch.device("meta"):
        model = convlast.load_into(nn.Conv3d(3, 4, 3), tmp_path / "b.safetensors")
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}
