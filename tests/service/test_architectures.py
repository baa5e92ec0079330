"""Models that are built by name: only in a worker, and only from the allowed modules."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch
from torch import nn

from tests.builders import bytes_of, save
from tests.service.running import REAL, Running, start

PREFIXES = ("torch.nn.modules.conv", "torchvision.models.video")
"""PyTorch's own module is always installed, and readable in a worker."""

CONVOLUTION = {
    "architecture": "torch.nn.modules.conv.Conv3d",
    "architecture_options": '{"in_channels": 2, "out_channels": 4, "kernel_size": 3}',
    "input_shape": "1,2,6,6,6",
    "smoke": "model",
}

HOSTILE = (
    "os.system",
    "torch.load",
    "torch.hub.load",
    "torch.nn.modules.conv",
    "torch.nn.modules.conv.F",
    "torch.nn.modules.conv.F.conv3d",
    "torch.nn.modules.conv.torch.load",
    "torch.nn.modules.conv.Module",
    "torch.nn.modules.conv.Parameter",
    "torch.nn.modules.conv.Conv3d.forward",
    "torch.nn.modules.conv._ConvNd",
    "torch.nn.modules.conv.__builtins__",
    "torch.nn.modules.conv.__loader__.load_module",
    "torch.nn.modules.convert.Conv3d",
    "torch.nn.modules.conv.init.os.system",
    "../torch.nn.modules.conv.Conv3d",
    "torch.nn.modules.conv.Conv3d\n",
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Share a service that allows PyTorch's own convolutions."""
    folder = tmp_path_factory.mktemp("architectures")
    running = start(folder, REAL, device="cpu", architecture_prefixes=",".join(PREFIXES))
    running.wait_until_ready()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the state dict of one convolution, as a file."""
    state_dict = nn.Conv3d(2, 4, 3).state_dict()
    return bytes_of(lambda path: save(state_dict, path), tmp_path_factory.mktemp("content"))


def post(service: Running, content: bytes, **options: str) -> httpx.Response:
    """Convert a checkpoint, and return the response with the report."""
    return service.convert(content, data=options, headers={"Accept": "application/json"})


def packages_in(pid: int) -> set[str]:
    """Return the model packages, and torch, whose libraries a process has mapped."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return set(
        re.findall(r"/site-packages/(torch|torchvision|monai|diffusers|transformers)/", maps)
    )


def test_a_worker_builds_a_model_behind_its_walls(service: Running, content: bytes) -> None:
    """A sealed worker can import an installed package, and the service process does not."""
    response = post(service, content, **CONVOLUTION)

    assert response.status_code == 200, response.text
    assert response.json()["smoke"]["scope"] == "model"
    assert not packages_in(service.process.pid)


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_but_a_model_is_reached(service: Running, content: bytes, name: str) -> None:
    """Any other name is refused with one code, and the service goes on."""
    response = post(service, content, **{**CONVOLUTION, "architecture": name})

    assert response.status_code == 422, response.text
    assert response.json()["code"] == "architecture-not-allowed"
    assert not packages_in(service.process.pid)


def test_a_model_that_does_not_fit_lists_the_keys(service: Running, content: bytes) -> None:
    """The keys that do not fit are members of the problem."""
    options = {**CONVOLUTION, "architecture": "torch.nn.modules.conv.ConvTranspose3d"}

    problem = post(service, content, **options).json()

    assert problem["code"] == "architecture-mismatch"
    assert problem["shapes"] == [
        "weight: [4, 2, 3, 3, 3] in the file, [2, 4, 3, 3, 3] in the model"
    ]


def test_a_model_that_is_far_too_large_costs_nothing(service: Running, content: bytes) -> None:
    """A model that is far too large is refused before memory is used."""
    large = {"in_channels": 1 << 20, "out_channels": 1 << 20, "kernel_size": 99}
    options = {**CONVOLUTION, "architecture_options": json.dumps(large)}
    assert post(service, content, **options).json()["code"] == "architecture-mismatch"


@pytest.mark.recipes
def test_a_model_of_torchvision_is_built_in_a_worker(service: Running, tmp_path: Path) -> None:
    """A model of torchvision can be built even if torchvision's own library does not load."""
    from convlast.architectures.resolving import resolve

    torch.manual_seed(0)
    model = resolve("torchvision.models.video.r3d_18")(num_classes=3)
    content = bytes_of(lambda path: save(model.state_dict(), path), tmp_path)

    response = post(
        service,
        content,
        architecture="torchvision.models.video.r3d_18",
        architecture_options='{"num_classes": 3}',
    )

    assert response.status_code == 200, response.text
    assert response.json()["smoke"]["scope"] == "model"
    assert not packages_in(service.process.pid)
