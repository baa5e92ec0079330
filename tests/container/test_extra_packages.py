"""An image with a framework of its own: the README's `EXTRA_PACKAGES`."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.container import pip_configuration
from tests.container.deployment import CPU, Deployment
from tests.container.engine import ROOT, Engine

pytestmark = pytest.mark.container

WITH_TORCHVISION = "convlast:test-torchvision"
FIND = "import torch; print(torch.__version__)"


@pytest.fixture
def deployment(
    engine: Engine, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Build an image with torchvision, and with what traces need, and bring it up."""
    pins = (ROOT / "tests" / "recipes" / "requirements.txt").read_text().split()
    (torchvision,) = (each for each in pins if each.startswith("torchvision=="))
    variables = {
        "CONVLAST_IMAGE": WITH_TORCHVISION,
        "EXTRA_PACKAGES": f"{torchvision} fastapi[opentelemetry]",
    }
    with pip_configuration.build_secrets(tmp_path_factory.mktemp("secrets")) as secrets:
        files = (*CPU, "tests/container/build.yml")
        Deployment(engine, files, {**variables, **secrets}).compose("build")
    deployment = Deployment(engine, CPU, variables)
    deployment.down()
    deployment.up()
    yield deployment
    deployment.down()
    engine.docker("image", "rm", "--force", WITH_TORCHVISION, check=False)


def test_a_whole_model_of_torchvision_is_run(deployment: Deployment, tmp_path: Path) -> None:
    """An r3d_18 is run in fp16 as a whole, by the torch that the image has without torchvision."""
    assert deployment.inside(FIND).strip() == torch.__version__
    source = tmp_path / "r3d_18.pt"
    torch.save(r3d_18_values(deployment), source)
    options = {
        "architecture": "torchvision.models.video.r3d_18",
        "architecture_options": json.dumps({"num_classes": 3}),
        "input_shape": "1,3,4,32,32",
    }
    answer = deployment.convert(source.read_bytes(), data=options)
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        report = json.loads(archive.read("report.json"))
    assert report["smoke"]["scope"] == "model", report["smoke"]


def test_traces_find_their_packages(deployment: Deployment) -> None:
    """With FastAPI's extra the image has all that traces need."""
    installed = "from service.telemetry import collecting; print(collecting.is_installed())"
    assert deployment.inside(installed).strip() == "True"


SHAPES = """
import json
from convlast.architectures import packages
packages._prepare_torchvision()  # its wheel may be for another build of torch
import torchvision
model = torchvision.models.video.r3d_18(num_classes=3)
print(json.dumps([[n, list(t.shape), str(t.dtype)] for n, t in model.state_dict().items()]))
"""


def r3d_18_values(deployment: Deployment) -> dict[str, torch.Tensor]:
    """Make values of an r3d_18; the container knows the shapes, so torchvision is not needed."""
    values: dict[str, torch.Tensor] = {}
    for name, shape, dtype in json.loads(deployment.inside(SHAPES)):
        if dtype != "torch.float32":
            values[name] = torch.zeros(shape, dtype=torch.int64)
        elif name.endswith("running_var") or len(shape) == 1:
            values[name] = torch.ones(shape)
        else:
            values[name] = nn.init.kaiming_normal_(torch.empty(shape))
    return values
