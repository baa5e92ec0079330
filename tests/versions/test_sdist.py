"""The source distribution and the wheel, built from the files of the repository."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
builders = pytest.importorskip("hatchling.builders.sdist", reason="make setup installs hatchling")
wheels = pytest.importorskip("hatchling.builders.wheel")


def tracked() -> set[str]:
    """Return the files of the repository."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no git repository here")
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=True
    )
    return {name for name in listed.stdout.split("\0") if (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source distribution of a clone, unpack it, and return its folder."""
    clone, out = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("out")
    for name in tracked():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, clone / name)
    [built] = builders.SdistBuilder(str(clone)).build(directory=str(out))
    with tarfile.open(built) as archive:
        archive.extractall(out, filter="data")
    [folder] = [path for path in out.iterdir() if path.is_dir()]
    return folder


def metadata_of(sdist: Path) -> Message:
    """Return the metadata as an index reads them."""
    return Parser().parsestr((sdist / "PKG-INFO").read_text())


def test_the_sdist_is_whole(sdist: Path) -> None:
    """Every file of the repository is in it, so that its tests and its links work."""
    packed = {str(path.relative_to(sdist)) for path in sdist.rglob("*") if path.is_file()}
    assert packed - {"PKG-INFO"} == tracked()


def test_links_of_the_readme_lead_into_the_sdist(sdist: Path) -> None:
    """Nobody needs to know where the repository is."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (sdist / "README.md").read_text())
    assert links
    assert [link for link in links if not (sdist / link).exists()] == []


def test_a_wheel_can_be_built_from_the_sdist(sdist: Path, tmp_path: Path) -> None:
    """It has each file of the library, with its types, styles and scripts, and nothing else."""
    [built] = wheels.WheelBuilder(str(sdist)).build(versions=["standard"], directory=str(tmp_path))
    with zipfile.ZipFile(built) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == {name for name in tracked() if name.startswith("convlast/")}
    assert "convlast/py.typed" in packed


def test_the_metadata_are_true(sdist: Path) -> None:
    """The licence is an SPDX expression, and the classifiers are those of the index."""
    known = pytest.importorskip("trove_classifiers").classifiers
    metadata = metadata_of(sdist)
    assert metadata["License-Expression"] == "Apache-2.0"
    classifiers = metadata.get_all("Classifier", [])
    assert set(classifiers) <= known
    assert not any(each.startswith("License ::") for each in classifiers), "see PEP 639"
    assert f"Programming Language :: Python :: {metadata['Requires-Python'][2:]}" in classifiers
