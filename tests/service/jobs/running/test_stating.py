"""What a worker has made is stated, and what it lies about is not."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from convlast.provenance.reading import parse
from convlast.provenance.statement import TENSORS
from service.access.signing import SigningKey
from service.errors import WorkerCrashedError
from service.jobs.entry import JobEntry
from service.jobs.records import ARTIFACT, PROVENANCE_DSSE, PROVENANCE_JSON, Accepted
from service.jobs.running.results import check
from service.jobs.running.stating import Stating
from service.settings import Settings
from service.workers import MAX_EMBEDDED_BYTES, REPORT_JSON, Finished, Job
from tests.convlast.provenance.keys import write_keys
from tests.service.jobs.boards import write_files

CONTENT = b"content"


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """The folder of a job."""
    folder = tmp_path / "made"
    folder.mkdir()
    return folder


@pytest.fixture
def finished(made: Path) -> Finished:
    """Write the files of a job."""
    return write_files(Job(id="one", verb="convert", filename="m.pt"), made, CONTENT)


@pytest.fixture
def signed(tmp_path: Path) -> Stating:
    """What signs."""
    return Stating(Settings(), SigningKey(write_keys(tmp_path).private))


UNSIGNED = Stating(Settings(), SigningKey(None))


def entry_of(source: str | None = None) -> JobEntry:
    """Return a job."""
    return JobEntry(
        Accepted(
            id="one",
            owner="alice",
            share="alice",
            verb="convert",
            filename="m.pt",
            sha256="0" * 64,
            bytes=7,
            source=source,
            options={},
            created_at=0.0,
            version="0",
        )
    )


def test_files_are_written_beside_the_artifact(
    made: Path, finished: Finished, signed: Stating
) -> None:
    """With their sizes and checksums, for the zip."""
    artifact = check(finished, made, has_artifact=True)[ARTIFACT]
    kept = signed.write(entry_of(), finished, made, artifact)
    assert kept.keys() == {PROVENANCE_JSON, PROVENANCE_DSSE}
    for name, each in kept.items():
        assert (made / name).stat().st_size == each.bytes
        assert each.crc32
    subject = parse((made / PROVENANCE_JSON).read_bytes()).subjects[artifact.filename]
    assert subject.sha256 == artifact.sha256


def test_nothing_is_signed_that_a_worker_lies_about(
    made: Path, finished: Finished, signed: Stating
) -> None:
    """The service computes the digest itself, before its key is used."""
    lying = finished.model_copy(update={"artifact_sha256": "0" * 64})
    artifact = check(lying, made, has_artifact=True)[ARTIFACT]
    with pytest.raises(WorkerCrashedError):
        signed.write(entry_of(), lying, made, artifact)
    assert not (made / PROVENANCE_JSON).exists()


@pytest.mark.parametrize("name", [PROVENANCE_JSON, PROVENANCE_DSSE])
def test_a_worker_cannot_leave_a_statement(
    made: Path, finished: Finished, signed: Stating, tmp_path: Path, name: str
) -> None:
    """Nor a link, a pipe or a folder of that name, which the service would write to."""
    artifact = check(finished, made, has_artifact=True)[ARTIFACT]
    secret = tmp_path / "secret"
    secret.write_text("of the machine")
    place = made / name
    for leave in (
        lambda: place.write_text("{}"),
        lambda: place.symlink_to(secret),
        lambda: place.symlink_to(tmp_path / "nowhere"),
        lambda: os.mkfifo(place),
    ):
        leave()
        with pytest.raises(WorkerCrashedError):
            signed.write(entry_of(), finished, made, artifact)
        for each in (PROVENANCE_JSON, PROVENANCE_DSSE):
            (made / each).unlink(missing_ok=True)
    assert secret.read_text() == "of the machine"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("report", ['{"verdict": "failed"}', '{"more": "passed"}', "no JSON"])
def test_no_verdict_is_stated_that_the_report_does_not_have(
    made: Path, finished: Finished, signed: Stating, report: str
) -> None:
    """It is read from the very bytes whose digest is stated."""
    artifact = check(finished, made, has_artifact=True)[ARTIFACT]
    (made / REPORT_JSON).write_text(report)
    with pytest.raises(WorkerCrashedError):
        signed.write(entry_of(), finished, made, artifact)
    assert not (made / PROVENANCE_DSSE).exists()


@pytest.mark.parametrize("is_large", [False, True])
def test_the_verdict_is_stated_with_the_report(
    made: Path, finished: Finished, is_large: bool
) -> None:
    """Unless the report is too large to be read; a page has none that can be read."""
    artifact = check(finished, made, has_artifact=True)[ARTIFACT]
    text = json.dumps({"verdict": "passed", "more": " " * MAX_EMBEDDED_BYTES * is_large})
    (made / REPORT_JSON).write_text(text)
    UNSIGNED.write(entry_of(), finished, made, artifact)
    statement = json.loads((made / PROVENANCE_JSON).read_text())
    report, page = statement["predicate"]["runDetails"]["byproducts"]
    assert report["digest"] == {"sha256": hashlib.sha256(text.encode()).hexdigest()}
    assert report.get("annotations") == (None if is_large else {"verdict": "passed"})
    assert "annotations" not in page


def test_a_report_that_is_a_link_is_not_followed(
    made: Path, finished: Finished, tmp_path: Path
) -> None:
    """Its digest would tell something of a file of the machine."""
    artifact = check(finished, made, has_artifact=True)[ARTIFACT]
    (made / REPORT_JSON).unlink()
    (made / REPORT_JSON).symlink_to(tmp_path)
    with pytest.raises(WorkerCrashedError):
        UNSIGNED.write(entry_of(), finished, made, artifact)


def test_a_folder_is_stated_file_by_file(made: Path, finished: Finished) -> None:
    """With the digests that the service has computed on the way to the store."""
    artifact = check(finished, made, has_artifact=True)[ARTIFACT]
    digests = {"a.pt": "1" * 64, "config.json": "2" * 64}
    entry = entry_of("s3://bucket/vae/")
    UNSIGNED.write(entry, finished, made, artifact, digests)
    statement = json.loads((made / PROVENANCE_JSON).read_text())
    assert {each["name"]: each["digest"]["sha256"] for each in statement["subject"]} == digests
    (given,) = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert given["uri"] == "s3://bucket/vae/"
    assert given["digest"].keys() == {"dirHash1"}


def test_the_secret_of_an_address_is_not_told(made: Path, finished: Finished) -> None:
    """A query may be a signature."""
    artifact = check(finished, made, has_artifact=True)[ARTIFACT]
    UNSIGNED.write(entry_of("https://host/m.pt?secret"), finished, made, artifact)
    text = (made / PROVENANCE_JSON).read_text()
    assert "https://host/m.pt?" in text
    assert "secret" not in text


def test_the_roots_of_the_tensors_are_told(made: Path, finished: Finished) -> None:
    """Where they were asked for: that of the input, and that of the artifact."""
    roots = {"input_tensors_sha256": "1" * 64, "artifact_tensors_sha256": "2" * 64}
    told = finished.model_copy(update=roots)
    artifact = check(told, made, has_artifact=True)[ARTIFACT]
    UNSIGNED.write(entry_of(), told, made, artifact)
    statement = json.loads((made / PROVENANCE_JSON).read_text())
    assert statement["subject"][0]["annotations"] == {TENSORS: "2" * 64}
    definition = statement["predicate"]["buildDefinition"]
    assert definition["resolvedDependencies"][0]["annotations"] == {TENSORS: "1" * 64}
