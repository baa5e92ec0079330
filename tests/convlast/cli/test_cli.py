from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import convlast
from convlast import containers
from convlast.architectures.resolving import PREFIXES
from convlast.checkpoints import manifest
from convlast.cli import app
from convlast.errors import (
    DeviceUnavailableError,
    OptionError,
    UnsafeCheckpointError,
    VerificationError,
)
from convlast.options import Limits, Options
from convlast.report import Finding, Report

PASSED = (
    "convlast: passed: The verdict is passed_with_findings: fp16-overflow (2), layer-skipped.\n"
)
RECORDED = Path(__file__).parents[1] / "report" / "rendering" / "report.json"


@pytest.fixture
def made() -> Report:
    """The report that the fake verbs return."""
    return Report.model_validate_json(RECORDED.read_bytes())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file to name; the fake verbs do not read it."""
    path = tmp_path / "model.pt"
    path.write_bytes(b"weights")
    return path


class Verbs:
    """Replaces the library: records its calls, and returns a report or raises."""

    def __init__(self, answer: Report) -> None:
        self.answer: Report | BaseException = answer
        self.calls: list[tuple[str, tuple[object, ...], dict[str, Any]]] = []

    def __getitem__(self, name: str) -> Callable[..., Any]:
        """Return the verb of this name."""

        def verb(*arguments: object, **settings: object) -> object:
            self.calls.append((name, arguments, settings))
            if isinstance(self.answer, BaseException):
                raise self.answer
            return self.answer

        return verb


@pytest.fixture
def verbs(made: Report, monkeypatch: pytest.MonkeyPatch) -> Verbs:
    """The library's verbs, replaced, so that only the command line is under test."""
    fakes = Verbs(made)
    for name in ("convert", "inspect", "verify"):
        monkeypatch.setitem(vars(convlast), name, fakes[name])
    return fakes


def run(*arguments: object) -> Result:
    """Run the command line; an exception that it lets through fails the test."""
    return CliRunner().invoke(app, [str(word) for word in arguments], catch_exceptions=False)


def failed(made: Report) -> Report:
    """The same report with a failed verdict."""
    finding = Finding(code="strides-wrong", severity="error", message="Strides are wrong.")
    return made.model_copy(update={"verdict": "failed", "findings": [finding]})


def test_convert_calls_the_verb_with_what_was_asked(verbs: Verbs, source: Path) -> None:
    """Names, options, device, limits and trust are passed to the library unchanged."""
    target = source.with_name("out.pt")
    result = run(
        "convert", source, "-o", target, "--smoke", "none", "--device", "cuda:1",
        "--max-tensors", 9, "--allow-programs",
        "--architecture-prefix", "mine.nets", "--architecture-prefix", "yours",
    )  # fmt: skip

    assert result.exit_code == 0
    name, arguments, settings = verbs.calls[0]
    assert (name, arguments) == ("convert", (source, target, Options(smoke="none")))
    settings.pop("progress")
    assert settings == {
        "device": "cuda:1",
        "limits": Limits(max_tensors=9),
        "allow_programs": True,
        "architecture_prefixes": (*PREFIXES, "mine.nets", "yours"),
        "overwrite": False,
    }


def test_convert_without_output_writes_beside_the_input(verbs: Verbs, source: Path) -> None:
    """Without -o the library names the artifact, in the folder of the input."""
    assert run("convert", source).exit_code == 0
    assert verbs.calls[0][1] == (source, source.parent, Options())


def test_convert_into_a_folder(verbs: Verbs, source: Path, tmp_path: Path) -> None:
    """If OUT is a folder, the artifact is written into it under the library's name."""
    folder = tmp_path / "made"
    folder.mkdir()

    assert run("convert", source, "-o", folder).exit_code == 0
    assert verbs.calls[0][1][1] == folder


def test_inspect_and_verify_call_their_verbs(verbs: Verbs, source: Path, tmp_path: Path) -> None:
    """Each command is the verb of its name."""
    other = tmp_path / "other.pt"
    other.write_bytes(b"converted")

    assert run("inspect", source, "--allow-programs").exit_code == 0
    assert run("verify", source, other).exit_code == 0
    for _, _, settings in verbs.calls:
        settings.pop("progress")
    assert verbs.calls == [
        ("inspect", (source, Options()), {"limits": Limits(), "allow_programs": True}),
        ("verify", (source, other), {"limits": Limits(), "allow_programs": False}),
    ]


