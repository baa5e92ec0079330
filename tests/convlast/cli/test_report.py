"""`convlast report`, which does without torch."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import convlast
from convlast.options import Options
from tests import builders

ROOT = Path(__file__).parents[3]

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # so that to import it raises
from convlast.cli import app
app()
"""


def report(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process in which there is no torch."""
    command = [sys.executable, "-c", WITHOUT_TORCH, "report", str(path), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def script(path: Path) -> Path:
    """Save a TorchScript archive."""
    jit: Any = torch.jit  # whose functions are not annotated
    jit.save(jit.trace(nn.Sequential(nn.Conv3d(2, 4, 3)).eval(), torch.zeros(1, 2, 4, 4, 4)), path)
    return path


def exported(path: Path) -> Path:
    """Save an exported program."""
    model = nn.Sequential(nn.Conv3d(2, 4, 3)).eval()
    program = torch.export.export(model, (torch.zeros(1, 2, 4, 4, 4),))
    torch.export.save(program, path)
    return path


def converted(source: Path, target: str, **options: Any) -> Path:
    """Convert a checkpoint."""
    made = source.parent / target
    convlast.convert(
        source, made, Options(smoke="none", **options), device="cpu", allow_programs=True
    )
    return made


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", ["torch", "safetensors", "torchscript", "program"])
def test_the_manifest_of_any_artifact_is_printed_without_torch(kind: str, tmp_path: Path) -> None:
    """As a table, and as JSON."""
    weights = {"0.weight": torch.randn(4, 2, 3, 3, 3), "0.bias": torch.randn(4)}
    artifact = {
        "torch": lambda: converted(builders.save(weights, tmp_path / "in.pt"), "out.pt"),
        "safetensors": lambda: converted(
            builders.save(weights, tmp_path / "in.pt"), "out.safetensors", container="safetensors"
        ),
        "torchscript": lambda: converted(script(tmp_path / "in.pt"), "out.pt"),
        "program": lambda: converted(exported(tmp_path / "in.pt2"), "out.pt2"),
    }[kind]()

    table, text = report(artifact), report(artifact, "--json")

    assert (table.returncode, table.stderr) == (0, "")
    assert "(54,1,18,6,2)" in table.stdout
    found = json.loads(text.stdout)
    assert [layer["stride_after"] for layer in found["layers"]] == [[54, 1, 18, 6, 2]]


@pytest.mark.parametrize("packed", [False, True])
def test_the_manifests_of_a_folder_are_printed_without_torch(packed: bool, tmp_path: Path) -> None:
    """Those of shards too, also where a weight and its bias are in two of them."""
    folder = tmp_path / "model"
    folder.mkdir()
    shards = {"a": {"0.weight": torch.randn(4, 2, 3, 3, 3)}, "b": {"0.bias": torch.randn(4)}}
    for name, weights in shards.items():
        builders.save_safetensors(weights, folder / f"{name}.safetensors")
    places = {key: f"{name}.safetensors" for name, held in shards.items() for key in held}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    (folder / "training_args.bin").write_bytes(b"\x80\2c__main__\nArgs\nq\0.")
    artifact = converted(folder, "out")
    if packed:
        packed_to = tmp_path / "out.zip"
        with zipfile.ZipFile(packed_to, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in artifact.iterdir():
                archive.write(path, path.name)
        artifact = packed_to

    table, text = report(artifact), report(artifact, "--json")

    assert (table.returncode, table.stderr) == (0, "")
    assert "(54,1,18,6,2)" in table.stdout
    assert list(json.loads(text.stdout)["files"]) == ["a.safetensors"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"no checkpoint at all", "not-a-checkpoint"),
        (b"", "not-a-checkpoint"),
        (b"PK\3\4", "malformed-checkpoint"),
        (b"\xff\xff\xff\xff\xff\0\0\0{", "limit-exceeded"),
    ],
)
def test_what_has_no_manifest_is_refused_without_torch(
    content: bytes, code: str, tmp_path: Path
) -> None:
    """The reason is on stderr with its code."""
    path = tmp_path / "file"
    path.write_bytes(content)
    done = report(path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"convlast: {code}: ")


def test_a_checkpoint_without_a_manifest_is_told_without_torch(tmp_path: Path) -> None:
    """One file, and a folder of such files."""
    builders.save({"weight": torch.zeros(4)}, tmp_path / "model.pt")
    for path in (tmp_path / "model.pt", tmp_path):
        done = report(path)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("convlast: no-manifest: ")
