"""The result of a job, as an answer: a zip with everything, the report, or the artifact."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from service.answers.kinds import FILES, WRITTEN, choose, written
from service.answers.zip_stream import StoredMember, lay_out
from service.connection.protection import REPORT_POLICY
from service.connection.streaming import PiecesResponse
from service.context import Context
from service.headers.digests import repr_digest
from service.headers.fields import as_list
from service.headers.filenames import content_disposition
from service.headers.negotiation import HTML, JSON, OCTET_STREAM, SARIF, ZIP
from service.jobs.description import file_links_of
from service.jobs.entry import JobEntry
from service.jobs.records import ARTIFACT, STATEMENTS, KeptFile
from service.storage.slices import Slice
from service.threads import STORING
from service.uploads.requested import Requested


def files_in_zip(entry: JobEntry) -> list[str]:
    """Return the names of the files of which the zip of a job consists.

    A job of an older version has no statement.
    """
    return [*FILES[ZIP], *(name for name in STATEMENTS if name in entry.made)]


async def answer(
    offers: Sequence[str], requested: Requested, request: Request, context: Context
) -> Response:
    """Answer with the result of a job that has succeeded, in one of these media types.

    Raises:
        NotFoundError: If the result has been removed meanwhile.
        NotAcceptableError: If the client accepts none of those in which there is something.
    """
    entry = requested.entry
    links = file_links_of(request.scope.get("root_path", ""), entry)
    try:
        media_type = choose(as_list(request.headers, "accept"), offers, entry)
        pieces, headers = await _parts_of(media_type, entry, links)
    except BaseException:
        await context.jobs.leave(entry)
        raise
    entry.waiters -= 1  # its files may be removed: they are open, or in memory
    return PiecesResponse(
        pieces,
        headers={**headers, **requested.headers, "Vary": "Accept"},
        delivery=context.delivery(context.download_admission.hold(requested.caller.share)),
        release=entry.release,
    )


async def _parts_of(
    media_type: str, entry: JobEntry, links: Mapping[str, str]
) -> tuple[Sequence[bytes | Slice], dict[str, str]]:
    """Return the body of an answer in pieces, and its fields."""
    if media_type in WRITTEN:
        body, headers = await written(entry, media_type), report_headers(media_type)
        if "report" in links:
            headers["Content-Location"] = f"{links['report']}{WRITTEN[media_type]}"
        return [body], headers
    names = files_in_zip(entry) if media_type == ZIP else FILES[media_type]
    files = await STORING.run(entry.open, names)
    return _body_of(media_type, entry, files, links)


def _body_of(
    media_type: str, entry: JobEntry, files: Sequence[Slice], links: Mapping[str, str]
) -> tuple[list[bytes | Slice], dict[str, str]]:
    """Return the stored files of an answer in pieces, and its fields."""
    if media_type == ZIP:
        return zip_of(entry, files)
    if media_type == HTML:
        place = {"Content-Location": links["html"]} if "html" in links else {}
        return [*files], {**report_headers(HTML), **place}
    if media_type == JSON:
        headers = report_headers(JSON)
        if "report" not in links:
            return [*files], headers
        return with_links(files[0], links), {**headers, "Content-Location": links["report"]}
    headers = artifact_headers(entry.made[ARTIFACT])
    if "report" in links:
        headers["Link"] = f'<{links["report"]}>; rel="describedby"; type="application/json"'
        headers["Content-Location"] = links["artifact"]
    return [*files], headers


def zip_of(entry: JobEntry, files: Sequence[Slice]) -> tuple[list[bytes | Slice], dict[str, str]]:
    """Return the zip of the artifact, its reports and its statement, in pieces, and its fields."""
    kept = [entry.made[name] for name in files_in_zip(entry)]
    members = [
        StoredMember(each.filename, Path(each.filename), file.size_bytes, each.crc32)
        for each, file in zip(kept, files, strict=True)
    ]
    by_name = dict(zip([each.filename for each in kept], files, strict=True))
    pieces = [
        piece if isinstance(piece, bytes) else by_name[piece.name] for piece in lay_out(members)
    ]
    name = content_disposition(f"{kept[0].filename}.zip")
    return pieces, {"Content-Type": ZIP, "Content-Disposition": name}


def with_links(report: Slice, links: Mapping[str, str]) -> list[bytes | Slice]:
    """Return a report with one more member, `links`, in pieces.

    It comes last, since JSON parsers take the last of two members with the same name.
    """
    end = b', "links": ' + json.dumps(links).encode() + b"}"
    return [report.part(0, report.size_bytes - 1), end]


def artifact_headers(artifact: KeptFile) -> dict[str, str]:
    """Return the fields of every response with an artifact."""
    return {
        "Content-Type": OCTET_STREAM,
        "Content-Disposition": content_disposition(artifact.filename),
        "Repr-Digest": repr_digest(artifact.sha256 or ""),
        "ETag": f'"{artifact.sha256}"',
        "Accept-Ranges": "bytes",
    }


def report_headers(media_type: str) -> dict[str, str]:
    """Return the fields of every response with a report, of any kind."""
    charset = "" if media_type in {JSON, SARIF} else "; charset=utf-8"
    policy = REPORT_POLICY if media_type == HTML else {}
    return {"Content-Type": f"{media_type}{charset}", "Vary": "Accept", **policy}
