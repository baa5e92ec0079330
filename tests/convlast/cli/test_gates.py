"""Gates on real conversions: what stops, what is kept, and what decided."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from typer.testing import CliRunner, Result

from convlast.cli import app
from convlast.report import Report
from tests import builders

KEPT = "model.channels_last_3d.pt"


def run(*arguments: object) -> Result:
    """Run the command line; an exception that it lets through fails the test."""
    return CliRunner().invoke(app, [str(word) for word in arguments], catch_exceptions=False)


def last(result: Result) -> str:
    """Return the last line of stderr."""
    return result.stderr.splitlines()[-1]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A checkpoint."""
    torch.manual_seed(0)
    return builders.save(builders.a_model().state_dict(), tmp_path / "model.pt")


def test_an_error_beyond_the_limit_stops_after_the_artifact(source: Path) -> None:
    """It is kept, the limit is inclusive, and the number is that of the report."""
    done = run("convert", source, "--json", "--max-error=0")
    assert done.exit_code == 1
    report = Report.model_validate_json(done.stdout)
    assert report.smoke is not None
    worst = max(each.relative or 0 for each in report.smoke.parity)
    assert worst > 0
    place = source.with_name(KEPT)
    assert last(done).startswith("convlast: error-too-large: --max-error=0, and the largest error")
    assert last(done).endswith(f"The artifact is kept: '{place}'.")
    assert place.is_file()
    again = run("convert", source, "--json", "--force", f"--max-error={worst!r}")
    assert (again.exit_code, json.loads(again.stdout)["verdict"]) == (0, report.verdict)
    assert "The largest error is " in last(again)


def test_each_gate_is_a_case_of_the_view_of_tests(source: Path, tmp_path: Path) -> None:
    """One that stops the command fails, with its reason; one that does not passes."""
    target = tmp_path / "report.xml"
    done = run("convert", source, "--max-error=0", "--fail-on=fp16-overflow", "--report", target)
    assert done.exit_code == 1
    cases = list(ElementTree.parse(target).iter("testcase"))  # noqa: S314  # ours
    gates = [each for each in cases if each.get("classname") == "model.pt/gates"]
    failures = {each.get("name"): each.find("failure") for each in gates}
    assert failures.keys() == {"max-error=0", "fail-on=fp16-overflow"}
    assert failures["fail-on=fp16-overflow"] is None
    stopped = failures["max-error=0"]
    assert stopped is not None
    assert "the largest error is" in (stopped.text or "")
    assert sum(each.find("failure") is not None for each in cases) == 1


def test_what_decided_is_the_last_line(source: Path) -> None:
    """On success too, but with --quiet; of inspect and verify as well."""
    done = run("convert", source, "--fail-on=fp16-overflow")
    assert done.exit_code == 0
    assert last(done) == "convlast: passed: The verdict is passed. There is no fp16-overflow."
    converted = source.with_name(KEPT)
    for words in (["inspect", source], ["verify", source, converted]):
        assert last(run(*words)) == "convlast: passed: The verdict is passed."
        stopped = run(*words, "--fail-on=kind-assumed,nothing-to-change", "-q")
        assert stopped.exit_code == bool(stopped.stderr)
        assert run(*words, "-q").output == ""


def test_an_info_can_stop_an_inspection(source: Path) -> None:
    """Here the one that says that nothing would change."""
    assert run("convert", source).exit_code == 0
    words = ["convert", source.with_name(KEPT), "--fail-on=nothing-to-change"]
    stopped = run(*words, "--json")
    assert stopped.exit_code == 1
    assert Report.model_validate_json(stopped.stdout).verdict == "passed"
    assert last(stopped).startswith("convlast: finding-found: --fail-on=nothing-to-change, ")
    assert "kept" not in last(stopped)  # nothing was made
    # An error is only measured by a conversion, so one is made.
    measured = run(*words[:-1], "--max-error=1", "-o", source.with_name("copy.pt"))
    assert "The largest error is " in last(measured)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--fail-on=fp16-overflw"], "no finding 'fp16-overflw'; it may be 'fp16-overflow'"),
        (["--fail-on=warning", "--fail-on=error"], "no finding 'error'"),
        (["--max-error=-1"], "greater than or equal to 0"),
        (["--max-error=1", "--smoke=none"], "smoke=none measures no error"),
        (["--min-speedup=1.1", "--device=cpu"], "Times on a CPU say nothing about a GPU"),
    ],
)
def test_a_gate_that_cannot_be_is_wrong_usage(source: Path, words: list[str], said: str) -> None:
    """Status 2, before anything is written."""
    done = run("convert", source, *words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert {path.name for path in source.parent.iterdir()} == {"model.pt"}


def test_a_folder_is_judged_by_its_worst_file(source: Path, tmp_path: Path) -> None:
    """The file is named."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    shutil.copy(source, folder / "diffusion.pt")
    done = run("convert", folder, "-o", tmp_path / "made", "--max-error=1e-9", "--json")
    assert done.exit_code == 1
    assert " in diffusion.pt. The artifact is kept: " in last(done)
    assert (tmp_path / "made" / "diffusion.pt").is_file()
    done = run("convert", folder, "-o", tmp_path / "made", "--force", "--max-error=1")
    assert done.exit_code == 0