def test_report_is_printed_for_people(verbs: Verbs, source: Path) -> None:
    """Without --json the report is text on stdout; stderr says what decided."""
    result = run("convert", source)

    assert result.stdout.startswith("! Passed with findings:")
    assert "decoder.proj.weight" in result.stdout
    assert result.stderr == PASSED


def test_code_to_copy_is_not_broken_at_the_width(verbs: Verbs, made: Report, source: Path) -> None:
    """The lines that load the artifact are not wrapped, however narrow the terminal."""
    line = f"state_dict = torch.load({'x' * 200!r}, weights_only=True)"
    assert made.advice is not None
    advice = made.advice.model_copy(update={"load": line})
    verbs.answer = made.model_copy(update={"advice": advice})

    assert f"  {line}\n" in run("convert", source).stdout


def test_json_is_all_that_stands_on_stdout(verbs: Verbs, made: Report, source: Path) -> None:
    """With --json, stdout is one report and nothing else."""
    result = run("convert", source, "--json")

    assert Report.model_validate_json(result.stdout) == made


def test_a_report_is_written_to_files_of_several_kinds(
    verbs: Verbs, made: Report, source: Path, tmp_path: Path
) -> None:
    """The ending of each name decides its kind; stdout still has the text."""
    beginnings = {
        "a, b.json": "{",
        "r.HTML": "<!doctype html>",
        "r.md": "### ",
        "r.xml": "<?xml ",
        "r.sarif": "{",
        "r": "{",
    }
    files = [word for name in beginnings for word in ("--report", tmp_path / name)]
    result = run("convert", source, *files)
    assert result.exit_code == 0
    assert result.stdout.startswith("! Passed with findings:")
    for name, beginning in beginnings.items():
        assert (tmp_path / name).read_text(encoding="utf-8").startswith(beginning)
    assert Report.model_validate_json((tmp_path / "a, b.json").read_bytes()) == made


def test_failed_verdict_is_status_1_with_the_reason(
    verbs: Verbs, made: Report, source: Path
) -> None:
    """A failed report that was requested is printed, and the status is 1."""
    verbs.answer = failed(made)
    result = run("convert", source, "--on-failure", "report")

    assert result.exit_code == 1
    assert result.stdout.startswith("✗ Failed:")
    kept = source.with_name("checkpoint_final.channels_last_3d.pth")
    reason = f"Strides are wrong. The artifact is kept: '{kept}'."
    assert result.stderr == f"convlast: verification-failed: {reason}\n"


WARNED = "convlast: warnings-found: --fail-on=warning, and the report has warnings: "


@pytest.mark.parametrize("command", ["convert", "inspect", "verify"])
def test_warnings_are_status_1_if_that_is_asked_for(
    verbs: Verbs, made: Report, source: Path, tmp_path: Path, command: str
) -> None:
    """The report is delivered all the same, and the reason names the warnings."""
    named = ["fp16-overflow", "range-headroom", "fp16-overflow"]
    warnings = [Finding(code=code, severity="warning", message="…") for code in named]
    told = Finding(code="layout-in-manifest", severity="info", message="…")
    verbs.answer = made.model_copy(update={"findings": [*warnings, told]})
    words = [command, source, *([source] if command == "verify" else []), "--json"]
    words += ["--report", tmp_path / "r.json"]

    assert run(*words).exit_code == 0
    assert run(*words, "--fail-on=failed").exit_code == 0
    (tmp_path / "r.json").unlink()
    result = run(*words, "--fail-on=warning")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"{WARNED}fp16-overflow (2), range-headroom.")
    assert len(result.stderr.splitlines()) == 1
    assert Report.model_validate_json(result.stdout) == verbs.answer
    assert Report.model_validate_json((tmp_path / "r.json").read_bytes()) == verbs.answer
    verbs.answer = made.model_copy(update={"findings": [told], "verdict": "passed"})
    assert run(*words, "--fail-on=warning").exit_code == 0
    assert run(*words, "--fail-on=errors").exit_code == 2


def test_a_failed_verdict_is_told_as_such_where_warnings_fail_too(
    verbs: Verbs, made: Report, source: Path
) -> None:
    """What is worse comes first."""
    verbs.answer = failed(made)
    result = run("convert", source, "--fail-on=warning")
    assert result.stderr.startswith("convlast: verification-failed: Strides are wrong. ")


