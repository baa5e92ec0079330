"""`convlast digest`: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

import convlast
from convlast.cli import app
from tests import builders
from tests.convlast.folders import building


def run(*arguments: object) -> Result:
    """Run `convlast digest` to its end."""
    return CliRunner().invoke(app, ["digest", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A checkpoint of one convolution."""
    return builders.save(builders.one_convolution(), tmp_path / "model.pt")


@pytest.fixture
def listed(source: Path, tmp_path: Path) -> Path:
    """Its list, in a file."""
    path = tmp_path / "list"
    path.write_text(run(source).stdout)
    return path


def test_it_prints_a_line_for_each_tensor(source: Path) -> None:
    """As sha256sum does: to be sorted, compared and kept; progress is not on stdout."""
    result = run(source)
    assert result.exit_code == 0
    assert result.stdout == convlast.digest(source).text
    assert result.stdout.endswith(" F32 [4,3,3,3,3] conv.weight\n")


def test_root_prints_one_digest(source: Path) -> None:
    """With --json that is an object, which says what was not opened too."""
    root = convlast.digest(source).root
    assert run(source, "--root").stdout == f"{root}\n"
    assert json.loads(run(source, "--root", "--json").stdout) == {"root": root, "not_opened": []}


def test_json_has_all_of_it(source: Path) -> None:
    """The same, for programs."""
    found = json.loads(run(source, "--json").stdout)
    assert found["root"] == convlast.digest(source).root
    assert [each["name"] for each in found["tensors"]] == ["conv.bias", "conv.weight"]


def test_a_converted_file_passes_the_check(source: Path, listed: Path, tmp_path: Path) -> None:
    """Each tensor is OK, and the last line on stderr says so; --quiet says nothing."""
    made = tmp_path / "made.pt"
    convlast.convert(source, made, smoke="none")
    result = run(made, "--check", listed)
    assert (result.exit_code, result.stdout) == (0, "conv.bias: OK\nconv.weight: OK\n")
    said = result.stderr.splitlines()[-1]
    assert said == "convlast: passed: All 2 tensors are what the list says."
    assert run(made, "--check", listed, "--quiet").output == ""


def test_the_list_may_come_from_a_pipe(source: Path, listed: Path) -> None:
    """As of `<(…)`."""
    reader, writer = os.pipe()
    try:
        os.write(writer, listed.read_bytes())
        os.close(writer)
        result = run(source, "--check", f"/dev/fd/{reader}")
    finally:
        os.close(reader)
    assert (result.exit_code, result.stdout) == (0, "conv.bias: OK\nconv.weight: OK\n")


def test_a_changed_byte_is_named_by_its_tensor(source: Path, listed: Path) -> None:
    """And the command ends with status 1."""
    state_dict = torch.load(source, weights_only=True)
    state_dict["conv.weight"].view(torch.uint8)[3, 2, 1, 0, 5] += 1
    torch.save(state_dict, source)
    result = run(source, "--check", listed, "-q")
    assert (result.exit_code, result.stdout) == (1, "conv.weight: FAILED\n")
    assert "convlast: tensors-differ: 1 tensors changed, 0 are missing, 0 are new" in result.stderr


def test_what_came_went_or_has_another_dtype_is_named(source: Path, listed: Path) -> None:
    """Each in a line of its own; the dtypes are told."""
    torch.save({"conv.bias": torch.zeros(4).half(), "more": torch.zeros(1)}, source)
    result = run(source, "--check", listed)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "conv.bias: FAILED (F32 [4] became F16 [4])",
        "conv.weight: MISSING",
        "more: NEW",
    ]
    found = json.loads(run(source, "--check", listed, "--json").stdout)
    assert [found[key] for key in ("missing", "new", "same")] == [["conv.weight"], ["more"], []]


def test_a_hostile_name_stays_one_line(tmp_path: Path) -> None:
    """It neither forges a line nor moves the cursor."""
    path = builders.save({"a\n\x1b[2J": torch.zeros(1)}, tmp_path / "model.pt")
    assert run(path).stdout.endswith("[1] a\\n\\u001b[2J\n")


def test_a_folder_and_an_address(source: Path, tmp_path: Path) -> None:
    """A folder's lines have paths, and what was not opened is told on stderr."""
    folder = building.model_folder(tmp_path / "folder")
    builders.save_exported_program(folder / "program.pt2")
    result = run(folder)
    assert result.stdout == convlast.digest(folder).text
    assert "not opened, and so not in the list: 'program.pt2'" in result.stderr
    assert "not opened" not in run(folder, "-q").stderr
    assert run(source.as_uri()).stdout == run(source).stdout


def test_a_check_names_the_files_that_were_not_opened(tmp_path: Path) -> None:
    """With --quiet too. It fails only if the list was made with them."""
    folder, listed = building.model_folder(tmp_path / "folder"), tmp_path / "list"
    builders.save_exported_program(folder / "program.pt2")
    listed.write_text(run(folder).stdout)
    result = run(folder, "--check", listed, "-q")
    assert (result.exit_code, result.stdout) == (0, "")
    for name in ("plans.pkl", "program.pt2"):
        assert f"not opened, and so not checked: '{name}'" in result.stderr
    found = json.loads(run(folder, "--check", listed, "--json").stdout)
    assert found["not_opened"] == ["plans.pkl", "program.pt2"]
    listed.write_text(run(folder, "--allow-programs").stdout)
    assert run(folder, "--check", listed, "--allow-programs", "-q").exit_code == 0
    assert run(folder, "--check", listed).exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--check", "absent"], "there is no file 'absent'"),
        (["--check", "."], "there is no file '.'"),
        (["--check", "model.pt", "--root"], "it goes without --check"),
        (["--check", "model.pt"], "is none of a list of digests"),
    ],
)
def test_wrong_usage_ends_with_2(
    arguments: list[str], said: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is read."""
    monkeypatch.chdir(source.parent)
    result = run(source, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_the_option_of_a_conversion_puts_the_roots_into_the_report(
    source: Path, tmp_path: Path
) -> None:
    """`convert --tensor-digests`."""
    arguments = ["convert", source, "-o", tmp_path / "made.pt", "--smoke=none", "--tensor-digests"]
    result = CliRunner().invoke(app, [*map(str, arguments), "--json", "-q"])
    report = json.loads(result.stdout)
    root = convlast.digest(source).root
    assert report["input"]["tensors_sha256"] == report["artifact"]["tensors_sha256"] == root


def test_people_see_the_roots_too(source: Path, tmp_path: Path) -> None:
    """On the page, and in a terminal with -v; a report without them says nothing of them."""
    root = convlast.digest(source).root
    arguments = ["convert", source, "-o", tmp_path / "made.pt", "--smoke=none", "-v", "--force"]
    for asked in ([], ["--tensor-digests"]):
        page = tmp_path / "report.html"
        words = [*map(str, arguments), "--report", str(page), *asked]
        shown = CliRunner().invoke(app, words, env={"COLUMNS": "500"}).stdout
        assert shown.count(f"tensors {root}") == (2 if asked else 0)
        assert page.read_text().count(root) >= len(asked)
        assert ("SHA-256 of the tensors" in page.read_text()) == bool(asked)
