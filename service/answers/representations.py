"""The three answers to a conversion: a zip with everything, the report, or the artifact."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from service.answers.zip_stream import StoredMember, lay_out
from service.connection.protection import REPORT_POLICY
from service.connection.streaming import PiecesResponse
from service.context import Context
from service.errors import WorkerCrashedError
from service.headers.digests import repr_digest
from service.headers.filenames import MAX_BYTES, content_disposition, sanitise
from service.headers.negotiation import JSON, OCTET_STREAM, ZIP
from service.jobs import Ran
from service.storage.slices import FileSlice
from service.storage.store import ARTIFACT, StoredJob
from service.threads import REMOVING
from service.workers import MAX_EMBEDDED_BYTES, REPORT_HTML, REPORT_JSON, Made
from service.workers.results import open_made, open_report

OFFERS = [ZIP, JSON, OCTET_STREAM]


async def answer(media_type: str, ran: Ran, request: Request, context: Context) -> Response:
    """Answer a conversion in the negotiated media type.

    The files of the job are moved into the store, or removed after the answer is sent.

    Raises:
        StorageFullError: If the result does not fit into the store.
        WorkerCrashedError: If the worker has not made the files that it should have made.
    """
    headers = {"Content-Type": media_type, "Vary": "Accept", **ran.headers}
    try:
        if media_type == ZIP:
            return await asyncio.to_thread(_zip, ran, headers, context)
        stored = await asyncio.to_thread(_keep, ran, context)
        links = links_of(request.scope.get("root_path", ""), stored.id)
        if media_type == JSON:
            return await asyncio.to_thread(_report, stored, links, headers, ran, context)
        return await asyncio.to_thread(_artifact, stored, links, headers, ran, context)
    except BaseException:
        await REMOVING.run(ran.folder.remove)
        raise


def links_of(root_path: str, job_id: str) -> dict[str, str]:
    """Return the URLs of a stored job's files."""
    base = f"{root_path}/jobs/{job_id}"
    return {
        "artifact": f"{base}/artifact",
        "report": f"{base}/report",
        "html": f"{base}/report.html",
    }


def artifact_headers(stored: StoredJob) -> dict[str, str]:
    """Return the fields of every response with an artifact."""
    return {
        "Content-Type": OCTET_STREAM,
        "Content-Disposition": content_disposition(stored.filename),
        "Repr-Digest": repr_digest(stored.sha256),
        "ETag": f'"{stored.sha256}"',
        "Accept-Ranges": "bytes",
    }


def report_headers(media_type: str) -> dict[str, str]:
    """Return the fields of every response with a report, as JSON or as a page."""
    content_type = media_type if media_type == JSON else f"{media_type}; charset=utf-8"
    return {"Content-Type": content_type, "Vary": "Accept", **REPORT_POLICY}


def _zip(ran: Ran, headers: dict[str, str], context: Context) -> Response:
    """Stream the artifact and both reports as a zip, and store nothing."""
    files = _open_all(ran)
    name = next(iter(files))
    crcs = {made.filename: made.crc32 for made in [_artifact_of(ran), *ran.finished.reports]}
    members = [
        StoredMember(each, Path(each), file.size_bytes, crcs.get(each) or 0)
        for each, file in files.items()
    ]
    pieces = [
        piece if isinstance(piece, bytes) else files[piece.name] for piece in lay_out(members)
    ]
    return PiecesResponse(
        pieces,
        headers={**headers, "Content-Disposition": content_disposition(f"{name}.zip")},
        delivery=context.delivery(context.download_admission.hold(ran.caller.share)),
        release=ran.folder.remove,
    )


def _keep(ran: Ran, context: Context) -> StoredJob:
    """Move the files into the store, and remove all others that the worker has left."""
    files = _open_all(ran)
    for file in files.values():
        file.file.close()
    name, *reports = files
    stored = StoredJob(
        id=ran.id,
        owner=ran.caller.owner,
        filename=name,
        sha256=ran.finished.artifact_sha256 or "",
        artifact_bytes=files[name].size_bytes,
        bytes=sum(file.size_bytes for file in files.values()),
        finished_at=time.time(),
    )
    kept = {ARTIFACT: name, **{report: report for report in reports}}
    folder = ran.folder.path
    context.workspace.store.keep({kept_as: folder / made for kept_as, made in kept.items()}, stored)
    ran.folder.remove()
    return stored


def _report(
    stored: StoredJob, links: dict[str, str], headers: dict[str, str], ran: Ran, context: Context
) -> Response:
    """Stream the report with one more member, `links`.

    It comes last, since JSON parsers take the last of two members with the same name.
    """
    _, folder = context.workspace.store.find(stored.id, stored.owner)
    report = FileSlice.whole(folder, REPORT_JSON)
    but_its_end = report.part(0, report.size_bytes - 1)
    end = b', "links": ' + json.dumps(links).encode() + b"}"
    headers = {**headers, "Content-Location": links["report"]}
    if report.size_bytes <= MAX_EMBEDDED_BYTES:  # small: not counted as a download
        with report.file:
            return Response(but_its_end.read() + end, headers=headers)
    return PiecesResponse(
        [but_its_end, end],
        headers=headers,
        delivery=context.delivery(context.download_admission.hold(ran.caller.share)),
    )


def _artifact(
    stored: StoredJob, links: dict[str, str], headers: dict[str, str], ran: Ran, context: Context
) -> Response:
    """Stream the artifact, with a link to the report."""
    _, folder = context.workspace.store.find(stored.id, stored.owner)
    return PiecesResponse(
        [FileSlice.whole(folder, ARTIFACT)],
        headers={
            **headers,
            **artifact_headers(stored),
            "Link": f'<{links["report"]}>; rel="describedby"; type="application/json"',
            "Content-Location": links["artifact"],
        },
        delivery=context.delivery(context.download_admission.hold(ran.caller.share)),
    )


def _open_all(ran: Ran) -> dict[str, FileSlice]:
    """Open the artifact and both reports, in this order, and return them by name.

    Raises:
        WorkerCrashedError: If one is missing, or is not a plain file, or the report is not JSON.
    """
    name, folder = _artifact_of(ran).filename, ran.folder.path
    files: dict[str, FileSlice] = {}
    try:
        files[name] = open_made(folder, name)
        files[REPORT_JSON] = open_report(folder)
        files[REPORT_HTML] = open_made(folder, REPORT_HTML)
    except BaseException:
        for file in files.values():
            file.file.close()
        raise
    return files


def _artifact_of(ran: Ran) -> Made:
    """Return what the worker reported of the artifact.

    Raises:
        WorkerCrashedError: If its name or digest is missing, or its name is unsafe or a report's.
    """
    made = ran.finished.artifact
    if made is None or ran.finished.artifact_sha256 is None:
        raise WorkerCrashedError.nonsense()
    if made.filename in (REPORT_JSON, REPORT_HTML):
        raise WorkerCrashedError.nonsense()
    if made.filename != sanitise(made.filename, max_bytes=MAX_BYTES):
        raise WorkerCrashedError.nonsense()
    return made
