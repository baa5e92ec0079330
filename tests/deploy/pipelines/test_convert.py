"""deploy/pipelines/convert.sh, with services and with a `convlast` that is played."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from torch import nn

from tests.deploy.pipelines.steps import SCRIPT, environment, run, step
from tests.service.running import Running, free_port, wait_for

KINDS = {f"report.{kind}" for kind in ("json", "html", "md", "xml", "sarif")}
SECRET = "-----BEGIN PRIVATE KEY-----\nof Ada\n-----END PRIVATE KEY-----"  # noqa: S105  # played
NAMES = (
    "a b.pt",
    "--help",
    "-rf.pt",
    "line\nfeed.pt\n",
    "*.pt",
    "%s\\n$HOME.pt",
    'it\'s "$(touch pwned)"`touch pwned`;touch pwned&.pt',
)


def names_in(folder: Path) -> set[str]:
    """Return what is in a folder."""
    return {each.name for each in folder.iterdir()}


def called(checkout: Path) -> dict[str, Any]:
    """Return how the played `convlast` was called."""
    found: dict[str, Any] = json.loads((checkout / "called.json").read_text())
    return found


def test_the_script_has_no_smell() -> None:
    """Shellcheck finds nothing in it."""
    program = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([program, SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_service_converts(remote: dict[str, str], checkout: Path) -> None:
    """The reports are there in each kind, and the artifact goes on."""
    done = run(["sh", str(SCRIPT), "model.pt", "made/here"], checkout, remote)
    made = checkout / "made" / "here"
    assert names_in(made) == KINDS | {"statement.json", "converted", "decision", "model"}
    assert (made / "decision").read_text() == "convert"
    assert names_in(made / "model") == {"model.channels_last_3d.pt"}
    statement = json.loads((made / "statement.json").read_text())
    assert statement["subject"][0]["name"] == "model.channels_last_3d.pt"
    assert "key-of-ada" not in done.stdout + done.stderr


def test_a_failed_proof_fails_the_step(remote: dict[str, str], checkout: Path) -> None:
    """Nothing goes on, the reports are there, and the view of tests says what failed."""
    (checkout / "model.pt").write_text("fails-verification 3")
    said = step(checkout, remote, "model.pt", "made", status=1)
    assert "verification-failed" in said
    made = checkout / "made"
    assert names_in(made) >= KINDS
    assert not names_in(made) & {"decision", "model"}
    assert names_in(made / "converted") == set()
    assert "stops here:\n\n    convlast: verification-failed: " in (made / "report.md").read_text()
    tests = ElementTree.parse(made / "report.xml")  # noqa: S314  # ours
    assert tests.findall(".//failure")


def test_a_refusal_is_in_the_summary(remote: dict[str, str], checkout: Path) -> None:
    """There is no report, so the summary says why, and nothing in it is markup."""
    (checkout / "model.pt").write_text("refuses")
    step(checkout, remote, "model.pt", "made", status=1)
    told = (checkout / "made" / "report.md").read_text()
    _, _, reason = told.partition("stops here:\n\n")
    assert "unsafe-checkpoint: The pickle asks for os.system." in reason
    assert all(line.startswith("    ") for line in reason.splitlines())


@pytest.mark.parametrize(
    ("change", "code"),
    [({"CONVLAST_API_KEY": "wrong"}, "unauthorized"), ({"CONVLAST_SERVER": ""}, "not-ready")],
    ids=["wrong key", "service away"],
)
def test_who_does_not_get_in_fails(
    remote: dict[str, str], checkout: Path, change: dict[str, str], code: str
) -> None:
    """Without the key, or without the service, nothing goes on, and the reason is told."""
    away = f"http://127.0.0.1:{free_port()}"
    env = {**remote, **{name: value or away for name, value in change.items()}}
    assert f"convlast: {code}: " in step(checkout, env, "model.pt", "made", status=1)
    assert code in (checkout / "made" / "report.md").read_text()
    assert names_in(checkout / "made") == {"converted", "report.md"}


def test_a_service_takes_no_folder(remote: dict[str, str], checkout: Path) -> None:
    """Whoever gives one is told to pack it, also in the summary."""
    (checkout / "vae").mkdir()
    step(checkout, remote, "vae", "made", status=2)
    assert "    Pack it: " in (checkout / "made" / "report.md").read_text()


def test_a_hostile_name_is_a_name(remote: dict[str, str], checkout: Path) -> None:
    """A service converts it; no shell runs it, no option comes of it."""
    checkout.joinpath("model.pt").rename(checkout / NAMES[-1])
    step(checkout, remote, NAMES[-1], "--made $(touch pwned)")
    assert names_in(checkout) == {NAMES[-1], "--made $(touch pwned)"}


@pytest.mark.parametrize("name", NAMES)
def test_each_name_reaches_convlast_as_it_is(
    played: dict[str, str], checkout: Path, name: str
) -> None:
    """The original of this name goes on, alone."""
    (checkout / name).write_text("advises keep")
    before = names_in(checkout)
    step(checkout, played, name, "-made")
    assert called(checkout)["arguments"][-2:] == ["--", f"./{name}"]
    assert names_in(checkout) == before | {"-made", "called.json"}
    assert names_in(checkout / "-made" / "model") == {name}
    assert (checkout / "-made" / "model" / name).read_text() == "advises keep"


@pytest.mark.parametrize(
    ("advice", "options", "undecided", "decision"),
    [
        ("advises convert", "", "keep", "convert"),
        ("advises keep", "", "convert", "keep"),
        ("advises convert_some", "", "convert", "keep"),
        ("advises convert_some", "--select=fastest", "keep", "convert"),
        ("advises undecided", "", "", "keep"),
        ("advises undecided", "", "convert", "convert"),
        ("advises", "", "keep", "keep"),
    ],
)
def test_the_advice_decides(
    played: dict[str, str],
    checkout: Path,
    advice: str,
    options: str,
    undecided: str,
    decision: str,
) -> None:
    """What goes on is the artifact if it pays, or if nobody measured and it is wanted anyway."""
    (checkout / "model.pt").write_text(advice)
    env = {**played, "CONVLAST_OPTIONS": options, "CONVLAST_UNDECIDED": undecided}
    step(checkout, env, "model.pt", "made")
    assert (checkout / "made" / "decision").read_text() == decision
    name = {"convert": "model.channels_last_3d.pt", "keep": "model.pt"}[decision]
    assert names_in(checkout / "made" / "model") == {name}


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_options_come_in_lines(played: dict[str, str], checkout: Path, shell: str) -> None:
    """Each line is one option, whatever is in it; none replaces what the script itself says."""
    given = ["--select=a b*", "--select=$(touch pwned)", "--output=elsewhere"]
    env = {**played, "CONVLAST_OPTIONS": "\n".join(["", *given, ""])}
    run([shell, str(SCRIPT), "model.pt", "made", "--fail-on=warning"], checkout, env)
    arguments = called(checkout)["arguments"]
    assert arguments[:5] == ["convert", "--fail-on=warning", *given]
    assert names_in(checkout) == {"model.pt", "made", "called.json"}


@pytest.mark.parametrize("where", ["variable", "file"])
@pytest.mark.parametrize(
    ("key", "secret", "server", "option"),
    [
        ("CONVLAST_API_KEY", "key-of-ada", "http://there", "--key-file"),
        ("CONVLAST_SIGNING_KEY", SECRET, "", "--signing-key"),
    ],
    ids=["of the service", "that signs"],
)
def test_keys_are_in_closed_files_alone(
    played: dict[str, str],
    checkout: Path,
    tmp_path: Path,
    *,
    where: str,
    key: str,
    secret: str,
    server: str,
    option: str,
) -> None:
    """Not in arguments, not in the environment of convlast, not in a trace; and removed after."""
    keys = {key: secret}
    if where == "file":
        (tmp_path / key).write_text(f"{secret}\n")
        keys = {f"{key}_FILE": str(tmp_path / key)}
    temporary = tmp_path / "temporary"
    env = {**played, **keys, "TMPDIR": str(temporary), "CONVLAST_SERVER": server}
    done = subprocess.run(
        ["sh", "-x", SCRIPT, "model.pt", "made"], cwd=checkout, env=env, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    found = called(checkout)
    assert (found["key"], found["mode"]) == (f"{secret}\n", "0o600")
    assert any(each.startswith(f"{option}=") for each in found["arguments"])
    shown = f"{found['arguments']}{found['environment'].values()}{done.stdout!r}{done.stderr!r}"
    assert secret not in shown
    assert "PRIVATE KEY" not in shown
    assert names_in(temporary) == set()


def test_no_key_goes_to_nobody(played: dict[str, str], checkout: Path) -> None:
    """Without a service its key is not used."""
    step(checkout, {**played, "CONVLAST_API_KEY": "key-of-ada"}, "model.pt", "made")
    assert called(checkout)["key"] is None


def test_a_model_folder_goes_on_whole(ours: Path, checkout: Path) -> None:
    """Converted here, with all that is in it."""
    vae = checkout / "vae"
    vae.mkdir()
    torch.save(nn.Conv3d(2, 4, 3).state_dict(), vae / "diffusion.pt")
    (vae / "config.json").write_text("{}")
    env = environment(ours, CONVLAST_UNDECIDED="convert")
    step(checkout, env, "vae", "made", "--smoke=none")
    made = checkout / "made"
    assert names_in(made / "model") == names_in(made / "converted") == names_in(vae)


def test_the_original_of_a_folder_goes_on(played: dict[str, str], checkout: Path) -> None:
    """With what its links lead to, since nothing else of the checkout goes on."""
    (checkout / "vae").mkdir()
    (checkout / "vae" / "link.pt").symlink_to("../model.pt")
    (checkout / "model.pt").write_text("advises keep")
    step(checkout, played, "vae", "made")
    linked = checkout / "made" / "model" / "link.pt"
    assert not linked.is_symlink()
    assert linked.read_text() == "advises keep"


def test_a_cancelled_pipeline_cancels_its_job(
    remote: dict[str, str], service: Running, checkout: Path
) -> None:
    """The service stops the work, and the step ends as one that was terminated."""
    (checkout / "model.pt").write_text("hangs")
    running = subprocess.Popen(
        ["sh", SCRIPT, "model.pt", "made"], cwd=checkout, env=remote, stderr=subprocess.DEVNULL
    )

    def jobs(state: str) -> list[Any]:
        with service.client(headers={"Authorization": "Bearer key-of-ada"}) as client:
            found: list[Any] = client.get("/jobs", params={"state": state}).json()["jobs"]
            return found

    try:
        wait_for(lambda: jobs("running"))
        running.terminate()
        assert running.wait(60) == 143
        wait_for(lambda: jobs("cancelled"))
        told = (checkout / "made" / "report.md").read_text()
        assert told.endswith("    It was stopped (status 143).\n")
    finally:
        running.kill()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["model.pt"],
        ["", "made"],
        ["model.pt", ""],
        ["model.pt", "."],
        ["model.pt", "model.pt"],
        ["model.pt", "model.pt/made"],
    ],
    ids=["none", "one", "no name", "no folder", "a folder with files", "a file", "below a file"],
)
def test_a_wrong_call_is_told(played: dict[str, str], checkout: Path, arguments: list[str]) -> None:
    """With status 2, before anything is done."""
    assert step(checkout, played, *arguments, status=2).startswith("convert.sh: ")
    assert names_in(checkout) == {"model.pt"}


def test_a_wrong_variable_is_told(played: dict[str, str], checkout: Path) -> None:
    """A word that is neither of the two would else keep without a word."""
    env = {**played, "CONVLAST_UNDECIDED": "konvert"}
    assert "CONVLAST_UNDECIDED" in step(checkout, env, "model.pt", "made", status=2)


def test_a_service_signs_with_its_own_key(remote: dict[str, str], checkout: Path) -> None:
    """The pipeline's key is not used then, and the step says so; templates offer both."""
    said = step(checkout, {**remote, "CONVLAST_SIGNING_KEY": SECRET}, "model.pt", "made")
    assert "the service signs with its own key" in said
    assert (checkout / "made" / "decision").read_text() == "convert"


