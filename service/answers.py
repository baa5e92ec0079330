"""The three ways a conversion is answered: all in a zip, the report, or the artifact."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from service.archive import Member, lay_out
from service.context import Context
from service.digests import repr_digest
from service.errors import InternalError, NotFoundError
from service.filenames import MAX_BYTES, content_disposition, sanitise
from service.jobs import Ran, server_timing
from service.negotiation import JSON, OCTET_STREAM, ZIP
from service.store import StoredJob
from service.streaming import FileSlice, PiecesResponse
from service.workers import REPORT_JSON, Made

OFFERS = [ZIP, JSON, OCTET_STREAM]


async def answer(media_type: str, ran: Ran, request: Request, context: Context) -> Response:
    """Answer a conversion in the media type that was negotiated.

    The folder of the job is gone afterwards: into the store, or away when the answer is sent.

    Raises:
        StorageFullError: If the store cannot keep it.
        InternalError: If the worker has not written what it said.
    """
    headers = {
        "Content-Type": media_type,
        "Vary": "Accept",
        "Server-Timing": server_timing(ran.seconds),
    }
    try:
        if media_type == ZIP:
            return await asyncio.to_thread(_zip, ran, headers, context)
        stored = await asyncio.to_thread(_keep, ran, context)
        links = links_of(request.scope.get("root_path", ""), stored.id)
        if media_type == JSON:
            return await asyncio.to_thread(_report, stored, links, headers, context)
        return await asyncio.to_thread(_artifact, stored, links, headers, ran, context)
    except BaseException:
        await asyncio.to_thread(ran.folder.remove)
        raise


def links_of(root_path: str, job_id: str) -> dict[str, str]:
    """Give the addresses of what a stored job holds."""
    base = f"{root_path}/jobs/{job_id}"
    return {
        "artifact": f"{base}/artifact",
        "report": f"{base}/report",
        "html": f"{base}/report.html",
    }


def artifact_headers(stored: StoredJob) -> dict[str, str]:
    """Give the fields that go with an artifact, whichever way it is fetched."""
    return {
        "Content-Type": OCTET_STREAM,
        "Content-Disposition": content_disposition(stored.filename),
        "Repr-Digest": repr_digest(stored.sha256),
        "ETag": f'"{stored.sha256}"',
        "Accept-Ranges": "bytes",
    }


def _zip(ran: Ran, headers: dict[str, str], context: Context) -> Response:
    """Stream the artifact and both reports; nothing is kept."""
    made = [_artifact_of(ran), *ran.finished.reports]
    files = {}
    members = []
    for each in made:
        path = ran.folder.path / _name_of(each)
        files[path] = _open(path)
        members.append(Member(path.name, path, files[path].size_bytes, each.crc32 or 0))
    pieces = [piece if isinstance(piece, bytes) else files[piece] for piece in lay_out(members)]
    return PiecesResponse(
        pieces,
        headers={**headers, "Content-Disposition": content_disposition(f"{members[0].name}.zip")},
        delivery=context.delivery(context.downloads.hold(ran.caller.share)),
        release=ran.folder.remove,
    )


def _keep(ran: Ran, context: Context) -> StoredJob:
    """Move the folder into the store."""
    made = _artifact_of(ran)
    stored = StoredJob(
        id=ran.id,
        owner=ran.caller.owner,
        filename=_name_of(made),
        sha256=ran.finished.artifact_sha256 or "",
        artifact_bytes=(ran.folder.path / _name_of(made)).stat().st_size,
        bytes=made.bytes + sum(each.bytes for each in ran.finished.reports),
        finished_at=time.time(),
    )
    context.workspace.store.keep(ran.folder.path, stored)
    ran.folder.leave()
    return stored


def _report(
    stored: StoredJob, links: dict[str, str], headers: dict[str, str], context: Context
) -> Response:
    """Answer the report with one more member, `links`."""
    _, folder = context.workspace.store.find(stored.id, stored.owner)
    # It is JSON already, and may be large: it is not parsed to be written again.
    report = (folder / REPORT_JSON).read_bytes()
    body = b'{"links": ' + json.dumps(links).encode() + b", " + report[1:]
    return Response(body, headers={**headers, "Content-Location": links["report"]})


def _artifact(
    stored: StoredJob, links: dict[str, str], headers: dict[str, str], ran: Ran, context: Context
) -> Response:
    """Stream the artifact, and say where the report is."""
    _, folder = context.workspace.store.find(stored.id, stored.owner)
    return PiecesResponse(
        [_open(folder / stored.filename)],
        headers={
            **headers,
            **artifact_headers(stored),
            "Link": f'<{links["report"]}>; rel="describedby"; type="application/json"',
            "Content-Location": links["artifact"],
        },
        delivery=context.delivery(context.downloads.hold(ran.caller.share)),
    )


def _open(path: Path) -> FileSlice:
    """Open what the worker has said it wrote."""
    try:
        return FileSlice.whole(path)
    except NotFoundError:
        raise InternalError("The worker has not written what it said.") from None


def _name_of(made: Made) -> str:
    """Give the name of what a worker made, which nobody trusts with a path."""
    return sanitise(made.filename, max_bytes=MAX_BYTES)


def _artifact_of(ran: Ran) -> Made:
    if ran.finished.artifact is None:
        raise InternalError("The worker made no artifact.")
    return ran.finished.artifact
