from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage

from convlast.provenance.reading import parse
from convlast.provenance.statement import SERVICE, TENSORS, Resource, statement_of, text_of
from convlast.report import FileSection
from tests.convlast.provenance.statements import on_report, recorded, run_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def validate(statement: dict[str, Any]) -> None:
    """Have the reference implementation of in-toto check a statement, and its predicate."""
    message = ParseDict(statement, StatementMessage())
    checked = Statement.copy_from_pb(message)
    checked.validate()
    provenance = ParseDict(statement["predicate"], Provenance())
    assert provenance.build_definition.build_type
    assert provenance.run_details.builder.id


def test_the_statement_on_a_file_is_valid() -> None:
    """The reference implementation accepts it, and knows each of its members."""
    report = recorded()
    statement = on_report(report)
    validate(statement)
    artifact = report.artifact
    assert artifact is not None
    assert statement["subject"] == [
        {"name": artifact.filename, "digest": {"sha256": artifact.sha256}}
    ]
    definition = statement["predicate"]["buildDefinition"]
    assert definition["resolvedDependencies"] == [
        {"name": report.input.filename, "digest": {"sha256": report.input.sha256}}
    ]
    assert definition["internalParameters"]["device"] == report.environment.device
    assert definition["externalParameters"]["options"]["memory_format"] == "channels_last_3d"
    details = statement["predicate"]["runDetails"]
    assert details["builder"]["version"]["torch"] == report.environment.torch
    assert details["metadata"] == {
        "startedOn": "2027-01-15T08:00:00Z",
        "finishedOn": "2027-01-15T08:00:07Z",
    }


def test_the_report_is_a_byproduct() -> None:
    """Its digest is that of what `--json` prints, and its verdict is told."""
    report = recorded()
    (byproduct,) = on_report(report)["predicate"]["runDetails"]["byproducts"]
    printed = f"{report.model_dump_json(indent=2)}\n".encode()
    assert byproduct["digest"] == {"sha256": hashlib.sha256(printed).hexdigest()}
    assert byproduct["annotations"] == {"verdict": report.verdict}


def test_each_file_of_a_folder_is_a_subject() -> None:
    """Converted ones and those that were passed on, with what each was made of."""
    report = recorded()
    assert report.artifact is not None
    other = report.input.model_copy(update={"sha256": "1" * 64})
    report.files = [
        FileSection(
            path=path, role="other", verdict="passed", input=given, artifact=report.artifact
        )
        for path, given in (("unet/model.pt", report.input), ("config.json", other))
    ]
    report.input.container = report.artifact.container = "folder"
    statement = on_report(report, source="s3://bucket/vae/")
    validate(statement)
    assert [each["name"] for each in statement["subject"]] == ["unet/model.pt", "config.json"]
    dependencies = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert dependencies[1] == {
        "name": "config.json",
        "uri": "s3://bucket/vae/config.json",
        "digest": {"sha256": "1" * 64},
    }


def test_what_a_service_knows_is_told() -> None:
    """The job, the commit, the address, the target and the roots have their places."""
    subject = Resource("m.pt", "0" * 64, annotations={TENSORS: "2" * 64})
    given = Resource("vae", "1" * 64, is_folder=True, uri="s3://bucket/vae/")
    run = run_of(builder=SERVICE, job_id="job", revision=COMMIT, device="cuda:0", target="s3://to/")
    statement = statement_of([subject], [given], [], run)
    validate(statement)
    assert statement["subject"][0]["annotations"] == {"tensors_sha256": "2" * 64}
    predicate = statement["predicate"]
    assert predicate["buildDefinition"]["resolvedDependencies"][0]["digest"] == {
        "dirHash1": "1" * 64
    }
    assert predicate["buildDefinition"]["externalParameters"]["target"] == "s3://to/"
    assert predicate["buildDefinition"]["internalParameters"]["device"] == "cuda:0"
    details = predicate["runDetails"]
    assert details["metadata"]["invocationId"] == "job"
    assert details["builder"]["builderDependencies"][0]["digest"] == {"gitCommit": COMMIT}


@pytest.mark.parametrize("revision", ["", "v1.2", COMMIT.upper(), COMMIT[1:]])
def test_only_a_commit_is_told_as_one(revision: str) -> None:
    """What else a build calls itself is no digest."""
    statement = statement_of([], [], [], run_of(revision=revision))
    assert "builderDependencies" not in statement["predicate"]["runDetails"]["builder"]


def test_names_that_are_no_text_are_escaped() -> None:
    """As reports write them; JSON cannot hold them, and the work is done by then."""
    odd, shown = "m\udcff.pt", r"m\udcff.pt"
    run = run_of(source=odd, target=odd)
    statement = json.loads(text_of(statement_of([Resource(odd, "0" * 64)], [], [], run)))
    assert statement["subject"][0]["name"] == shown
    given = statement["predicate"]["buildDefinition"]["externalParameters"]
    assert (given["source"], given["target"]) == (shown, shown)


def test_it_can_be_read_again() -> None:
    """The text is JSON, and what it says of subjects and dependencies comes back."""
    report = recorded()
    text = text_of(on_report(report))
    assert json.loads(text) == on_report(report)
    found = parse(text)
    assert report.artifact is not None
    assert found.subjects[report.artifact.filename].sha256 == report.artifact.sha256
    assert found.dependencies == {report.input.filename: report.input.sha256}