def test_a_key_signs_what_is_made_here(ours: Path, checkout: Path) -> None:
    """The statement is an envelope with a signature."""
    key = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    torch.save(nn.Conv3d(2, 4, 3).state_dict(), checkout / "model.pt")
    env = environment(ours, CONVLAST_SIGNING_KEY=key.decode())
    step(checkout, env, "model.pt", "made", "--smoke=none")
    assert json.loads((checkout / "made" / "statement.json").read_text())["signatures"]


@pytest.mark.parametrize("name", ["CONVLAST_API_KEY_FILE", "CONVLAST_SIGNING_KEY_FILE"])
@pytest.mark.parametrize("file", ["absent", ".", "/dev/null", "blank"])
def test_a_key_file_without_a_key_is_told(
    played: dict[str, str], checkout: Path, name: str, file: str
) -> None:
    """With status 2, before any folder is made: whoever names a key wants it used."""
    (checkout / "blank").write_text(" \n")
    said = step(checkout, {**played, name: file}, "model.pt", "made", status=2)
    assert said == f"convert.sh: no key can be read from {file}\n"
    assert names_in(checkout) == {"model.pt", "blank"}


@pytest.mark.parametrize("name", ["CONVLAST_API_KEY", "CONVLAST_SIGNING_KEY"])
def test_a_variable_without_a_key_is_told(
    played: dict[str, str], checkout: Path, name: str
) -> None:
    """If it is blank; an empty one is as none, since templates set each."""
    said = step(checkout, {**played, name: " \n"}, "model.pt", "made", status=2)
    assert said == f"convert.sh: no key can be read from {name}\n"
    step(checkout, {**played, name: "", f"{name}_FILE": ""}, "model.pt", "made")
    assert called(checkout)["key"] is None


