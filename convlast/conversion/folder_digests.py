"""The digests of the tensors of a model folder, before and after, put into its report."""

from __future__ import annotations

from pathlib import Path

from convlast.digests.of_folder import folder_digests
from convlast.folders import Folder, open_folder
from convlast.folders.index import IndexedFiles
from convlast.report import Report


def add_roots(
    report: Report, given: Folder, made: Path, workplace: Path, allow_programs: bool
) -> None:
    """Digest the tensors of both, and note the roots: of each file, and of all together.

    Args:
        report: The report on the folder.
        given: The folder that was converted.
        made: What was made of it.
        workplace: A folder for temporary files.
        allow_programs: Whether files that hold code may be opened.

    Raises:
        CheckpointError: If a tensor cannot be digested.
    """
    before = folder_digests(given, allow_programs=allow_programs)
    place = made / given.index if isinstance(given, IndexedFiles) else made
    with open_folder(place, workplace, given.limits) as opened:
        after = folder_digests(opened, allow_programs=allow_programs)
    report.input.tensors_sha256 = before.together().root
    if report.artifact is not None:
        report.artifact.tensors_sha256 = after.together().root
    for section in report.files:
        section.input.tensors_sha256 = before.root_of(section.path)
        if section.artifact is not None:
            section.artifact.tensors_sha256 = after.root_of(section.path)
