"""`--statement`: what a conversion states, and what comes of it when something is changed."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner, Result

from convlast.cli import app
from tests import builders
from tests.convlast.folders import building
from tests.convlast.provenance.keys import KeyFiles, write_keys

ROOT = Path(__file__).parents[3]


def run(*arguments: object) -> Result:
    """Run the command line; an exception that it lets through fails the test."""
    return CliRunner().invoke(app, [str(word) for word in arguments], catch_exceptions=False)


class Converted(NamedTuple):
    """A file that was converted, and the statement on it."""

    source: Path
    artifact: Path
    statement: Path
    keys: KeyFiles


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """Convert a file, and sign the statement on it."""
    folder = tmp_path_factory.mktemp("signed")
    source = builders.save(builders.one_convolution(), folder / "model.pt")
    keys = write_keys(folder)
    made = Converted(source, folder / "made.pt", folder / "statement.json", keys)
    options = ("--smoke", "none", "-q", "--statement", made.statement)
    ended = run("convert", source, "-o", made.artifact, *options, "--signing-key", keys.private)
    assert (ended.exit_code, ended.output) == (0, "")
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Convert a model folder, and return it with its statement, which nobody has signed."""
    place = tmp_path_factory.mktemp("folder")
    source, made = building.model_folder(place / "model"), place / "made"
    statement = place / "statement.json"
    ended = run("convert", source, "-o", made, "--smoke", "none", "-q", "--statement", statement)
    assert ended.exit_code == 0, ended.output
    return made, statement


def payload_of(path: Path) -> dict[str, Any]:
    """Return the statement in an envelope."""
    statement: dict[str, Any] = json.loads(
        base64.b64decode(json.loads(path.read_text())["payload"])
    )
    return statement


def test_an_artifact_is_what_its_statement_says(signed: Converted) -> None:
    """The file and the signature are checked, and what it was made of is told."""
    ended = run(
        "verify", "--statement", signed.statement, signed.artifact, "--key", signed.keys.public
    )
    assert ended.exit_code == 0, ended.output
    first, second, third = ended.stdout.splitlines()
    assert first == "✓ made.pt: the bytes that the statement is about"
    assert second.startswith("✓ The statement is signed with the key ")
    assert third.startswith("– It says: made of model.pt, SHA-256 ")


def test_that_it_passed_is_the_last_line_on_stderr(signed: Converted) -> None:
    """As of every command, with --json too; --quiet leaves it out."""
    words = ("verify", "--statement", signed.statement, signed.artifact)
    said = "convlast: passed: The artifact is the one that the statement is about."
    assert run(*words).stderr.splitlines()[-1] == f"{said} No signature was checked."
    for more in ([], ["--json"]):
        ended = run(*words, "--key", signed.keys.public, *more)
        assert ended.stderr.splitlines()[-1] == said
    assert run(*words, "--quiet").output == ""


@pytest.mark.parametrize(
    ("words", "odd"),
    [
        (["--fail-on", "warning"], "--fail-on"),
        (["--verbose"], "--verbose"),
        (["--allow-programs"], "--allow-programs"),
        (["--max-tensors", "1"], "--max-tensors"),
        (["--report", "r.json"], "--report"),
        (["-v", "--fail-on", "failed,warning"], "--verbose and no --fail-on"),
    ],
)
def test_options_of_another_check_are_refused(
    signed: Converted, words: list[str], odd: str
) -> None:
    """They would be ignored, and somebody would rely on a gate that never stops."""
    ended = run("verify", "--statement", signed.statement, signed.artifact, *words)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert f"with --statement there is no {odd}" in " ".join(ended.stderr.split())