def test_rejected_conversion_still_delivers_its_report(
    verbs: Verbs, made: Report, source: Path, tmp_path: Path
) -> None:
    """If the proof fails, the artifact is rejected, but the report is still delivered."""
    verbs.answer = VerificationError("The proof broke.", report=failed(made), remedy="Keep it.")
    result = run("convert", source, "--json", "--report", tmp_path / "r.json")

    assert result.exit_code == 1
    assert Report.model_validate_json(result.stdout).verdict == "failed"
    assert Report.model_validate_json((tmp_path / "r.json").read_bytes()).verdict == "failed"
    assert result.stderr == "convlast: verification-failed: The proof broke. Keep it.\n"


@pytest.mark.parametrize(
    ("error", "status", "stderr"),
    [
        (
            UnsafeCheckpointError("It asks for os.system.", names=["os.system"], remedy="Don't."),
            1,
            "convlast: unsafe-checkpoint: It asks for os.system.\n  Don't.\n",
        ),
        (DeviceUnavailableError("No GPU."), 1, "convlast: not-ready: No GPU.\n"),
        (
            OptionError("select", "Nothing matches."),
            2,
            "convlast: invalid-option: Nothing matches.\n",
        ),
        (
            OSError(errno.EACCES, "Permission denied", "/out.pt"),
            1,
            "convlast: file-error: '/out.pt': Permission denied.\n",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            1,
            "convlast: storage-full: No space left on device.\n",
        ),
        (KeyboardInterrupt(), 130, "convlast: interrupted: The work was stopped.\n"),
    ],
)
def test_what_stops_the_work_is_told_on_stderr(
    verbs: Verbs, source: Path, error: BaseException, status: int, stderr: str
) -> None:
    """Code, message and remedy are on stderr, stdout is empty, and the status shows the kind."""
    verbs.answer = error
    result = run("convert", source)

    assert (result.exit_code, result.stdout, result.stderr) == (status, "", stderr)


def test_reason_cannot_act_on_the_terminal(verbs: Verbs, source: Path) -> None:
    """A message that quotes a hostile name is shown with its escapes."""
    verbs.answer = OptionError("select", "No \x1b[2J here.")

    assert r"No \x1b[2J here." in run("convert", source).stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_termination_unwinds(
    number: signal.Signals,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    source: Path,
    tmp_path: Path,
) -> None:
    """A signal runs the cleanup, ends with its status, and the handler is restored."""
    left = tmp_path / "half-written"

    def interrupted(*_: object, **__: object) -> None:
        left.touch()
        try:
            os.kill(os.getpid(), number)
        finally:
            left.unlink()

    monkeypatch.setitem(vars(convlast), "inspect", interrupted)
    before = signal.signal(number, signal.SIG_DFL)  # the tests may run under nohup
    try:
        assert run("inspect", source).exit_code == status
        assert not left.exists()
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_an_ignored_signal_stays_ignored(
    monkeypatch: pytest.MonkeyPatch, made: Report, source: Path
) -> None:
    """Under nohup the work goes on when the terminal is closed."""

    def unmoved(*_: object, **__: object) -> Report:
        os.kill(os.getpid(), signal.SIGHUP)
        return made

    monkeypatch.setitem(vars(convlast), "inspect", unmoved)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run("inspect", source).exit_code == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["convert", "{folder}/absent.pt"], "does not exist"),
        (["convert"], "Missing argument"),
        (["convert", "{source}", "--bogus"], "No such option"),
        (["convert", "{source}", "--memory-format", "nhwc"], "memory_format has a bad value"),
        (["convert", "{source}", "--input-shape", "1,8,16"], "input_shape has a bad value"),
        (["convert", "{source}", "--device", "tpu"], "none of auto, cpu, cuda"),
        (["convert", "{source}", "--max-tensors", "0"], "greater than 0"),
        (["convert", "{source}", "-o", "{source}"], "this is the input"),
        (["convert", "{source}", "--report", "{source}"], "this is the input"),
        (["convert", "{source}", "-o", "{folder}/absent/out.pt"], "there is no folder"),
        (["convert", "{source}", "--report", "{folder}/absent/r.json"], "there is no folder"),
        (["convert", "{source}", "--report", "{folder}"], "is a folder"),
        (["convert", "{source}", "--report", "r.md", "--report", "r.pdf"], "no kind of report"),
        (
            ["convert", "{source}", "-o", "{folder}/x", "--report", "{folder}/x"],
            "the artifact goes",
        ),
        (["convert", "{folder}", "--report", "{folder}/r.json"], "this is in the input"),
        (["verify", "{folder}", "{folder}", "--report", "{folder}/r.json"], "is in the input"),
        (["verify", "{source}", "{folder}/absent.pt"], "does not exist"),
        (["verify", "{source}"], "CONVERTED is missing"),
        (["inspect", "{source}", "--smoke", "none"], "No such option"),
        (["report", "{folder}/absent.pt"], "does not exist"),
        (["change", "{source}"], "No such command"),
    ],
)
def test_wrong_usage_is_status_2_before_any_work(
    verbs: Verbs, source: Path, arguments: list[str], words: str
) -> None:
    """Wrong usage is reported at once; nothing is read, written or changed."""
    before = sorted(source.parent.rglob("*"))
    names = {"source": str(source), "folder": str(source.parent)}
    result = run(*(word.format(**names) for word in arguments))

    assert (result.exit_code, result.stdout, verbs.calls) == (2, "", [])
    first, *rest = result.stderr.splitlines()
    assert first.startswith("convlast: invalid-option: ")
    assert words in first
    assert all(line.startswith("  ") for line in rest)
    assert sorted(source.parent.rglob("*")) == before
    assert source.read_bytes() == b"weights"


