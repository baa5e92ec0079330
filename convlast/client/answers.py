"""The answers that were asked for: what is taken from them, and how they are checked."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from convlast.client.refusals import media_type_of, not_the_service, read_whole, report_of
from convlast.client.zip_answer import NotTheAnswerError, receive
from convlast.errors import RemoteError
from convlast.progress import Progress
from convlast.report import Report

JSON, ZIP = "application/json", "application/zip"
_CHUNK_BYTES = 1 << 20


def converted(response: httpx.Response, arrived: Path, progress: Progress) -> Report:
    """Write the artifact of an answer to a file, and return the report.

    Raises:
        RemoteError: If the answer is not the service's, or the artifact is not the report's.
        CutOffError: If it is cut off.
    """
    if media_type_of(response) != ZIP:
        raise not_the_service(response, media_type_of(response)[:80] or "something unknown")
    length = response.headers.get("Content-Length", "")
    max_bytes = int(length) if length.isdecimal() else None
    try:
        with arrived.open("wb") as file:
            answer = receive(response.iter_bytes(_CHUNK_BYTES), file, max_bytes, progress)
        report = report_of(json.loads(answer.report))
    except (NotTheAnswerError, json.JSONDecodeError, RecursionError) as error:
        raise not_the_service(response, f"a damaged zip: {error}") from error
    if report.artifact is None or report.artifact.sha256 != answer.sha256:
        raise RemoteError(
            "digest-mismatch",
            "The artifact was damaged on the way: its SHA-256 is not the one in its report.",
        )
    return report


def inspected(response: httpx.Response) -> Report:
    """Return the report that an answer is.

    Raises:
        RemoteError: If the answer is not the service's.
    """
    if media_type_of(response) != JSON:
        raise not_the_service(response, media_type_of(response)[:80] or "something unknown")
    try:
        return report_of(json.loads(read_whole(response)))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_the_service(response, "damaged JSON") from error
