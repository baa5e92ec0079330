"""Wrong usage is told in the style of every other error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from convlast.cli import app
from convlast.cli.usage import Commands


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("convert", "Missing argument 'IN'.\n  Try 'convlast convert --help'.\n"),
        (
            "verify x.pt",
            "Invalid value: CONVERTED is missing: convlast verify ORIGINAL CONVERTED, or convlast "
            "verify --statement FILE ARTIFACT.\n  Try 'convlast verify --help'.\n",
        ),
        (
            "convert x.pt --smokes=none",
            "No such option: --smokes. Did you mean '--smoke' or '--smoke-seconds'?\n"
            "  Try 'convlast convert --help'.\n",
        ),
        ("convert x.pt --xyz", "No such option: --xyz.\n  Try 'convlast convert --help'.\n"),
        (
            "inspekt x.pt",
            "No such command 'inspekt'. Did you mean 'inspect'?\n  Try 'convlast --help'.\n",
        ),
        ("--bogus", "No such option: --bogus.\n  Try 'convlast --help'.\n"),
        (
            "convert x.pt --smoke",
            "Option '--smoke' requires an argument.\n  Try 'convlast convert --help'.\n",
        ),
        (
            "convert x.pt --device=tpu",
            "Invalid value for '--device': 'tpu' is none of auto, cpu, cuda, cuda:0, cuda:1 ...\n"
            "  Try 'convlast convert --help'.\n",
        ),
        (
            "inspect absent.pt",
            "Invalid value for 'IN': path 'absent.pt' does not exist.\n"
            "  Try 'convlast inspect --help'.\n",
        ),
        (
            "inspect x.pt y.pt",
            "Got unexpected extra argument(s) (y.pt).\n  Try 'convlast inspect --help'.\n",
        ),
    ],
)
def test_wrong_usage_says_what_is_wrong_and_where_help_is(
    arguments: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A code, a sentence with a suggestion where there is one, and the help of this command."""
    monkeypatch.chdir(tmp_path)
    Path("x.pt").write_bytes(b"weights")
    result = CliRunner().invoke(app, arguments.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"convlast: invalid-option: {said}"


def test_a_name_that_acts_on_the_terminal_is_escaped() -> None:
    """An option that quotes a control sequence is shown with its escape."""
    result = CliRunner().invoke(app, ["convert", "\x1b[2J.pt"])
    assert result.exit_code == 2
    assert "\x1b" not in result.stderr


def test_no_argument_at_all_is_help() -> None:
    """Without a command the help is printed, and no error."""
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 2
    assert "Usage:" in result.output
    assert "convlast:" not in result.output


def test_an_interruption_outside_of_the_work_is_told_too() -> None:
    """What a command does before its work may be interrupted as well."""
    probe = typer.Typer(cls=Commands)

    @probe.callback()
    def prepare() -> None:
        """Have several commands."""

    @probe.command()
    def stop() -> None:
        raise typer.Abort

    result = CliRunner().invoke(probe, ["stop"])
    assert result.exit_code == 130
    assert result.stderr == "convlast: interrupted: The command was stopped.\n"


def test_a_caller_that_is_not_a_shell_gets_the_result() -> None:
    """Without standalone mode nothing exits, as typer documents."""
    commands = typer.main.get_command(app)
    assert commands.main(["--version"], standalone_mode=False) == 0


def test_an_absent_extra_is_told_in_the_same_style() -> None:
    """Without typer the command says which extra it needs."""
    script = "import sys; sys.modules['typer'] = None; from convlast.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("convlast: not-installed: The command line needs the extra cli.")


@pytest.mark.parametrize("command", ["convert", "inspect", "verify", "digest", "report", "compare"])
def test_help_says_what_a_pipeline_acts_on(command: str) -> None:
    """The exit statuses, and where the reason is."""
    said = " ".join(CliRunner().invoke(app, [command, "--help"]).output.split())
    assert "Exit status: 0: passed. 1: failed, refused, stopped at a gate, got worse, or" in said
    assert "The last line on stderr says what decided." in said
