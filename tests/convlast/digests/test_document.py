"""docs/reference/tensor-digests.md: its test vectors, and its check that needs no torch."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import convlast
from convlast.digests.listing import TensorDigest
from tests import builders
from tests.convlast.digests.vectors import VECTORS

DOCUMENT = Path(__file__).parents[3] / "docs" / "reference" / "tensor-digests.md"
ROW = re.compile(r"^\| [^|]+ \| (?:`([0-9a-f]+)`)? ?\| `([^`|]+)` \|$", re.MULTILINE)
CODE = DOCUMENT.read_text().partition("```python\n")[2].partition("```")[0]


def test_the_vectors_are_what_is_computed(tmp_path: Path) -> None:
    """The document has the line of each tensor, and the root of them all."""
    found = convlast.digest(builders.save(VECTORS, tmp_path / "vectors.pt"))
    rows = ROW.findall(DOCUMENT.read_text())
    assert "".join(f"{line}\n" for _, line in rows) == found.text
    assert f"The root of these lines is `{found.root}`." in DOCUMENT.read_text()


def test_the_bytes_of_the_vectors_have_their_digests() -> None:
    """Another implementation can be tried on the bytes alone."""
    for data, line in ROW.findall(DOCUMENT.read_text()):
        digest = TensorDigest.parse(line).digest
        assert digest in {"-", hashlib.sha256(bytes.fromhex(data)).hexdigest()}, line


def test_the_check_has_ten_lines_and_imports_no_package() -> None:
    """It is what the document promises: short, and Python alone."""
    assert len([line for line in CODE.splitlines() if line]) == 10
    assert re.findall(r"^import .*", CODE, re.MULTILINE) == ["import hashlib, json, sys"]


@pytest.mark.parametrize("metadata", [{}, {"format": "pt"}])
def test_the_check_prints_the_list(metadata: dict[str, str], tmp_path: Path) -> None:
    """What it prints for a safetensors file is what `convlast.digest` finds."""
    tensors = {
        name: tensor.resolve_conj().contiguous()
        for name, tensor in VECTORS.items()
        if not tensor.is_meta and tensor.dtype != torch.complex128
    }
    path = builders.save_safetensors(tensors, tmp_path / "vectors.safetensors", **metadata)
    done = subprocess.run(
        [sys.executable, "-I", "-c", CODE, str(path)], check=True, capture_output=True, text=True
    )
    assert done.stdout == convlast.digest(path).text
    of_torch = convlast.digest(builders.save(VECTORS, tmp_path / "vectors.pt")).tensors
    assert set(done.stdout.splitlines()) < {tensor.line for tensor in of_torch}
