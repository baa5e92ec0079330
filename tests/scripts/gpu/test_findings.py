"""What was found is written, whatever comes after it."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from scripts.gpu.device import Device
from scripts.gpu.findings import Findings
from scripts.gpu.sanity.convolutions import Operands
from scripts.gpu.sanity.memory_errors import attempt
from scripts.gpu.summary import told

CPU = Device(is_gpu=False)


def test_a_finding_is_in_the_file_at_once(tmp_path: Path) -> None:
    """And an error is one, after which others are found."""
    file = tmp_path / "folder" / "found.jsonl"
    findings = Findings(file)
    findings.run("first", lambda: {"kernels": 2})
    assert json.loads(file.read_text())["found"] == {"kernels": 2}
    findings.run("second", lambda: [][1])
    findings.note("third", Path("shown as text"))
    _, second, third = map(json.loads, file.read_text().splitlines())
    assert second["section"] == "second"
    assert second["found"]["error"] == "IndexError: list index out of range"
    assert third["found"] == "shown as text"


def test_a_lack_of_memory_is_a_finding() -> None:
    """With PyTorch's words, and whether the smoke knows them."""

    def run(*operands: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    tensor = torch.ones(1)
    assert attempt(Operands(tensor, tensor, run), CPU) == {
        "raised": "OutOfMemoryError",
        "text": "CUDA out of memory.",
        "recognised": True,
    }
    assert attempt(Operands(tensor, tensor, torch.add), CPU) == "ran"


def test_a_model_that_failed_has_its_line() -> None:
    """So have weights that were not measured, which is none."""
    result = {"weights": {"error": "no"}, "results": [{"model": "UNet", "error": "stopped"}]}
    assert list(told(result)) == ["UNet: error: stopped"]
