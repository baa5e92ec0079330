from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner, Result

from convlast.checkpoints.manifest import Manifest
from convlast.cli import app
from convlast.cli import progress_bar as progress
from convlast.report import Report


def run(*arguments: object) -> Result:
    """Run the command line; an exception that it lets through fails the test."""
    return CliRunner().invoke(app, [str(word) for word in arguments], catch_exceptions=False)


def digest(path: Path) -> str:
    """Return the digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files_in(folder: Path) -> set[str]:
    """Return the names of all files in a folder, including hidden ones."""
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that contains only the checkpoint."""
    path = tmp_path / "models"
    path.mkdir()
    return path


@pytest.fixture
def source(folder: Path) -> Path:
    """A small checkpoint with a Conv3d, a norm and a ConvTranspose3d."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv3d(4, 8, 3), nn.BatchNorm3d(8), nn.ConvTranspose3d(8, 6, 2))
    path = folder / "model.pt"
    torch.save({"state_dict": model.state_dict(), "epoch": 3}, path)
    return path


@pytest.fixture
def converted(source: Path) -> Path:
    """The same checkpoint, converted without a smoke."""
    result = run("convert", source, "--smoke", "none")
    assert result.exit_code == 0, result.output
    return source.with_name("model.channels_last_3d.pt")


def test_convert_makes_the_artifact_and_leaves_the_rest(source: Path, folder: Path) -> None:
    """The artifact is beside its input in the new layout; the input is unchanged."""
    before = digest(source)
    result = run("convert", source)

    assert result.exit_code == 0, result.output
    assert digest(source) == before
    assert files_in(folder) == {"model.pt", "model.channels_last_3d.pt"}
    made = torch.load(folder / "model.channels_last_3d.pt", weights_only=True)
    assert made["state_dict"]["0.weight"].stride() == (108, 1, 36, 12, 4)
    assert "0.weight" in result.stdout
    assert "2.weight" in result.stdout


def test_convert_writes_where_it_is_told(source: Path, folder: Path, tmp_path: Path) -> None:
    """-o names the file, or the folder that it goes into."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    assert run("convert", source, "-o", elsewhere / "a.pt", "--smoke=none").exit_code == 0
    assert run("convert", source, "-o", elsewhere, "--smoke=none").exit_code == 0
    assert files_in(elsewhere) == {"a.pt", "model.channels_last_3d.pt"}
    assert files_in(folder) == {"model.pt"}


def test_convert_gives_the_report_in_each_form(source: Path, tmp_path: Path) -> None:
    """`--json`, a .json file and the page report the same conversion."""
    result = run("convert", source, "--json", "--report", tmp_path / "r.json")
    page = run("convert", source, "--smoke=none", "--force", "--report", tmp_path / "r.html")

    report = Report.model_validate_json(result.stdout)
    assert report == Report.model_validate_json((tmp_path / "r.json").read_bytes())
    assert report.input.sha256 == digest(source)
    assert report.artifact is not None
    assert report.artifact.sha256 == digest(source.with_name(report.artifact.filename))
    assert {layer.name for layer in report.layers} == {"0.weight", "2.weight"}
    assert page.exit_code == 0
    assert "2.weight" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("output", [(), ("-o", ".")])
