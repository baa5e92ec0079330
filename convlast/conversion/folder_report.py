"""The report of a model folder, put together from those of its files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from convlast.bytes.digest import sha256_and_crc32_of
from convlast.conversion.job import Source
from convlast.folders import Folder
from convlast.options import Options
from convlast.report import (
    Advice,
    Artifact,
    Environment,
    FileSection,
    Finding,
    InputFile,
    Layer,
    Proof,
    Report,
    Role,
    verdict_of,
)
from convlast.report.clock import now
from convlast.report.folder_digest import listing_digest


@dataclass
class Sections:
    """What has been found so far, file by file, in the folder's order.

    Attributes:
        files: A section for each.
        findings: Those of all files, each with the file's path.
        layers: Likewise.
    """

    files: list[FileSection] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)

    def add(self, path: str, report: Report) -> FileSection:
        """Add a checkpoint by its report."""
        own = [found.model_copy(update={"file": path}) for found in report.findings]
        self.findings += own
        self.layers += [layer.model_copy(update={"file": path}) for layer in report.layers]
        section = FileSection(
            path=path,
            role="checkpoint",
            verdict=verdict_of(own),
            input=report.input,
            artifact=report.artifact,
            proof=report.proof,
            survival=report.survival,
            smoke=report.smoke,
            advice=report.advice,
            seconds=report.seconds,
        )
        self.files.append(section)
        return section

    def add_other(
        self,
        path: str,
        role: Role,
        given: InputFile,
        findings: Sequence[Finding],
        made: Artifact | None,
    ) -> None:
        """Add a file in which nothing was converted."""
        self.findings += [found.model_copy(update={"file": path}) for found in findings]
        self.files.append(
            FileSection(
                path=path, role=role, verdict=verdict_of(list(findings)), input=given, artifact=made
            )
        )

    @property
    def artifacts(self) -> dict[str, Artifact]:
        """What became of each file, by its path."""
        return {each.path: each.artifact for each in self.files if each.artifact}

    def report(
        self,
        given: InputFile,
        made: Artifact | None,
        options: Options,
        environment: Environment,
        advice: Advice | None = None,
    ) -> Report:
        """Return the report of the whole folder."""
        return Report(
            made_at=now(),
            verdict=verdict_of(self.findings),
            findings=self.findings,
            input=given,
            artifact=made,
            options=options,
            environment=environment,
            layers=self.layers,
            proof=_proof_of([each.proof for each in self.files if each.proof]),
            advice=advice,
            seconds=_summed(each.seconds for each in self.files),
            files=self.files,
        )


def unchanged(given: InputFile) -> Artifact:
    """Describe a file that passes through as it is."""
    return Artifact(
        filename=given.filename,
        sha256=given.sha256,
        bytes=given.bytes,
        container=given.container,
        unchanged=True,
    )


def artifact_of_folder(
    path: Path, filename: str, kind: str, made: Mapping[str, Artifact]
) -> Artifact:
    """Describe a folder that was made.

    Args:
        path: Where it is.
        filename: Its name.
        kind: What it is.
        made: The files in it, by their paths.
    """
    artifact = Artifact(
        filename=filename,
        sha256=listing_digest((name, each.sha256) for name, each in made.items()),
        bytes=sum(each.bytes for each in made.values()),
        container=kind,
        unchanged=all(each.unchanged for each in made.values()),
    )
    if kind != "folder" and path.is_file():
        artifact.sha256, artifact.crc32 = sha256_and_crc32_of(path)
        artifact.bytes = path.stat().st_size
    return artifact


def input_of_folder(folder: Folder, source: Source, sections: Sections) -> InputFile:
    """Describe what was given: an archive by its bytes, a folder by its listing.

    Args:
        folder: What was given.
        source: Its name, its digest if that is known, and whether it was a folder before.
        sections: Its files.
    """
    digests = ((each.path, each.input.sha256) for each in sections.files)
    is_archive = folder.is_archive and not source.is_packed
    return InputFile(
        filename=source.name,
        sha256=source.sha256() if is_archive else listing_digest(digests),
        bytes=folder.path.stat().st_size if is_archive else folder.nbytes,
        container="folder" if source.is_packed else folder.kind,
    )


def _proof_of(proofs: Sequence[Proof]) -> Proof | None:
    """Sum proofs up: the worst of each."""
    if not proofs:
        return None
    values = {proof.values for proof in proofs}
    return Proof(
        tensors=sum(proof.tensors for proof in proofs),
        values="different" if "different" in values else "identical",
        strides="wrong" if any(proof.strides == "wrong" for proof in proofs) else "exact",
        structure="different"
        if any(proof.structure == "different" for proof in proofs)
        else "identical",
    )


def _summed(times: Iterable[dict[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for seconds in times:
        for stage, spent in seconds.items():
            total[stage] = round(total.get(stage, 0) + spent, 6)
    return total
