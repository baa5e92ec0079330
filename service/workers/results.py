"""Checks the files that a worker has made, after the worker has ended.

The worker's own messages about them are not trusted. Files and their folder are opened without
following links, and the open file is measured, parsed and sent.
"""

from __future__ import annotations

from pathlib import Path

from pydantic_core import from_json

from service.errors import NotFoundError, WorkerCrashedError
from service.storage.slices import FileSlice
from service.workers import MAX_EMBEDDED_BYTES, REPORT_JSON


def open_made(folder: Path, name: str) -> FileSlice:
    """Open a file that a worker should have made.

    Raises:
        WorkerCrashedError: If it does not exist, or is not a plain file.
    """
    try:
        return FileSlice.whole(folder, name)
    except NotFoundError:
        raise WorkerCrashedError.nonsense() from None


def open_report(folder: Path) -> FileSlice:
    """Open a report in JSON.

    A small report is parsed. A larger one only has to begin and end like an object, so that members
    can be added at its end; if the rest is not valid, neither is the answer.

    Raises:
        WorkerCrashedError: If it does not exist, or is not a JSON object.
    """
    file = open_made(folder, REPORT_JSON)
    if file.size_bytes <= MAX_EMBEDDED_BYTES:
        is_report = _is_object(file.read())
    else:
        is_report = file.part(0, 1).read() + file.part(file.size_bytes - 1, 1).read() == b"{}"
    if not is_report:
        file.file.close()
        raise WorkerCrashedError.nonsense()
    return file


def read_report(folder: Path) -> str | None:
    """Read a report for a problem, or return none if it is missing, invalid or too large."""
    try:
        file = open_report(folder)
    except WorkerCrashedError:
        return None
    with file.file:
        return file.read().decode() if file.size_bytes <= MAX_EMBEDDED_BYTES else None


def _is_object(text: bytes) -> bool:
    """Return whether a text is a JSON object that is not empty, with nothing around it.

    >>> [_is_object(each) for each in (b'{"a": 1}', b"{}", b'{"a": NaN}', b'1, "b": {}', b"")]
    [True, False, False, False, False]
    """
    try:
        found = from_json(text, allow_inf_nan=False)
    except ValueError:
        return False
    return bool(found) and isinstance(found, dict) and text[:1] + text[-1:] == b"{}"