def test_the_report_never_takes_the_artifact_s_place(
    output: tuple[str, ...], source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report that would overwrite the artifact is wrong usage, and nothing is written."""
    monkeypatch.chdir(source.parent)
    report = source.with_name("model.channels_last_3d.pt")
    result = run("convert", source, *output, "--smoke=none", "--report", report)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "no kind of report for 'model.channels_last_3d.pt'" in result.stderr
    assert files_in(source.parent) == {"model.pt"}


def test_conversion_is_undone(source: Path, converted: Path) -> None:
    """`--memory-format contiguous_format` restores the original strides."""
    back = source.with_name("back.pt")
    result = run("convert", converted, "-o", back, "--memory-format=contiguous_format")

    assert result.exit_code == 0, result.output
    weight = torch.load(back, weights_only=True)["state_dict"]["0.weight"]
    assert weight.stride() == (108, 27, 9, 3, 1)


def test_the_artifact_is_kept_where_warnings_fail(source: Path, folder: Path) -> None:
    """`--fail-on` decides the status alone: the artifact has passed its proof."""
    state = torch.load(source, weights_only=True)
    state["state_dict"]["0.weight"][0] = 1e6
    torch.save(state, source)
    result = run("convert", source, "--smoke=layers", "--fail-on=warning")

    assert result.exit_code == 1
    assert "convlast: warnings-found: " in result.stderr
    assert "fp16-" in result.stderr
    place = folder / "model.channels_last_3d.pt"
    assert result.stderr.endswith(f" The artifact is kept: '{place}'.\n")
    assert files_in(folder) == {"model.pt", "model.channels_last_3d.pt"}
    assert run("convert", source, "--smoke=layers", "--force").exit_code == 0


def test_inspect_writes_nothing(source: Path, folder: Path) -> None:
    """`inspect` names the layers that could be converted, and leaves no file."""
    result = run("inspect", source, "--json")

    report = Report.model_validate_json(result.stdout)
    assert result.exit_code == 0
    assert {layer.status for layer in report.layers} == {"convertible"}
    assert report.artifact is None
    assert files_in(folder) == {"model.pt"}


def test_verify_tells_a_conversion_from_another_file(source: Path, converted: Path) -> None:
    """A conversion of the same file passes; one changed value fails, with the report."""
    assert run("verify", source, converted).exit_code == 0

    state = torch.load(converted, weights_only=True)
    state["state_dict"]["0.weight"][0, 0, 0, 0, 0] += 1
    other = source.with_name("other.pt")
    torch.save(state, other)
    result = run("verify", source, other, "--json")

    assert result.exit_code == 1
    assert Report.model_validate_json(result.stdout).verdict == "failed"
    assert "\nconvlast: verification-failed: " in result.stderr


def test_manifest_of_the_artifact_is_printed(source: Path, converted: Path) -> None:
    """`report` prints the manifest of an artifact, or says that there is none."""
    result = run("report", converted)
    found = Manifest.model_validate_json(run("report", converted, "--json").stdout)
    absent = run("report", source)

    assert result.exit_code == 0
    assert "(108,1,36,12,4)" in result.stdout
    assert [layer.name for layer in found.layers] == ["0.weight", "2.weight"]
    assert absent.exit_code == 1
    assert "no-manifest" in absent.stderr


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"no checkpoint at all", "not-a-checkpoint"),
        (b"", "not-a-checkpoint"),
    ],
)
@pytest.mark.parametrize("command", ["convert", "inspect"])
def test_what_is_no_checkpoint_is_refused(
    folder: Path, command: str, content: bytes, code: str
) -> None:
    """The reason is on stderr with its code, stdout is empty, and nothing is left behind."""
    bad = folder / "bad.pt"
    bad.write_bytes(content)
    result = run(command, bad)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"convlast: {code}: ")
    assert files_in(folder) == {"bad.pt"}
    assert bad.read_bytes() == content


class Opener:
    """Its pickle asks the reader to open a file."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Ask for `open`."""
        return open, ("opened",)


def test_unsafe_checkpoint_is_refused_by_the_names_it_asks_for(folder: Path) -> None:
    """The function that a file would call is named, and not called."""
    torch.save(Opener(), folder / "unsafe.pt")
    result = run("convert", folder / "unsafe.pt")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("convlast: unsafe-checkpoint: ")
    assert "io.open" in result.stderr
    assert files_in(folder) == {"unsafe.pt"}


def test_truncated_checkpoint_is_refused(source: Path, folder: Path) -> None:
    """A truncated file is called malformed, and nothing is left behind."""
    source.write_bytes(source.read_bytes()[:-100])
    result = run("convert", source)

    assert result.exit_code == 1
    assert result.stderr.startswith("convlast: malformed-checkpoint: ")
    assert files_in(folder) == {"model.pt"}


def test_pattern_that_matches_nothing_is_usage(source: Path, folder: Path) -> None:
    """A selection that does not fit the checkpoint is wrong usage: status 2, nothing left."""
    result = run("convert", source, "--select", "decoder.*")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "decoder.*" in result.stderr
    assert files_in(folder) == {"model.pt"}


@pytest.mark.parametrize("stop_at", ["write", "prove", "smoke"])
def test_interruption_leaves_nothing(
    source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, stop_at: str
) -> None:
    """Ctrl-C in any stage ends with 130, without an artifact or a part of one."""
    seen = []

    @contextmanager
    def interrupting(_: object, **__: object) -> Iterator[object]:
        def advance(stage: str, _done: int, _total: int) -> None:
            seen.append(stage)
            if stage == stop_at:
                raise KeyboardInterrupt

        yield advance

    monkeypatch.setattr(progress, "shown_on", interrupting)
    result = run("convert", source)

    assert seen[-1] == stop_at
    assert result.exit_code == 130
    assert result.stderr == "convlast: interrupted: The work was stopped.\n"
    assert files_in(folder) == {"model.pt"}