def test_the_reason_is_short(played: dict[str, str], checkout: Path) -> None:
    """Whatever is on stderr: a summary has 1 MB for all steps of a job."""
    (checkout / "model.pt").write_text("says 200000")
    summary = checkout.parent / "summary"
    env = {**played, "GITHUB_STEP_SUMMARY": str(summary)}
    step(checkout, env, "model.pt", "made", status=1)
    told = (checkout / "made" / "report.md").read_text()
    assert told == summary.read_text()
    _, _, reason = told.partition("stops here:\n\n")
    assert reason.startswith("    convlast: verification-failed: nnn")
    assert len(reason) < 1_100


def test_what_fails_after_the_conversion_is_told(played: dict[str, str], checkout: Path) -> None:
    """Such as a report that is none: the reason is not that convlast has passed."""
    (checkout / "model.pt").write_text("spoils")
    step(checkout, played, "model.pt", "made", status=1)
    told = (checkout / "made" / "report.md").read_text()
    assert told.endswith("stops here:\n\n    It ended with status 1.\n")


def test_what_cannot_be_copied_does_not_go_on(played: dict[str, str], checkout: Path) -> None:
    """Not even in part, nor does a decision say that it would; the reason is told."""
    (checkout / "vae").mkdir()
    (checkout / "vae" / "model.pt").write_text("advises keep")
    (checkout / "vae" / "gone.pt").symlink_to("nowhere")
    said = step(checkout, played, "vae", "made", status=1)
    made = checkout / "made"
    assert names_in(made) == KINDS | {"statement.json", "converted"}
    _, _, reason = (made / "report.md").read_text().partition("stops here:\n\n")
    assert reason.startswith("    cp: ")
    assert "gone.pt" in reason
    assert reason.strip() in said


def test_what_goes_on_is_there_when_it_is_whole(played: dict[str, str], checkout: Path) -> None:
    """A step that is killed while it copies leaves neither of the names that promise a model."""
    cp = checkout / "bin" / "cp"
    cp.parent.mkdir()
    cp.write_text('#!/bin/sh\nls -A made >seen\nPATH=${PATH#*:} exec cp "$@"\n')
    cp.chmod(0o755)
    step(checkout, {**played, "PATH": f"{cp.parent}:{played['PATH']}"}, "model.pt", "made")
    assert not {"decision", "model"} & set((checkout / "seen").read_text().split())
    assert {"decision", "model"} <= names_in(checkout / "made")


def test_no_place_for_temporary_files_is_told(played: dict[str, str], checkout: Path) -> None:
    """In report.md, as each reason is once there is a folder for it."""
    env = {**played, "TMPDIR": str(checkout / "model.pt")}
    said = step(checkout, env, "model.pt", "made", status=1)
    told = (checkout / "made" / "report.md").read_text()
    assert told == f"\nThe pipeline stops here:\n\n    {said}"
    assert said.startswith("mkdir: ")
