"""The report of a conversion with a model that was found."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import pytest

from convlast import Options, convert
from convlast.errors import ArchitectureMismatchError, ArchitectureNotAllowedError
from convlast.report import Report
from tests.builders import save

NET = "fakenets.nets.Net"


@pytest.fixture
def checkpoint(fakenets: str, tmp_path: Path) -> Path:
    """Save a state dict of the fake package, in a folder of its own."""
    folder = tmp_path / "bundle" / "models"
    folder.mkdir(parents=True)
    return save(import_module(fakenets).Net().state_dict(), folder / "model.pt")


def report_of(source: Path, target: Path, prefix: str, **options: object) -> Report:
    """Convert on the CPU, with a small input."""
    asked = Options.parse(input_shape="1,2,6,6,6", **options)
    return convert(source, target, asked, device="cpu", architecture_prefixes=[prefix])


def test_a_named_model_is_smoked_as_a_whole(
    fakenets: str, checkpoint: Path, tmp_path: Path
) -> None:
    """The report says that the whole model ran."""
    report = report_of(checkpoint, tmp_path / "out.pt", fakenets, architecture=NET)
    assert report.smoke is not None
    assert report.smoke.scope == "model"


def test_a_name_that_is_not_allowed_makes_nothing(
    fakenets: str, checkpoint: Path, tmp_path: Path
) -> None:
    """A requested architecture that is not allowed is refused, and no artifact is written."""
    for name, error in (
        ("os.system", ArchitectureNotAllowedError),
        ("fakenets.nets.odd.Huge", ArchitectureMismatchError),
    ):
        with pytest.raises(error):
            report_of(checkpoint, tmp_path / "out.pt", fakenets, architecture=name)
    assert not (tmp_path / "out.pt").exists()


@pytest.mark.parametrize(
    ("definition", "scope"),
    [
        ({"_target_": NET, "features": "@features"}, "model"),
        ({"_target_": NET, "features": "$2 + 2"}, "layers"),
        ({"_target_": "os.system", "command": "true"}, "layers"),
        ({"_target_": NET, "features": 5}, "layers"),
    ],
)
def test_a_folder_says_what_its_model_is(
    fakenets: str, checkpoint: Path, tmp_path: Path, definition: dict[str, object], scope: str
) -> None:
    """A folder's description of its model is used if possible; if not, each layer is run alone."""
    bundle = checkpoint.parents[1]
    (bundle / "configs").mkdir()
    config = {"features": 4, "network_def": definition}
    (bundle / "configs" / "inference.json").write_text(json.dumps(config))

    report = report_of(bundle, tmp_path / "out", fakenets)

    (smoke,) = (section.smoke for section in report.files if section.smoke)
    assert smoke.scope == scope


@pytest.mark.parametrize(("name", "scope"), [("Net", "model"), ("odd.Wanting", "layers")])
def test_a_model_says_what_its_layers_are(
    fakenets: str, tmp_path: Path, name: str, scope: str
) -> None:
    """Kind, groups and the rest come from the model once it is built, even if it cannot run."""
    folder = tmp_path / "bundle"
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    save(import_module(fakenets).Net().state_dict(), folder / "models" / "model.pt")
    config = {"network_def": {"_target_": f"{fakenets}.{name}"}}
    (folder / "configs" / "inference.json").write_text(json.dumps(config))

    report = report_of(folder, tmp_path / "out", fakenets)

    (smoke,) = (section.smoke for section in report.files if section.smoke)
    assert smoke.scope == scope
    for layer in report.layers:
        assert (layer.kind, layer.groups) == ("Conv3d", 1)
        assert layer.evidence == f"a Conv3d of {fakenets}.{name}"
        assert layer.smoke is not None
        assert layer.smoke.assumed == []
    assert "kind-assumed" not in {finding.code for finding in report.findings}


def test_without_a_model_the_kind_is_assumed(
    fakenets: str, checkpoint: Path, tmp_path: Path
) -> None:
    """A smoke of layers builds no model, so the file alone counts."""
    report = report_of(checkpoint, tmp_path / "out.pt", fakenets, smoke="layers")
    assert {layer.kind for layer in report.layers} == {"Conv3d", "unknown"}
    assert "kind-assumed" in {finding.code for finding in report.findings}
