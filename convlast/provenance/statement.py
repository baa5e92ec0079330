"""The statement on a conversion: an in-toto Statement with SLSA provenance.

Source: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md,
https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

from convlast.options import Limits, Options
from convlast.report import Artifact, Environment, InputFile, ReportData, Verdict
from convlast.report.saving import json_of
from convlast.report.sections import as_text
from convlast.version import __version__

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:convlast:conversion:v1"
"""What the parameters mean; docs/provenance.md describes it."""

COMMAND_LINE, SERVICE = "urn:convlast:builder:command-line", "urn:convlast:builder:service"
TENSORS = "tensors_sha256"
"""The annotation with the root of the digests of a file's tensors."""

_OF_FILES = frozenset({"folder", "sharded"})
"""The kinds of input and artifact that are many files; every other is one."""

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Resource:
    """A file, or a folder by its listing.

    Attributes:
        name: Its name, or its path in the folder that the statement is about.
        sha256: The digest of its bytes, in hexadecimal; of a folder that of its listing.
        is_folder: Whether it is a folder.
        uri: Where it came from, if that is known.
        media_type: What is in it, if that is known.
        annotations: What else is known of it; what is None is left out.
    """

    name: str
    sha256: str
    is_folder: bool = False
    uri: str | None = None
    media_type: str | None = None
    annotations: Mapping[str, str | None] = field(default_factory=dict)

    def descriptor(self) -> Json:
        """Return it as in-toto describes a resource.

        >>> Resource("vae", "0" * 64, is_folder=True).descriptor()["digest"].keys()
        dict_keys(['dirHash1'])
        """
        # The listing of a folder is what in-toto calls dirHash1.
        algorithm = "dirHash1" if self.is_folder else "sha256"
        return _without_none(
            name=as_text(self.name),
            uri=self.uri,
            digest={algorithm: self.sha256},
            mediaType=self.media_type,
            annotations=_without_none(**self.annotations) or None,
        )


@dataclass(frozen=True)
class Run:
    """What ran, and when.

    Attributes:
        builder: `COMMAND_LINE` or `SERVICE`.
        source: The name or address that was given.
        options: What was asked for.
        limits: What the file was allowed to cost.
        environment: Hardware and software, if they are known.
        started_at: When it began, in seconds since 1970.
        finished_at: When it ended.
        target: The address that the artifact was to go to, if one was given.
        device: The device, if the environment is not known.
        job_id: The job of the service, if it was one.
        revision: The commit that the builder was made from, if it knows that.
    """

    builder: str
    source: str
    options: Options
    limits: Limits
    environment: Environment | None
    started_at: float
    finished_at: float
    target: str | None = None
    device: str | None = None
    job_id: str | None = None
    revision: str = ""


def statement_of(
    subjects: Iterable[Resource],
    dependencies: Iterable[Resource],
    byproducts: Iterable[Resource],
    run: Run,
) -> Json:
    """Return the statement on a conversion.

    Args:
        subjects: The files of the artifact.
        dependencies: What they were made of.
        byproducts: The reports.
        run: What ran.
    """
    asked = run.options.model_dump(mode="json")
    return {
        "_type": STATEMENT_TYPE,
        "subject": _descriptors(subjects),
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": _without_none(
                    source=as_text(run.source),
                    target=None if run.target is None else as_text(run.target),
                    options=asked,
                ),
                "internalParameters": _machine_of(run),
                "resolvedDependencies": _descriptors(dependencies),
            },
            "runDetails": {
                "builder": _builder_of(run),
                "metadata": _without_none(
                    invocationId=run.job_id,
                    startedOn=_time(run.started_at),
                    finishedOn=_time(run.finished_at),
                ),
                "byproducts": _descriptors(byproducts),
            },
        },
    }


def of_report(report: ReportData, run: Run) -> Json:
    """Return the statement on the conversion that a report is about.

    Args:
        report: The report; it has an artifact.
        run: What ran. An address in its source names the input.
    """
    assert report.artifact is not None, "only an artifact has provenance"  # noqa: S101  # for mypy
    uri = run.source if "://" in run.source else None
    given = [(each.path, each.input) for each in report.files]
    made = [(each.path, each.artifact) for each in report.files if each.artifact]
    if report.input.container not in _OF_FILES:
        given = [(report.input.filename, report.input)]
    if report.artifact.container not in _OF_FILES:
        made = [(report.artifact.filename, report.artifact)]
    dependencies = [_resource(name, file, uri) for name, file in given]
    subjects = [_resource(name, file) for name, file in made]
    return statement_of(subjects, dependencies, [_report_of(report)], run)


def report_resource(
    name: str, sha256: str, media_type: str, verdict: Verdict | None = None
) -> Resource:
    """Return a report, as a byproduct."""
    return Resource(name, sha256, media_type=media_type, annotations={"verdict": verdict})


def text_of(statement: Json) -> bytes:
    """Return a statement as it is written and signed."""
    return json.dumps(statement, indent=2, ensure_ascii=False).encode() + b"\n"


def _resource(name: str, file: InputFile | Artifact, uri: str | None = None) -> Resource:
    if uri is not None and uri.endswith("/"):
        uri += name
    annotations = {TENSORS: file.tensors_sha256}
    return Resource(name, file.sha256, uri=uri, annotations=annotations)


def _report_of(report: ReportData) -> Resource:
    digest = hashlib.sha256(json_of(report).encode()).hexdigest()
    return report_resource("report.json", digest, "application/json", report.verdict)


def _machine_of(run: Run) -> Json:
    known = run.environment
    facts = {"device": run.device}
    if known is not None:
        names = ("device", "gpu", "compute_capability", "cpu", "platform")
        facts = {name: getattr(known, name) for name in names}
    return _without_none(**facts, limits=run.limits.model_dump(mode="json"))


def _builder_of(run: Run) -> Json:
    versions: dict[str, str | None] = {"convlast": __version__}
    if run.environment is not None:
        names = ("convlast", "python", "torch", "cuda", "cudnn", "driver")
        versions = {name: getattr(run.environment, name) for name in names}
    is_commit = re.fullmatch("[0-9a-f]{40}", run.revision) is not None
    code = [{"name": "convlast", "digest": {"gitCommit": run.revision}}] if is_commit else None
    return _without_none(
        id=run.builder, builderDependencies=code, version=_without_none(**versions)
    )


def _descriptors(resources: Iterable[Resource]) -> Sequence[Json]:
    return [each.descriptor() for each in resources]


def _without_none(**members: Any) -> Json:
    return {name: value for name, value in members.items() if value is not None}


def _time(seconds: float) -> str:
    """Write a time as in-toto does.

    >>> _time(0)
    '1970-01-01T00:00:00Z'
    """
    return f"{datetime.fromtimestamp(int(seconds), UTC):%Y-%m-%dT%H:%M:%SZ}"