def test_it_is_checked_without_torch(signed: Converted) -> None:
    """Where an artifact is used there may be none, and importing it takes seconds."""
    program = (
        "import sys; from convlast.__main__ import main\n"
        "try: main()\n"
        "finally: sys.exit('torch' in sys.modules)"
    )
    words = ["verify", "--statement", signed.statement, signed.artifact, "--key"]
    command = [sys.executable, "-c", program, *map(str, words), str(signed.keys.public)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "✓ made.pt" in done.stdout


def test_the_result_can_be_had_as_json(signed: Converted) -> None:
    """For a pipeline: the files, what they were made of, and the key."""
    words = ("verify", "--statement", signed.statement, signed.artifact, "--json")
    checked = json.loads(run(*words, "--key", signed.keys.public).stdout)
    statement = payload_of(signed.statement)
    assert checked["files"] == {"made.pt": statement["subject"][0]["digest"]["sha256"]}
    assert list(checked["made_of"]) == ["model.pt"]
    assert len(checked["signed_with"]) == 64
    assert json.loads(run(*words).stdout)["signed_with"] is None


def test_a_signature_that_was_not_checked_is_told(signed: Converted) -> None:
    """Without a key the files are checked, and nobody is left to believe more."""
    ended = run("verify", "--statement", signed.statement, signed.artifact)
    assert ended.exit_code == 0
    assert "! The signature was not checked" in ended.stdout


def test_a_changed_file_is_named(signed: Converted, tmp_path: Path) -> None:
    """With exit status 1, and the code for programs."""
    changed = bytearray(signed.artifact.read_bytes())
    changed[len(changed) // 2] ^= 1
    path = tmp_path / "made.pt"
    path.write_bytes(changed)
    ended = run("verify", "--statement", signed.statement, path)
    assert ended.exit_code == 1
    assert "convlast: artifact-changed: 'made.pt' is not the file" in ended.stderr


def test_every_part_of_a_signed_statement_is_protected(signed: Converted, tmp_path: Path) -> None:
    """Whatever value in it is changed, added or taken away, the signature does not hold."""
    envelope = json.loads(signed.statement.read_text())
    path = tmp_path / "statement.json"
    count = 0
    for changed in _changed(payload_of(signed.statement)):
        payload = base64.b64encode(json.dumps(changed, indent=2).encode() + b"\n").decode()
        path.write_text(json.dumps({**envelope, "payload": payload}))
        ended = run("verify", "--statement", path, signed.artifact, "--key", signed.keys.public)
        assert (ended.exit_code, "invalid-signature" in ended.stderr) == (1, True)
        count += 1
    assert count > 40


def _changed(value: Any) -> Iterator[Any]:
    """Yield a JSON value with each of its parts in turn taken away, and each leaf replaced."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield {key: each for key, each in value.items() if key != name}
            for changed in _changed(inner):
                yield {**value, name: changed}
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            for changed in _changed(inner):
                yield [*value[:at], changed, *value[at + 1 :]]
    else:
        yield "changed"


def test_another_key_is_refused(signed: Converted, tmp_path: Path) -> None:
    """The statement is good, and by somebody else."""
    other = write_keys(tmp_path, "p-256").public
    ended = run("verify", "--statement", signed.statement, signed.artifact, "--key", other)
    assert ended.exit_code == 1
    assert ended.stderr.startswith("convlast: invalid-signature: ")


def test_a_statement_that_nobody_signed_is_refused_with_a_key(
    signed: Converted, tmp_path: Path
) -> None:
    """Who has taken the envelope away gets nowhere."""
    bare = tmp_path / "bare.json"
    bare.write_text(json.dumps(payload_of(signed.statement)))
    assert run("verify", "--statement", bare, signed.artifact).exit_code == 0
    ended = run("verify", "--statement", bare, signed.artifact, "--key", signed.keys.public)
    assert ended.exit_code == 1
    assert "nobody has signed" in ended.stderr


def test_a_folder_is_checked_file_by_file(folder: tuple[Path, Path]) -> None:
    """Converted files and those that were passed on; a new one does not pass unseen."""
    made, statement = folder
    ended = run("verify", "--statement", statement, made)
    assert ended.exit_code == 0, ended.output
    count = sum(path.is_file() for path in made.rglob("*"))
    assert f"✓ {count} files: the bytes that the statement is about" in ended.stdout
    names = {each["name"] for each in json.loads(statement.read_text())["subject"]}
    assert names == set(building.files_in(made))
    more = made / "more.pt"
    more.touch()
    ended = run("verify", "--statement", statement, made)
    more.unlink()
    assert ended.exit_code == 1
    assert "'more.pt' is no subject of the statement" in ended.stderr


def test_the_report_beside_it_has_the_digest_in_the_statement(
    signed: Converted, tmp_path: Path
) -> None:
    """`--report` writes the report that the statement names."""
    report, statement = tmp_path / "report.json", tmp_path / "statement.json"
    words = ("-o", tmp_path / "made.pt", "--smoke", "none", "-q")
    run("convert", signed.source, *words, "--report", report, "--statement", statement)
    details = json.loads(statement.read_text())["predicate"]["runDetails"]
    digest = hashlib.sha256(report.read_bytes()).hexdigest()
    assert details["byproducts"][0]["digest"] == {"sha256": digest}


def test_the_root_of_the_tensors_stands_beside_the_digests(
    signed: Converted, tmp_path: Path
) -> None:
    """Where it was asked for, it is equal before and after, and leads to the tool for tensors."""
    made, statement = tmp_path / "made.pt", tmp_path / "statement.json"
    words = ("--smoke", "none", "-q", "--tensor-digests", "--statement", statement)
    assert run("convert", signed.source, "-o", made, *words).exit_code == 0
    told = json.loads(statement.read_text())
    (given,) = told["predicate"]["buildDefinition"]["resolvedDependencies"]
    (subject,) = told["subject"]
    root = run("digest", made, "--root").stdout.split()[0]
    assert given["annotations"] == subject["annotations"] == {"tensors_sha256": root}
    made.write_bytes(made.read_bytes() + b"\0")
    ended = run("verify", "--statement", statement, made)
    assert ended.exit_code == 1
    assert "convlast digest --check LIST" in " ".join(ended.stderr.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--signing-key", "KEY"], "There is nothing to sign"),
        (["--statement", "FOLDER/absent/s.json"], "there is no folder"),
        (["--statement", "FOLDER"], "is a folder"),
        (["--statement", "SOURCE"], "would be where the input is"),
        (["--statement", "TARGET"], "would be where the artifact is"),
        (["--statement", "s.json", "--report", "s.json"], "would be where the report is"),
        (["--statement", "s.json", "--signing-key", "SOURCE"], "no private key"),
        (
            ["--statement", "s.json", "--signing-key", "KEY", "--server", "http://127.0.0.1:9"],
            "A service signs its statements itself",
        ),
        (
            ["--statement", "s.json", "--server", "http://127.0.0.1:9", "--detach"],
            "nothing to state yet",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_the_work(
    signed: Converted, tmp_path: Path, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong places and keys are errors of usage, and nothing is converted."""
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "model.pt"
    source.write_bytes(signed.source.read_bytes())
    source.chmod(0o600)
    target = tmp_path / "made.pt"
    places = {"KEY": signed.keys.private, "SOURCE": source, "TARGET": target, "FOLDER": tmp_path}
    given = [str(places.get(word, word)).replace("FOLDER", str(tmp_path)) for word in words]
    output = [] if "--detach" in words else ["-o", str(target)]
    ended = run("convert", source, *output, *given)
    assert ended.exit_code == 2
    assert said in " ".join(ended.stderr.replace("│", " ").split())
    assert not target.exists()


@pytest.mark.parametrize(
    "words",
    [
        ["verify", "ARTIFACT"],
        ["verify", "ARTIFACT", "ARTIFACT", "--key", "PUBLIC"],
        ["verify", "ARTIFACT", "ARTIFACT", "--statement", "STATEMENT"],
        ["verify", "ARTIFACT", "--statement", "STATEMENT", "--report", "r.json"],
        ["verify", "ARTIFACT", "--statement", "absent"],
        ["verify", "ARTIFACT", "--statement", "STATEMENT", "--key", "absent"],
        ["verify", "ARTIFACT", "--statement", "STATEMENT", "--key", "ARTIFACT"],
    ],
)
def test_wrong_command_lines_are_usage(signed: Converted, words: list[str]) -> None:
    """What does not belong together, or is not there, ends with status 2."""
    places = {
        "ARTIFACT": signed.artifact,
        "STATEMENT": signed.statement,
        "PUBLIC": signed.keys.public,
    }
    assert run(*(places.get(word, word) for word in words)).exit_code == 2


def test_a_statement_stays_out_of_folders_but_may_lie_beside_a_file(
    signed: Converted, folder: tuple[Path, Path], tmp_path: Path
) -> None:
    """In a model folder it would be a file too many; in a folder for an artifact it would not."""
    words = ("--smoke", "none", "-q", "--statement")
    place = tmp_path / "place"
    place.mkdir()
    statement = place / "statement.json"
    ended = run("convert", signed.source, "-o", place, *words, statement)
    assert ended.exit_code == 0, ended.output
    (artifact,) = place.glob("*.pt")
    assert run("verify", "--statement", statement, artifact).exit_code == 0
    source = folder[0].with_name("model")
    for inside, what in ((source, "input"), (place, "artifact")):
        ended = run("convert", source, "-o", place, "--force", *words, inside / "s.json")
        assert ended.exit_code == 2
        assert f"would be where the {what} is" in ended.stderr


@pytest.fixture
def place(signed: Converted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a checkpoint, a key and a link to it, and notes."""
    monkeypatch.chdir(tmp_path)
    Path("model.pt").write_bytes(signed.source.read_bytes())
    Path("key.pem").write_bytes(signed.keys.private.read_bytes())
    Path("key.pem").chmod(0o600)
    Path("link.json").symlink_to("key.pem")
    Path("other.json").hardlink_to("key.pem")
    Path("notes.json").write_text("{}")
    return tmp_path


KEY = ("--signing-key", "key.pem")


@pytest.mark.parametrize(
    "words",
    [
        ("--statement", "model.channels_last_3d.pt"),
        ("--statement", "./model.channels_last_3d.pt", "-o", "."),
        ("--statement", "key.pem", *KEY),
        ("--statement", "link.json", *KEY),
        ("--statement", "other.json", *KEY),
        ("--statement", "s.json", "--report", "link.json", *KEY),
        ("--statement", "s.json", "--report", "other.json", *KEY),
        ("--statement", "s.json", "-o", "key.pem", "--force", *KEY),
        ("--statement", "s.json", "--report", "r.json", "--report", "./s.json"),
        ("--statement", "notes.json"),
    ],
)
def test_nothing_is_lost_by_a_statement(place: Path, words: tuple[str, ...]) -> None:
    """Whatever is where it goes, by any name, or where the key is: nothing is begun."""
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    ended = run("convert", "model.pt", "--smoke", "none", "-q", *words)
    assert (ended.exit_code, ended.stderr[:25]) == (2, "convlast: invalid-option:")
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before


def test_a_statement_never_replaces_the_artifact(place: Path) -> None:
    """Where the name of this is only known after the work, the artifact stays."""
    words = ("--smoke", "none", "-q", "--statement", "model.channels_last_3d.pt")
    ended = run("convert", (place / "model.pt").as_uri(), "-o", place, *words)
    assert ended.exit_code == 1
    assert "statement-not-written: " in ended.stderr
    assert "is there already, and no statement" in ended.stderr
    assert "The artifact is there" in ended.stderr
    assert run("report", "model.channels_last_3d.pt").exit_code == 0


@pytest.mark.usefixtures("place")
def test_a_statement_replaces_an_earlier_one() -> None:
    """Signed or not; and an empty file, such as mktemp makes."""
    Path("s.json").touch()
    for more in ((), KEY, ()):
        words = ("--smoke", "none", "-q", "--force", "--statement", "s.json", *more)
        assert run("convert", "model.pt", *words).exit_code == 0
        assert ("payload" in json.loads(Path("s.json").read_text())) == bool(more)


def test_a_name_that_is_no_text_is_stated(place: Path) -> None:
    """It is escaped in one way wherever it is shown, and the file is found by its own name."""
    source = place / "model.pt"
    source = source.rename(place / os.fsdecode(b"m\xff.pt"))
    made = place / os.fsdecode(b"made\xff.pt")
    words = ("--smoke", "none", "-q", "--statement", "s.json", "-o", made)
    ended = run("convert", source, *words)
    assert ended.exit_code == 0, ended.output
    statement = Path("s.json").rename(os.fsdecode(b"s\xff.json"))
    ended = run("verify", "--statement", statement, made, "--json")
    assert ended.exit_code == 0, ended.output
    checked = json.loads(ended.stdout)
    assert (checked["statement"], [*checked["files"]]) == (r"s\udcff.json", [r"made\udcff.pt"])
    assert [*checked["made_of"]] == [r"m\udcff.pt"]


def test_a_conversion_that_fails_states_nothing(tmp_path: Path) -> None:
    """No artifact, no statement."""
    source = tmp_path / "model.pt"
    source.write_bytes(b"no checkpoint")
    statement = tmp_path / "statement.json"
    ended = run("convert", source, "-o", tmp_path / "made.pt", "--statement", statement)
    assert ended.exit_code == 1
    assert not statement.exists()
