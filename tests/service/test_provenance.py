"""What a service states of artifacts, and signs with a key that no worker has."""

from __future__ import annotations

import hashlib
import io
import json
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from convlast.cli import app
from convlast.client import Client
from convlast.provenance.envelope import ENVELOPE, STATEMENT, Envelope
from convlast.provenance.reading import parse
from convlast.provenance.signing import read_public_key
from convlast.provenance.statement import SERVICE
from tests.convlast.provenance.keys import KeyFiles, write_keys
from tests.convlast.provenance.test_statement import validate
from tests.service.running import REAL, Running, Serve, served, start, wait_for

CONTENT = b"a checkpoint"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LATER = {"Prefer": "respond-async"}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyFiles:
    """Make a pair of keys."""
    return write_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory, keys: KeyFiles) -> Iterator[Running]:
    """Run a service with a key, that may fetch from and deliver to a folder."""
    folder = tmp_path_factory.mktemp("signing")
    everywhere = f"{tmp_path_factory.getbasetemp().as_uri()}/"
    with served(
        folder,
        signing_key_file=keys.private,
        revision=COMMIT,
        sources=everywhere,
        targets=everywhere,
    ) as running:
        yield running


def members_of(answer: httpx.Response) -> dict[str, bytes]:
    """Return the members of the zip that an answer is."""
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as whole:
        return {name: whole.read(name) for name in whole.namelist()}


def finished(service: Running, content: bytes = CONTENT) -> str:
    """Run a job that is kept, and return its path."""
    answer = service.convert(content, headers=LATER)
    assert answer.status_code == 202, answer.text
    path = f"/jobs/{answer.json()['id']}"
    with service.client() as client:
        wait_for(lambda: client.get(f"{path}?wait=10").json()["state"] == "succeeded")
    return path


def get(service: Running, path: str, accept: str = "*/*") -> httpx.Response:
    """Ask for something, in this media type."""
    with service.client() as client:
        return client.get(path, headers={"Accept": accept})


def run(*words: object) -> Result:
    """Run the command line; an exception that it lets through fails the test."""
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def test_every_archive_has_a_statement(service: Running) -> None:
    """It is about the artifact beside it, valid, and signed by nobody if there is no key."""
    members = members_of(service.convert(CONTENT))
    assert "provenance.dsse.json" not in members
    statement = json.loads(members["provenance.json"])
    validate(statement)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    name = "m.channels_last_3d.pt"
    assert statement["subject"] == [{"name": name, "digest": {"sha256": digests[name]}}]
    predicate: dict[str, Any] = statement["predicate"]
    assert predicate["buildDefinition"]["resolvedDependencies"] == [
        {"name": "m.pt", "digest": {"sha256": hashlib.sha256(CONTENT).hexdigest()}}
    ]
    details = predicate["runDetails"]
    assert details["builder"]["id"] == SERVICE
    assert details["builder"]["version"]["torch"] == "none"
    reports = {each["name"]: each["digest"]["sha256"] for each in details["byproducts"]}
    assert reports == {each: digests[each] for each in ("report.json", "report.html")}
    report = json.loads(members["report.json"])
    assert details["metadata"]["invocationId"] == report["job_id"]
    assert details["metadata"]["startedOn"] <= details["metadata"]["finishedOn"]


def test_a_service_with_a_key_signs(signing: Running, keys: KeyFiles, tmp_path: Path) -> None:
    """The envelope has the statement beside it; who has both and the artifact can check them."""
    members = members_of(signing.convert(CONTENT))
    envelope = Envelope.of(json.loads(members["provenance.dsse.json"]))
    read_public_key(keys.public).require_signed(envelope)
    assert envelope.payload == members["provenance.json"]
    code = json.loads(envelope.payload)["predicate"]["runDetails"]["builder"]
    assert code["builderDependencies"] == [{"name": "convlast", "digest": {"gitCommit": COMMIT}}]
    for name, content in members.items():
        (tmp_path / name).write_bytes(content)
    for name, more in (("provenance.json", ()), ("provenance.dsse.json", ("--key", keys.public))):
        artifact = tmp_path / "m.channels_last_3d.pt"
        ended = run("verify", "--statement", tmp_path / name, artifact, *more)
        assert ended.exit_code == 0, ended.output


