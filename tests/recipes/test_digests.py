"""The digests of tensors of what frameworks save: the same before and after a conversion."""

from __future__ import annotations

from pathlib import Path

import pytest

import convlast
from convlast.options import Options
from tests.recipes.test_loading import FRAMEWORKS, PLAIN

pytestmark = [
    pytest.mark.recipes,
    pytest.mark.filterwarnings("ignore"),  # the frameworks warn of this and that
]

RECIPES = PLAIN | FRAMEWORKS


@pytest.mark.parametrize("name", RECIPES)
def test_a_conversion_changes_no_digest(name: str, tmp_path: Path) -> None:
    """Each tensor of each file has its line in both lists, and the report has their root."""
    before, after = tmp_path / "model", tmp_path / "converted"
    before.mkdir()
    RECIPES[name].save(RECIPES[name].build(), before)
    report = convlast.convert(before, after, Options(smoke="none", tensor_digests=True))
    found = convlast.digest(before)
    assert found.tensors
    assert convlast.digest(after).text == found.text
    assert report.artifact is not None
    assert report.input.tensors_sha256 == report.artifact.tensors_sha256 == found.root
