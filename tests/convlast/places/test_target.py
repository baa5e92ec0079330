"""Where a file is written that a user named."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import convlast
from convlast.cli import app
from convlast.errors import OptionError
from convlast.options import Options
from convlast.places.target import place_of
from tests import builders

QUIET = Options(smoke="none")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A checkpoint in a folder of its own."""
    (tmp_path / "in").mkdir()
    return builders.save(builders.one_convolution(), tmp_path / "in" / "model.pt")


def a_socket(path: Path) -> None:
    """Make a socket that nobody listens at."""
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def a_device(path: Path) -> None:
    """Make a device like /dev/null."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only a superuser makes devices")


OTHERS: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "socket": a_socket,
    "device": a_device,
}


@pytest.fixture(params=OTHERS)
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Something that is no file, in a folder where nothing else is; it is there afterwards."""
    folder = tmp_path / "out"
    folder.mkdir()
    OTHERS[request.param](folder / "it")
    before = (folder / "it").lstat()
    yield folder / "it"
    after = (folder / "it").lstat()
    assert (before.st_ino, before.st_mode) == (after.st_ino, after.st_mode)
    assert {path.name for path in folder.iterdir()} <= {"it", "link"}


def test_what_is_no_file_is_not_replaced(other: Path, source: Path) -> None:
    """By no verb and no option, and not through a link either."""
    link = other.with_name("link")
    link.symlink_to("it")
    for named in (other, link):
        with pytest.raises(OptionError, match="a file would take its place"):
            convlast.convert(source, named, QUIET, device="cpu")
        with pytest.raises(OptionError, match="a file would take its place"):
            convlast.convert(source.parent, named, QUIET, device="cpu")
        for arguments in (["convert", source, "-o", named], ["inspect", source, "--report", named]):
            result = CliRunner().invoke(app, [str(each) for each in arguments])
            assert result.exit_code == 2
            assert "a file would take its place" in result.stderr


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_is_followed(is_there: bool, source: Path, tmp_path: Path) -> None:
    """The link stays one, and what it leads to is the artifact, and the report."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in ("out.pt", "report.json"):
        (tmp_path / name).symlink_to(f"elsewhere/{name}")
        if is_there:
            (folder / name).write_bytes(b"old")
    arguments = ["convert", source, "-o", tmp_path / "out.pt", "--force"]
    arguments += ["--report", tmp_path / "report.json"]
    result = CliRunner().invoke(app, [*map(str, arguments), "--smoke", "none"])
    assert result.exit_code == 0
    assert (tmp_path / "out.pt").is_symlink()
    assert sorted(path.name for path in folder.iterdir()) == ["out.pt", "report.json"]
    assert convlast.verify(source, folder / "out.pt").verdict == "passed"
    report = convlast.Report.model_validate_json((folder / "report.json").read_text())
    assert report.artifact is not None
    assert report.artifact.filename == "out.pt"


def test_a_folder_behind_a_link_is_filled(source: Path, tmp_path: Path) -> None:
    """A converted folder comes where the link leads, and not in its place."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    convlast.convert(source.parent, tmp_path / "link", QUIET, device="cpu")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "model.pt").is_file()


def test_the_input_behind_a_link_is_not_replaced(source: Path, tmp_path: Path) -> None:
    """A link to the input is the input."""
    (tmp_path / "link.pt").symlink_to(source)
    before = source.read_bytes()
    with pytest.raises(OptionError, match="would replace the input"):
        convlast.convert(source, tmp_path / "link.pt", QUIET, device="cpu")
    assert source.read_bytes() == before


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    """It leads nowhere."""
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OptionError, match="cannot be written"):
        place_of(tmp_path / "loop")


def test_standard_output_is_no_target(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others mean it by `-`; no file of that name appears."""
    monkeypatch.chdir(source.parent)
    result = CliRunner().invoke(app, ["convert", "model.pt", "-o", "-"])
    assert result.exit_code == 2
    assert "standard output" in result.stderr
    assert [path.name for path in source.parent.iterdir()] == ["model.pt"]


def test_a_link_to_an_open_pipe_is_refused() -> None:
    """/dev/stdout is one, if another program reads the output."""
    reader, writer = os.pipe()
    try:
        with pytest.raises(OptionError, match="is a pipe"):
            place_of(Path(f"/proc/self/fd/{writer}"))
    finally:
        os.close(reader)
        os.close(writer)
