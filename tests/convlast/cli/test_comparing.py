"""`convlast compare`, with the reports of real conversions."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from convlast.cli import app, comparing
from convlast.report.changes import Comparison
from tests import builders


def run(*arguments: object, stdin: bytes | None = None) -> Result:
    """Run the command line; an exception that it lets through fails the test."""
    words = ["compare", *map(str, arguments)]
    return CliRunner().invoke(app, words, input=stdin, catch_exceptions=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the reports of two versions of a model; values of one overflow."""
    folder = tmp_path_factory.mktemp("reports")
    torch.manual_seed(0)
    state = builders.a_model().state_dict()
    for name in ("before", "after"):
        source = builders.save(state, folder / f"{name}.pt")
        words = ["convert", str(source), "--report", str(folder / f"{name}.json"), "-q"]
        assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
        first = next(each for each in state.values() if each.dim() == 5)
        first.view(-1)[0] = 1e6
    return folder


def test_a_report_is_no_worse_than_itself(made: Path) -> None:
    """Status 0, and the last line says so."""
    done = run(made / "before.json", made / "before.json")
    assert (done.exit_code, done.stdout.splitlines()[0]) == (0, "Nothing changed.")
    assert done.stderr == "convlast: passed: Nothing got worse. Nothing changed.\n"
    assert run(made / "before.json", made / "before.json", "-q").output == ""


def test_a_regression_is_status_1(made: Path) -> None:
    """It is named on the last line; the other way round nothing is worse."""
    done = run(made / "before.json", made / "after.json")
    assert done.exit_code == 1
    assert done.stderr.startswith("convlast: regression-found: verdict, findings")
    assert "\nWorse\n" in done.stdout
    assert "fp16-overflow" in done.stdout
    back = run(made / "after.json", made / "before.json", "-q")
    assert (back.exit_code, back.output) == (0, "")
    back = run(made / "after.json", made / "before.json")
    assert back.stderr.startswith("convlast: passed: Nothing got worse. verdict, findings")


def test_it_can_be_json_or_markdown(made: Path) -> None:
    """The JSON is the comparison, with its limits and what got worse, and nothing else."""
    words = made / "before.json", made / "after.json", "--max-error-growth=3"
    found = Comparison.model_validate_json(run(*words, "--json").stdout)
    assert found.tolerance.max_error_growth == 3
    assert found.regressions[0].part == "verdict"
    assert not found.same_input
    said = run(*words, "--markdown")
    assert said.exit_code == 1
    assert said.stdout.startswith("## Changed for the worse\n")


def test_a_report_may_come_in_a_zip_or_on_stdin(made: Path, tmp_path: Path) -> None:
    """The zip is one that a service answers; stdin may have the report or its refusal."""
    archive = tmp_path / "out.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("model.channels_last_3d.pt", b"weights")
        file.write(made / "before.json", "report.json")
    before = (made / "before.json").read_bytes()
    assert "Nothing changed." in run(archive, "-", stdin=before).stdout
    refusal = json.dumps({"status": 422, "report": json.loads(before)}).encode()
    assert "Nothing changed." in run("-", archive, stdin=refusal).stdout


def test_a_report_may_come_through_a_pipe(made: Path) -> None:
    """As of `<(…)`, which is no file and cannot be read twice."""
    before = str(made / "before.json")
    script = '"$0" -m convlast compare <(cat "$1") "$1"'
    words = ["bash", "-c", script, sys.executable, before]
    done = subprocess.run(words, check=True, capture_output=True, timeout=120)
    assert b"Nothing changed." in done.stdout
    assert "there is no file" in run(made, before).stderr


def zipped(content: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytearray:
    """Return a zip with this report."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("report.json", content)
        archive.writestr("é", b"x")
    return bytearray(buffer.getvalue())


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (zipfile.ZIP_BZIP2, "There is no report.json"),
        (zipfile.ZIP_LZMA, "There is no report.json"),
        (zipfile.ZIP_DEFLATED, "at most 0 MiB"),
        (zipfile.ZIP_STORED, "at most 0 MiB"),
    ],
)
def test_no_zip_unpacks_to_more_than_a_report_may_have(
    made: Path, monkeypatch: pytest.MonkeyPatch, method: int, said: str
) -> None:
    """It is refused by its size before anything is unpacked; so is a method without a bound."""
    monkeypatch.setattr(comparing, "MAX_REPORT_BYTES", 10_000)
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda *_: pytest.fail("It was unpacked."))
    bomb = made / "bomb.zip"
    bomb.write_bytes(zipped(b" " * 1_000_000, method))
    done = run(bomb, made / "before.json")
    assert (done.exit_code, done.stderr.partition(": ")[0]) == (2, "convlast")
    assert said in done.stderr


def test_an_encrypted_report_is_refused(made: Path) -> None:
    """Nobody asks for a password."""
    content = zipped(b"{}")
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (made / "closed.zip").write_bytes(content)
    done = run(made / "closed.zip", made / "before.json")
    assert (done.exit_code, "There is no report.json" in done.stderr) == (2, True)


METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


@given(st.sampled_from(METHODS), st.data())
def test_a_damaged_zip_is_wrong_usage(made: Path, method: int, data: st.DataObject) -> None:
    """Whatever bytes of it are others: it is read, or refused, and never a traceback."""
    content = zipped((made / "before.json").read_bytes(), method)
    near_end = st.integers(max(len(content) - 240, 0), len(content) - 1)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, 60) | near_end | st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    (made / "damaged.zip").write_bytes(content)
    done = run(made / "damaged.zip", made / "before.json", "-q")
    assert done.exit_code in {0, 2}
    assert done.exit_code == 0 or done.stderr.startswith("convlast: invalid-option: ")


def test_an_inspection_is_less_than_a_conversion(made: Path, tmp_path: Path) -> None:
    """With the same options, a report without smoke and proof is worse, and says why."""
    words = ["inspect", str(made / "before.pt"), "--report", str(tmp_path / "less.json"), "-q"]
    assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
    done = run(made / "before.json", tmp_path / "less.json", "-q")
    assert done.exit_code == 1
    assert "smoke" in done.stderr
    assert "proof" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["absent.json", "before.json"], "there is no file 'absent.json'"),
        (["before.json"], "Missing argument"),
        (["before.json", "before.pt"], "There is no report.json in 'before.pt'"),
        (["before.json", "text"], "'text' is not JSON"),
        (["before.json", "before.json", "--max-slowdown=-1"], "greater than or equal to 0"),
        (["before.json", "before.json", "--max-error-growth=0.5"], "greater than or equal to 1"),
        (["before.json", "before.json", "--json", "--markdown"], "two kinds of output"),
        (["-", "-"], "Only one of both reports can be on stdin"),
    ],
)
def test_wrong_usage_is_status_2(
    made: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    """So is what is no report; nothing is on stdout."""
    (made / "text").write_text("verdict: passed")
    monkeypatch.chdir(made)
    done = run(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_it_does_not_import_torch(made: Path) -> None:
    """A pipeline compares where torch is not installed, or would take seconds."""
    script = (
        "import sys\nsys.modules['torch'] = None\nfrom convlast.cli import app\n"
        "for kind in ([], ['--json'], ['--markdown']):\n"
        "    try:\n        app(['compare', sys.argv[1], sys.argv[2], *kind])\n"
        "    except SystemExit as end:\n        assert end.code == 1\n"
    )
    words = [sys.executable, "-c", script, str(made / "before.json"), str(made / "after.json")]
    done = subprocess.run(words, check=True, capture_output=True)
    assert done.stderr.count(b"regression-found") == 3