def test_the_statement_is_negotiated(signing: Running, service: Running) -> None:
    """As a statement, unless only the envelope is accepted, or it is preferred."""
    path = f"{finished(signing)}/provenance"
    for accept, media_type in (
        ("*/*", STATEMENT),
        (STATEMENT, STATEMENT),
        (ENVELOPE, ENVELOPE),
        (f"{STATEMENT};q=0.5, {ENVELOPE}", ENVELOPE),
    ):
        answer = get(signing, path, accept)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, media_type)
        assert answer.headers["Vary"] == "Accept"
        assert ("payload" in answer.json()) == (media_type == ENVELOPE)
    unsigned = f"{finished(service)}/provenance"
    assert get(service, unsigned).status_code == 200
    refused = get(service, unsigned, ENVELOPE)
    assert (refused.status_code, refused.json()["code"]) == (406, "not-acceptable")
    assert refused.json()["offers"] == [STATEMENT]


def test_what_has_no_artifact_has_no_statement(service: Running) -> None:
    """An inspection makes none; nor is there one of a job that runs."""
    with service.client() as client:
        files = {"checkpoint": ("m.pt", CONTENT)}
        job = client.post("/inspect", files=files, headers=LATER).json()["id"]
        wait_for(lambda: client.get(f"/jobs/{job}?wait=10").json()["state"] == "succeeded")
        assert client.get(f"/jobs/{job}/provenance").status_code == 404
        assert "provenance" not in client.get(f"/jobs/{job}").json()["links"]
        slow = service.convert(b"hangs", headers=LATER).json()["id"]
        assert client.get(f"/jobs/{slow}/provenance").json()["code"] == "conflict"
        client.delete(f"/jobs/{slow}")


