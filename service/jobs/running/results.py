"""What a worker has made, checked, and given the names under which it is kept."""

from __future__ import annotations

from pathlib import Path

from service.errors import WorkerCrashedError
from service.headers.filenames import MAX_BYTES, sanitise
from service.jobs.records import ARTIFACT, STATEMENTS, KeptFile
from service.workers import REPORT_HTML, REPORT_JSON, Finished, Made
from service.workers.results import open_made, open_report


def check(finished: Finished, folder: Path, *, has_artifact: bool) -> dict[str, KeptFile]:
    """Check the files that a worker has made, and return them by the names that they now have.

    Raises:
        WorkerCrashedError: If one is missing, is not a plain file, or has an unsafe name, or the
            report is not JSON.
    """
    crcs = {made.filename: made.crc32 or 0 for made in finished.reports}
    files: dict[str, KeptFile] = {}
    if has_artifact:
        files[ARTIFACT] = _check_artifact(finished, folder)
    for name in (REPORT_JSON, REPORT_HTML):
        opened = open_report(folder) if name == REPORT_JSON else open_made(folder, name)
        opened.file.close()
        files[name] = KeptFile(filename=name, bytes=opened.size_bytes, crc32=crcs.get(name, 0))
    return files


def check_report(folder: Path) -> dict[str, KeptFile]:
    """Return the report of a job that was refused, if there is one, by its name."""
    try:
        opened = open_report(folder)
    except WorkerCrashedError:
        return {}
    opened.file.close()
    return {REPORT_JSON: KeptFile(filename=REPORT_JSON, bytes=opened.size_bytes)}


def _check_artifact(finished: Finished, folder: Path) -> KeptFile:
    made, sha256 = finished.artifact, finished.artifact_sha256
    if made is None or sha256 is None or not _is_safe(made):
        raise WorkerCrashedError.nonsense()
    opened = open_made(folder, made.filename)
    opened.file.close()
    (folder / made.filename).rename(folder / ARTIFACT)
    return KeptFile(
        filename=made.filename, bytes=opened.size_bytes, crc32=made.crc32 or 0, sha256=sha256
    )


def _is_safe(made: Made) -> bool:
    """Return whether the name of an artifact is neither a path nor that of a file beside it."""
    name = made.filename
    is_other = name in (REPORT_JSON, REPORT_HTML, *STATEMENTS)
    return name == sanitise(name, max_bytes=MAX_BYTES) and not is_other
