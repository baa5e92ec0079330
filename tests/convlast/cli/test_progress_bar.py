"""What is shown of the progress: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from convlast.cli import app
from convlast.cli import progress_bar as progress
from convlast.report import Report
from tests import builders
from tests.convlast.folders import building

LINE = re.compile(r"(\w+): [\d.]+ (?:µs|ms|s)(?:, ([\d.]+ \w?B))?")


def run(*arguments: object) -> Result:
    """Run the command line; an exception that it lets through fails the test."""
    return CliRunner().invoke(app, [str(word) for word in arguments], catch_exceptions=False)


def on_a_terminal(*arguments: object) -> tuple[int, str]:
    """Run the command in a terminal; return its status, and all that appeared there."""
    screen, terminal = pty.openpty()
    words = [sys.executable, "-m", "convlast", *map(str, arguments)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    shown = b""
    with subprocess.Popen(
        words, stdin=terminal, stdout=terminal, stderr=terminal, env=environment
    ) as process:
        os.close(terminal)
        with os.fdopen(screen, "rb", buffering=0) as file, suppress(OSError):  # as it ends
            while piece := file.read(1 << 16):
                shown += piece
    return process.returncode, plain(shown.decode())


def plain(screen: str) -> str:
    """Return what appeared without colours and movements of the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)


def lines_of(stderr: str) -> dict[str, str | None]:
    """Return the stages that have a line, with the bytes that it tells of; what decided follows."""
    found = {}
    stages, _, _ = stderr.partition("convlast: passed: ")
    for line in stages.splitlines():
        said = LINE.fullmatch(line)
        assert said, line
        found[said[1]] = said[2]
    return found


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A checkpoint."""
    return builders.save(builders.a_model().state_dict(), tmp_path / "model.pt")


def test_each_stage_has_a_bar_on_a_terminal(source: Path) -> None:
    """The bars reach 100 %, those of bytes have a rate, and they are gone before the report."""
    status, shown = on_a_terminal("convert", source, "--smoke=layers")
    assert status == 0
    for stage in ("read", "write", "prove", "smoke", "survival"):
        assert re.search(rf"{stage} .*100%", shown), stage
    assert re.search(r"write .*100% \S+ \S+/\S+ \w*[Bb]", shown)
    assert "100%" not in shown[shown.index("Passed") :]


def test_quiet_shows_nothing_on_a_terminal(source: Path) -> None:
    """With -q no bar and no report is shown."""
    assert on_a_terminal("convert", source, "--smoke=none", "-q") == (0, "")


def test_each_stage_has_a_line_elsewhere(source: Path) -> None:
    """Without a terminal each stage has one line on stderr, and stdout has the JSON alone."""
    result = run("convert", source, "--json")
    Report.model_validate_json(result.stdout)
    said = lines_of(result.stderr)
    assert list(said) == ["read", "write", "prove", "smoke", "survival"]
    assert {stage for stage, count in said.items() if count} == {"write"}


def test_inspect_and_verify_tell_of_their_stages(source: Path) -> None:
    """They read all bytes, which takes long for a large file."""
    assert list(lines_of(run("inspect", source).stderr)) == ["digest"]
    assert list(lines_of(run("verify", source, source).stderr)) == ["compare", "digest"]


def test_a_folder_has_one_line(tmp_path: Path) -> None:
    """A folder of a thousand files does not print thousands of lines."""
    folder = building.model_folder(tmp_path / "model")
    total = sum(map(len, building.files_in(folder).values()))
    result = run("convert", folder, "--smoke=none", "--json")
    assert lines_of(result.stderr) == {"files": f"{total / 1000:.1f} kB"}


@pytest.mark.parametrize("quiet", ["-q", "--quiet"])
def test_quiet_says_nothing_but_errors(source: Path, quiet: str) -> None:
    """With --quiet nothing is printed if all is well, but for JSON that was asked for."""
    result = run("convert", source, "--smoke=none", quiet)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    result = run("inspect", source, quiet, "--json")
    Report.model_validate_json(result.stdout)
    assert result.stderr == ""
    result = run("inspect", source, quiet, "--max-tensors=1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("convlast: limit-exceeded: ")


def shown(*calls: tuple[str, int, int], is_terminal: bool = False) -> str:
    """Return what is shown of these calls."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=is_terminal, width=100)
    with progress.shown_on(console) as advance:
        for call in calls:
            advance(*call)
    return plain(screen.getvalue())


def test_bytes_have_a_rate_and_a_time_left() -> None:
    """A stage that counts bytes shows how many, how fast, and how long it will take."""
    said = shown(*(("upload", done, 400_000) for done in (0, 100_000, 200_000)), is_terminal=True)
    assert re.search(r"upload .*50%.* 200.0/400.0 kB .*/s .* left", said)
    said = shown(*(("smoke", done, 8) for done in (0, 2, 4)), is_terminal=True)
    assert re.search(r"smoke .*50%", said)
    assert not re.search(r"/s|left|/8", said)


def test_the_place_in_the_queue_is_shown() -> None:
    """The next job is at place 1; other stages have no place."""
    said = shown(("queue", 0, 3), ("queue", 1, 3), is_terminal=True)
    assert re.search(r"queue .* place 2 ", said)
    assert re.search(r"queue .* place 1", shown(("queue", 0, 1), is_terminal=True))
    assert "place" not in shown(("read", 0, 3), ("read", 1, 3), is_terminal=True)


def test_a_stage_may_begin_again() -> None:
    """A retried upload, or the next file of a folder, begins at nothing and ends once more."""
    calls = [("upload", done, 4) for done in (1, 3, 0, 2, 4)]
    assert list(lines_of(shown(*calls))) == ["upload"]
    assert "100%" in shown(*calls, is_terminal=True)


def test_a_stage_that_only_ends_has_no_line() -> None:
    """What has not begun has taken no time."""
    assert shown(("write", 0, 0), ("read", 1, 1)) == ""