def test_the_client_and_the_command_line_get_what_was_signed(
    signing: Running, keys: KeyFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--statement` with `--server` writes the envelope, which is about the artifact here."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    source, made, statement = (tmp_path / name for name in ("model.pt", "made.pt", "s.json"))
    source.write_bytes(CONTENT)
    words = ("convert", source, "-o", made, "--server", signing.url, "--statement", statement)
    ended = run(*words)
    assert ended.exit_code == 0, ended.output
    ended = run("verify", "--statement", statement, made, "--key", keys.public)
    assert ended.exit_code == 0, ended.output
    with Client(signing.url) as client:
        job = next(client.jobs())
        assert client.provenance(job.id) == statement.read_bytes()
    fetched = tmp_path / "fetched.json"
    again = ("-o", tmp_path / "again.pt", "--statement", fetched)
    assert run("jobs", "fetch", job.id, "--server", signing.url, *again).exit_code == 0
    assert fetched.read_bytes() == statement.read_bytes()


def test_what_a_service_has_made_is_not_replaced_by_its_statement(
    service: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its name is only known after the work, the statement finds it there."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    Path("m.pt").write_bytes(CONTENT)
    made = tmp_path / "m.channels_last_3d.pt"
    job = finished(service).rpartition("/")[2]
    for verb in (("convert", "m.pt"), ("jobs", "fetch", job)):
        made.unlink(missing_ok=True)
        ended = run(*verb, "--server", service.url, "--statement", made.name)
        assert ended.exit_code == 1
        assert "convlast: statement-not-written: " in ended.stderr
        assert "The artifact is there: " in ended.stderr
        assert made.read_bytes() == CONTENT


def test_a_store_gets_the_statement_on_demand(
    signing: Running, keys: KeyFiles, tmp_path: Path
) -> None:
    """Beside the artifact, with its envelope; without the demand it stays with the job."""
    source = tmp_path / "in" / "m.pt"
    source.parent.mkdir()
    source.write_bytes(CONTENT)
    for name, more in (("with", {"statement": True}), ("without", {})):
        members = {"source": source.as_uri(), "target": f"{(tmp_path / name).as_uri()}/", **more}
        with signing.client() as client:
            answer = client.post("/convert", json=members)
        assert answer.status_code == 200, answer.text
    stem = "m.channels_last_3d"
    there = {path.name for path in (tmp_path / "with").iterdir()}
    assert there - {path.name for path in (tmp_path / "without").iterdir()} == {
        f"{stem}.provenance.json",
        f"{stem}.provenance.dsse.json",
    }
    folder = tmp_path / "with"
    statement, artifact = folder / f"{stem}.provenance.dsse.json", folder / f"{stem}.pt"
    ended = run("verify", "--statement", statement, artifact, "--key", keys.public)
    assert ended.exit_code == 0, ended.output
    definition = json.loads((folder / f"{stem}.provenance.json").read_text())["predicate"]
    given = definition["buildDefinition"]
    assert given["resolvedDependencies"][0]["uri"] == source.as_uri()
    assert given["externalParameters"]["target"] == f"{folder.as_uri()}/"


@pytest.mark.parametrize("statement", ["yes", 1, True])
def test_a_demand_without_sense_is_refused(service: Running, statement: object) -> None:
    """A statement is wanted or not, and goes where the artifact goes."""
    members = {"source": f"sha256:{'0' * 64}", "statement": statement}
    with service.client() as client:
        answer = client.post("/convert", json=members)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed-request")
    assert "statement" in answer.json()["detail"]


def test_no_worker_can_read_the_key(signing: Running, keys: KeyFiles) -> None:
    """It runs as the same user, but behind a wall."""
    answer = signing.convert(b"reads " + bytes(keys.private))
    assert (answer.status_code, answer.json()["code"]) == (422, "unsafe-checkpoint")


def test_a_new_key_is_taken_on_sighup(serve: Serve, tmp_path: Path) -> None:
    """One that cannot be used is not: the earlier one signs on, and the log says why.

    The same request has a new job then, signed by the new key, and the earlier job stays.
    """
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        first = write_keys(tmp_path)
        log = tmp_path / "log"
        running = serve(signing_key_file=first.private, log=log)
        (tmp_path / "new").mkdir()
        second = write_keys(tmp_path / "new", "p-256")
        good = second.private.read_bytes()
        second.private.write_bytes(b"damaged")
        second.private.replace(first.private)
        running.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "The earlier key stays" in log.read_text())
        envelope = Envelope.of(
            json.loads(members_of(running.convert(b"one"))["provenance.dsse.json"])
        )
        assert read_public_key(first.public).has_signed(envelope)
        earlier = f"{finished(running)}/provenance"
        first.private.write_bytes(good)
        running.process.send_signal(signal.SIGHUP)
        keyid = read_public_key(second.public).keyid
        wait_for(lambda: f'"keyid": "{keyid}"' in log.read_text())
        for path, key in ((f"{finished(running)}/provenance", second), (earlier, first)):
            envelope = Envelope.of(get(running, path, ENVELOPE).json())
            assert read_public_key(key.public).has_signed(envelope)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_service_with_a_bad_key_does_not_start(tmp_path: Path, keys: KeyFiles) -> None:
    """And says why, without a word of the key; a statement would otherwise go out unsigned."""
    open_key = tmp_path / "open.pem"
    open_key.write_bytes(keys.private.read_bytes())
    open_key.chmod(0o644)
    running = start(tmp_path, REAL, signing_key_file=open_key, device="cpu")
    assert running.process.wait(60) == 2
    assert "CONVLAST_SIGNING_KEY_FILE cannot be used: Others than its owner" in (
        running.log.read_text()
    )


def test_the_statement_of_a_kept_job_stays(signing: Running) -> None:
    """The archive and the path give the same bytes, again and again."""
    path = finished(signing, b"another checkpoint")
    members = members_of(get(signing, f"{path}/archive"))
    for accept, name in ((STATEMENT, "provenance.json"), (ENVELOPE, "provenance.dsse.json")):
        assert get(signing, f"{path}/provenance", accept).content == members[name]
    parse(members["provenance.json"])
