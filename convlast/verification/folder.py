"""Two model folders, compared file by file: each checkpoint, and each other file's bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

import torch

from convlast.checkpoints.checkpoint import Checkpoint
from convlast.containers import open_checkpoint
from convlast.conversion.folder_report import Sections, artifact_of_folder, input_of_folder
from convlast.conversion.job import Source
from convlast.devices import environment_of
from convlast.errors import CheckpointError, NoConv3dWeightsError, ProgramNotAllowedError
from convlast.folders import Folder
from convlast.folders.contents import Contents, Found
from convlast.options import Limits, Options
from convlast.progress import Portions, Progress, silent
from convlast.report import Artifact, Finding, Report
from convlast.report.codes import finding

VerifyFile = Callable[[Checkpoint, Checkpoint, Limits, Mapping[str, torch.Tensor] | None], Report]
"""How two checkpoints are compared."""


class FolderVerification:
    """One comparison, and what has been found on the way."""

    def __init__(
        self, before: Folder, after: Folder, verify_file: VerifyFile, *, allow_programs: bool
    ) -> None:
        """Begin.

        Args:
            before: The folder as it was.
            after: What was made of it.
            verify_file: How two checkpoints are compared.
            allow_programs: Whether files that hold code may be opened.
        """
        self._before, self._after, self._verify_file = before, after, verify_file
        self._allow_programs = allow_programs
        self._contents, self._sections = Contents(before), Sections()

    def run(self, original: str, converted: str, progress: Progress = silent) -> Report:
        """Compare all files.

        Args:
            original: The first folder's name, for the report.
            converted: The other one's.
            progress: Called as `progress("files", done, total)`, in bytes.

        Raises:
            CheckpointError: If a file cannot be opened, or there is no layer to compare.
        """
        portions = Portions(progress, "files", self._before.nbytes)
        for name, member in self._before.members.items():
            with self._contents.found(name, self._allow_programs) as found:
                report = self._tried(found) if found else None
                if report is None:
                    self._compare_bytes(name, found)
                else:
                    self._sections.add(name, report)
            portions.add(member.nbytes)
        self._contents.refuse_without_layers(has_layers=bool(self._sections.layers))
        added = [name for name in self._after.members if name not in self._before.members]
        self._sections.findings += [
            finding("file-added", f"{name} is in the converted folder alone.") for name in added
        ]
        made = self._sections.artifacts | {name: self._made(name, "other") for name in added}
        return self._sections.report(
            input_of_folder(self._before, Source(self._before.path, original), self._sections),
            artifact_of_folder(self._after.path, converted, self._after.kind, made),
            Options(),
            environment_of(torch.device("cpu")),
        )

    def _tried(self, found: Found) -> Report | None:
        """Compare one checkpoint; none as below, or if the original one cannot be opened.

        A conversion passes on what it cannot open, so its bytes are compared.
        """
        try:
            return self._compare_checkpoints(found)
        except CheckpointError as error:
            if self._has_changed(found.name):
                raise
            self._contents.pass_on(found.name, error)
            return None

    def _has_changed(self, name: str) -> bool:
        members = self._after.members
        return name in members and self._after.digest(name) != self._before.digest(name)

    def _compare_checkpoints(self, found: Found) -> Report | None:
        """Compare one checkpoint; none where there is nothing that could have been converted."""
        if found.is_closed or found.name not in self._after.members:
            return None
        limits = self._before.limits
        before = open_checkpoint(found.path, limits=limits, allow_programs=True)
        with self._after.as_file(found.name) as path:
            after = open_checkpoint(path, limits=limits, allow_programs=self._allow_programs)
            try:
                report = self._verify_file(before, after, limits, self._contents.beside(found))
            except NoConv3dWeightsError:
                return None
        filename = PurePosixPath(found.name).name
        report.input.filename = filename
        if report.artifact:
            report.artifact.filename = filename
        return report

    def _compare_bytes(self, name: str, found: Found | None) -> None:
        """Compare a file that must be as it was.

        Raises:
            ProgramNotAllowedError: If it is a program, which may have been converted.
        """
        given = self._contents.describe(name, found, self._before.digest(name))
        made: Artifact | None = None
        noted: list[Finding] = []
        if name not in self._after.members:
            noted = [finding("file-missing", f"{name} is not in the converted folder.")]
        else:
            made = self._made(name, given.container)
            made.unchanged = made.sha256 == given.sha256
            if found is not None and found.is_closed and not made.unchanged:
                raise ProgramNotAllowedError(
                    f"{name!r} holds code and is another file now.",
                    remedy="Allow programs (--allow-programs), from senders you trust, to have it "
                    "compared.",
                )
            if not made.unchanged:
                noted = [finding("file-changed", f"{name} is not the same byte for byte.")]
        role = self._contents.role_of(name, found)
        self._sections.add_other(name, role, given, noted, made)

    def _made(self, name: str, container: str) -> Artifact:
        return Artifact(
            filename=PurePosixPath(name).name,
            sha256=self._after.digest(name),
            bytes=self._after.members[name].nbytes,
            container=container,
        )
