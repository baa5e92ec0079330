"""Whether an artifact is the one that a statement is about."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from convlast.bytes.digest import sha256_of
from convlast.errors import ArtifactChangedError, StatementError
from convlast.progress import Portions, Progress, silent
from convlast.provenance.reading import Statement, Subject
from convlast.report import ReportData
from convlast.report.sections import as_text

_TOLD = 5


def check(
    artifact: Path,
    statement: Statement,
    *,
    besides: Path | None = None,
    progress: Progress = silent,
) -> dict[str, str]:
    """Check that an artifact consists of the subjects of a statement, byte for byte.

    A file may have another name than its subject. Of a folder each file has to be a subject, and
    each subject a file.

    Args:
        artifact: The file, or folder.
        statement: What it is compared with.
        besides: The path of a file that may lie in the folder too: that of the statement.
        progress: Called as `progress("digest", done, total)`.

    Returns:
        The digest of each file, by its name.

    Raises:
        ArtifactChangedError: If a file is not as the statement says.
        StatementError: If a file is given, and the statement is about several.
        OSError: If a file cannot be read.
    """
    if artifact.is_dir():
        return _check_folder(artifact, statement.subjects, besides, progress)
    own = as_text(artifact.name)
    if not artifact.is_file():  # reading a pipe might never end
        raise ArtifactChangedError(f"{as_text(str(artifact))!r} is no file.", files=[own])
    if len(statement.subjects) > 1:
        raise StatementError(
            f"The statement is about {len(statement.subjects):,} files, and one was given.",
            remedy="Name the folder that they are in.",
        )
    ((name, subject),) = statement.subjects.items()
    sha256 = sha256_of(artifact, Portions(progress, "digest", artifact.stat().st_size).add)
    if sha256 != subject.sha256:
        about = f"{own!r} is not the file that the statement is about"
        named = "" if name == own else f", which it calls {name!r}"
        raise ArtifactChangedError(
            f"{about}{named}: its SHA-256 is {sha256}, and not {subject.sha256}.",
            files=[own],
            remedy=_remedy([subject]),
        )
    return {own: sha256}


def is_about(statement: Statement, report: ReportData) -> bool:
    """Return whether a statement is about the artifact of a report, by the digests in both.

    An artifact of one file may have another name; of a folder each file is a subject.
    """
    if report.artifact is None:
        return False
    subjects = {name: each.sha256 for name, each in statement.subjects.items()}
    files = {as_text(each.path): each.artifact.sha256 for each in report.files if each.artifact}
    return subjects == files or [*subjects.values()] == [report.artifact.sha256]


def _check_folder(
    folder: Path, subjects: Mapping[str, Subject], besides: Path | None, progress: Progress
) -> dict[str, str]:
    there = dict(_files_in(folder.resolve(), besides))
    _refuse("missing", sorted(subjects.keys() - there.keys()), folder)
    _refuse("no subject of the statement", sorted(there.keys() - subjects.keys()), folder)
    odd = [name for name, path in there.items() if not path.is_file()]
    _refuse("no file", sorted(odd), folder)
    told = Portions(progress, "digest", sum(path.stat().st_size for path in there.values()))
    digests = {name: sha256_of(path, told.add) for name, path in sorted(there.items())}
    changed = [name for name, sha256 in digests.items() if sha256 != subjects[name].sha256]
    _refuse("changed", changed, folder, _remedy([subjects[name] for name in changed]))
    return digests


def _files_in(folder: Path, besides: Path | None) -> Iterator[tuple[str, Path]]:
    """Yield all that is in a folder but folders, by its path there.

    A name that is no text keeps what is odd about it, so no subject has it.
    """
    # The one path, and no other link to that file: a program may read what has another name.
    exempt = None if besides is None else besides.parent.resolve() / besides.name
    for root, folders, files in os.walk(folder, onerror=_raise):
        links = [name for name in folders if Path(root, name).is_symlink()]
        for path in (Path(root, name) for name in (*files, *links)):
            if path != exempt:
                yield path.relative_to(folder).as_posix(), path


def _raise(error: OSError) -> None:
    raise error


def _refuse(what: str, names: list[str], folder: Path, remedy: str = "") -> None:
    if not names:
        return
    names = [as_text(name) for name in names]
    more = f" and {len(names) - _TOLD:,} more" if len(names) > _TOLD else ""
    listed = ", ".join(repr(name) for name in names[:_TOLD]) + more
    verb = "is" if len(names) == 1 else "are"
    raise ArtifactChangedError(
        f"In {folder.name!r}, {listed} {verb} {what}.", files=names, remedy=remedy
    )


def _remedy(changed: list[Subject]) -> str:
    if any(each.has_tensors for each in changed):
        return (
            "With a list of the digests of its tensors, `convlast digest --check LIST` says which "
            "tensor has changed."
        )
    return ""