def test_manifest_is_printed(monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
    """`convlast report` prints the manifest as a table, or with --json as JSON."""
    layer = manifest.LayerLayout(
        name="conv.weight",
        key="conv.weight",
        shape=(8, 4, 3, 3, 3),
        stride_before=(108, 27, 9, 3, 1),
        stride_after=(108, 1, 36, 12, 4),
    )
    found = manifest.Manifest(memory_format="channels_last_3d", layers=(layer,))
    monkeypatch.setattr(containers, "read_manifest", lambda _: found)

    assert "(108,1,36,12,4)" in run("report", source).stdout
    assert json.loads(run("report", source, "--json").stdout) == json.loads(found.encode())


def test_absent_manifest_is_status_1(monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
    """For a file without a manifest the command says that it was not converted."""
    monkeypatch.setattr(containers, "read_manifest", lambda _: None)
    monkeypatch.setattr(containers, "is_folder", lambda _: False)
    result = run("report", source)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("convlast: no-manifest: 'model.pt' does not say")


def test_version_is_printed() -> None:
    """`convlast --version` names the program and its version."""
    assert run("--version").stdout == f"convlast {convlast.__version__}\n"


@pytest.mark.parametrize("flag", ["--help", "--version", "convert --help"])
def test_help_and_version_do_not_import_torch(flag: str) -> None:
    """Help and version do not import torch."""
    script = (
        "import sys\nfrom convlast.cli import app\n"
        f"try:\n    app({flag.split()!r})\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_absent_numpy_is_not_complained_of(source: Path) -> None:
    """Torch's warning that numpy is missing is not shown."""
    script = (
        "import sys\nsys.modules['numpy'] = None\n"
        "import convlast\nfrom convlast.cli import app\nfrom convlast.report import Report\n"
        "def inspect(*_, **__):\n    import torch\n    torch.zeros(1).tolist()\n"
        f"    return Report.model_validate_json(open({str(RECORDED)!r}).read())\n"
        "vars(convlast)['inspect'] = inspect\n"
        f"app(['inspect', {str(source)!r}])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )

    assert done.stderr == PASSED


def test_stdout_of_few_letters_is_no_error(source: Path) -> None:
    """If stdout cannot encode a character, its escape is written instead."""
    script = (
        "import convlast\nfrom convlast.cli import app\nfrom convlast.report import Report\n"
        "vars(convlast)['inspect'] = lambda *_, **__: "
        f"Report.model_validate_json(open({str(RECORDED)!r}).read())\n"
        f"app(['inspect', {str(source)!r}])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONIOENCODING": "ascii", "PATH": ""},
    )

    assert r"Conv3d 32\xd71\xd73\xd73\xd73 float32" in done.stdout
