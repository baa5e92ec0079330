"""docs/provenance.md holds: what stands there works as it stands."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest

from convlast.provenance.statement import BUILD_TYPE, COMMAND_LINE, SERVICE
from convlast.report.folder_digest import listing_digest
from tests import builders
from tests.convlast.provenance.page import PAGE, block_with, run_in
from tests.convlast.provenance.statements import write_files

FIRST = block_with("--signing-key key.pem")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the first block beside a checkpoint."""
    folder = tmp_path_factory.mktemp("page")
    builders.save(builders.one_convolution(), folder / "model.pt")
    done = run_in(folder, FIRST.replace("convert model.pt", "convert model.pt --smoke none"))
    assert done.returncode == 0, done.stderr
    assert "✓ The statement is signed with the key " in done.stdout
    return folder


def test_the_id_of_a_key_is_what_the_page_says(folder: Path) -> None:
    """The command that is given there computes it."""
    command = "openssl pkey -pubin -in key.pub -outform DER | sha256sum"
    assert command in PAGE
    envelope = json.loads((folder / "statement.json").read_text())
    keyid = run_in(folder, command).stdout.split()[0]
    assert envelope["signatures"][0]["keyid"] == keyid


def test_others_check_the_signature(folder: Path) -> None:
    """The program on the page uses no code of this project."""
    program = block_with("securesystemslib.dsse")
    (folder / "check.py").write_text(program)
    done = run_in(folder, f'"{sys.executable}" -W error check.py')
    assert done.returncode == 0, done.stderr
    assert "model.channels_last_3d.pt" in done.stdout
    envelope = json.loads((folder / "statement.json").read_text())
    changed = {**envelope, "payload": envelope["payload"][:-8] + "AAAAAAAA"}
    (folder / "changed.json").write_text(json.dumps(changed))
    (folder / "check.py").write_text(program.replace("statement.json", "changed.json"))
    assert run_in(folder, f'"{sys.executable}" check.py').returncode != 0


def test_an_envelope_becomes_a_line(folder: Path) -> None:
    """As many lines as steps, and each is the envelope."""
    script = block_with("claims.jsonl")
    assert run_in(folder, script + script).returncode == 0
    lines = (folder / "claims.jsonl").read_text().splitlines()
    envelope = json.loads((folder / "statement.json").read_text())
    assert [json.loads(line) for line in lines] == [envelope, envelope]


def test_a_folder_is_known_by_its_listing(tmp_path: Path) -> None:
    """The command on the page computes the digest of a report, hidden files and dashes included."""
    names = (".hidden", ".cache/a", "-b", "a b", "config.json", "vae/model.pt", "é")
    write_files(tmp_path / "folder", {name: name.encode() for name in names})
    told = run_in(tmp_path, f"cd folder\n{block_with('find . -type f')}").stdout.split()[0]
    each = ((name, hashlib.sha256(name.encode()).hexdigest()) for name in names)
    assert told == listing_digest(each)


def test_the_page_describes_the_type_of_build() -> None:
    """The names in a statement lead to it."""
    for name in (BUILD_TYPE, COMMAND_LINE, SERVICE):
        assert f"`{name}`" in PAGE
