"""`python -m service` with arguments: it answers or refuses them, and never starts."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from convlast.version import __version__
from service import usage
from service.settings import Settings, SettingsError, variable_of
from tests.service.running import ROOT


def helped(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the help."""
    with pytest.raises(SystemExit) as ended:
        usage.asks_for_check(["--help"])
    assert not ended.value.code
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the line on stderr that refuses arguments."""
    with pytest.raises(SystemExit) as ended:
        usage.asks_for_check(arguments)
    assert ended.value.code == usage.USAGE_ERROR
    [line] = capsys.readouterr().err.splitlines()
    return line


def test_the_help_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    """Each variable has its default and its meaning."""
    words = " ".join(helped(capsys).split())
    for variable, default, meaning in usage.described():
        shown = f" [default: {default}]" if default else ""
        assert f" {variable}{shown} {meaning.replace('`', '')}" in words
    assert {name for name, _, _ in usage.described()} == {
        variable_of(name) for name in Settings.model_fields
    }


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_the_help_fits_the_terminal(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines are wrapped to its width."""
    monkeypatch.setenv("COLUMNS", str(columns))
    for line in helped(capsys).splitlines():
        assert len(line) <= columns


@pytest.mark.parametrize(
    ("argument", "advice"),
    [
        ("--port", "Set the environment variable CONVLAST_PORT."),
        ("--port=9000", "Set the environment variable CONVLAST_PORT."),
        ("--work-dir", "Set the environment variable CONVLAST_WORK_DIR."),
        ("CONVLAST_PORT=9000", "Set the environment variable CONVLAST_PORT."),
        ("launch", "`python -m service --help` lists the settings."),
        ("--help=me", "`python -m service --help` lists the settings."),
        ("-x", "`python -m service --help` lists the settings."),
    ],
)
def test_an_argument_is_refused_in_one_line(
    argument: str, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line says what to do instead."""
    assert refused(capsys, argument, "9000").endswith(advice)


def test_no_argument_is_no_question() -> None:
    """Without arguments the service starts, and with `--check` it does not."""
    assert not usage.asks_for_check([])
    assert usage.asks_for_check(["--check"])


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CONVLAST_PROT", "Did you mean CONVLAST_PORT?"),
        ("CONVLAST_MAX_UPLOAD_BYTE", "Did you mean CONVLAST_MAX_UPLOAD_BYTES?"),
        ("CONVLAST_WORKDIR", "Did you mean CONVLAST_WORK_DIR?"),
        ("CONVLAST_NONSENSE", "`python -m service --help` lists the settings."),
    ],
)
def test_a_misspelt_setting_is_recognised(name: str, meant: str) -> None:
    """The refusal names the setting that is meant, if one resembles it."""
    with pytest.raises(SettingsError) as refusal:
        Settings.from_environment({name: "1"})
    assert str(refusal.value) == f"There is no setting {name}. {meant}"


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ({}, "http://127.0.0.1:81"),
        ({"host": "::1"}, "http://[::1]:81"),
        ({"host": "0.0.0.0", "allow_anonymous": True}, "http://127.0.0.1:81"),  # noqa: S104
        ({"host": "::", "api_keys_file": "keys"}, "http://[::1]:81"),
    ],
)
def test_the_greeting_has_an_address_that_works_here(
    settings: dict[str, Any], address: str
) -> None:
    """It is that of this machine, and the command sends a key where one is needed."""
    greeting = usage.greeting(Settings(**settings), 81)
    assert f"listens on {address} " in greeting
    assert f" {address}/convert || cat out.zip" in greeting
    assert ("Authorization: Bearer KEY" in greeting) is ("api_keys_file" in settings)


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["service", "--version"], 0, f"convlast {__version__}"),
        (["service", "--help"], 0, "CONVLAST_PORT [default: 8000]"),
        (["service", "--port", "0"], 2, "Set the environment variable CONVLAST_PORT."),
        (["benchmarks", "--help"], 0, "python -m benchmarks library serving"),
        (["benchmarks", "nonsense"], 2, "there is no benchmark 'nonsense'"),
        (["scripts.demo", "--help"], 0, "make demo"),
        (["scripts.demo", "again"], 2, "unrecognized arguments: again"),
        (["scripts.tables", "--help"], 0, "make fix"),
    ],
)
def test_programs_with_arguments_do_not_start(arguments: list[str], status: int, text: str) -> None:
    """Help, the version and a bad argument end each program at once."""
    ended = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == status
    assert text in (ended.stderr if status else ended.stdout)
    assert not (ended.stdout if status else ended.stderr)


def test_the_help_is_quick() -> None:
    """Neither torch nor the web framework is imported for it."""
    program = (
        "import runpy, sys; sys.argv = ['service', '--version']\n"
        "try: runpy.run_module('service', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "sys.exit(bool({'torch', 'fastapi', 'uvicorn'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
