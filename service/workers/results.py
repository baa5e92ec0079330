"""What a worker has made, as the service finds it once the worker is gone.

It is looked at here, whatever was said of it. A file is opened below its folder, neither of them
through a link, and what is open is what is measured, parsed and sent.
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
        WorkerCrashedError: If it is not there, or is no plain file.
    """
    try:
        return FileSlice.whole(folder, name)
    except NotFoundError:
        raise WorkerCrashedError.nonsense() from None


def open_report(folder: Path) -> FileSlice:
    """Open a report in JSON.

    One that is small enough to be parsed at once is; a larger one has to begin and end as an object
    does, so that what is added at its end is added to the object, or else the whole is no JSON.

    Raises:
        WorkerCrashedError: If it is not there, or is none.
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
    """Read a report that goes into a problem; none where there is none that can."""
    try:
        file = open_report(folder)
    except WorkerCrashedError:
        return None
    with file.file:
        return file.read().decode() if file.size_bytes <= MAX_EMBEDDED_BYTES else None


def _is_object(text: bytes) -> bool:
    """Say whether a text is an object of JSON, with something in it and nothing around it.

    >>> [_is_object(each) for each in (b'{"a": 1}', b"{}", b'{"a": NaN}', b'1, "b": {}', b"")]
    [True, False, False, False, False]
    """
    try:
        found = from_json(text, allow_inf_nan=False)
    except ValueError:
        return False
    return bool(found) and isinstance(found, dict) and text[:1] + text[-1:] == b"{}"
