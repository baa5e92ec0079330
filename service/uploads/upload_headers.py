"""Checks the headers of an upload before its body is read."""

from __future__ import annotations

from starlette.datastructures import Headers

from convlast.errors import NotACheckpointError
from service.context import Context
from service.errors import UnsupportedMediaTypeError, UploadTooLargeError
from service.headers.digests import ContentDigest
from service.headers.fields import as_list
from service.headers.filenames import named_in
from service.headers.negotiation import JSON
from service.uploads.multipart import CHECKPOINT, MAX_OVERHEAD_BYTES

MULTIPART, RAW = "multipart/form-data", "application/octet-stream"


def check_headers(headers: Headers, context: Context) -> None:
    """Refuse an upload whose headers show that it cannot be accepted.

    Raises:
        UnsupportedMediaTypeError: If the body has another media type, or a content encoding.
        UploadTooLargeError: If `Content-Length` is larger than allowed.
        StorageFullError: If `Content-Length` is larger than the free disk space or quota.
        NotACheckpointError: If `Content-Length` is 0.
        MalformedRequestError: If `Content-Digest` or `Content-Disposition` cannot be parsed.
    """
    media_type = media_type_of(headers)
    if media_type not in (MULTIPART, RAW, JSON):
        raise UnsupportedMediaTypeError(
            "This media type is not supported.",
            remedy=f"Send {MULTIPART} (curl -F {CHECKPOINT}=@model.pt) or {RAW}; {JSON} names "
            "bytes that were uploaded before, or an address.",
        )
    if (as_list(headers, "content-encoding") or "identity").strip().lower() != "identity":
        raise UnsupportedMediaTypeError(
            "Content-Encoding is not supported: send the body without encoding."
        )
    ContentDigest(as_list(headers, "content-digest"))
    named_in(headers.get("content-disposition", ""))
    length = headers.get("content-length")
    if length is None or media_type == JSON:
        return
    _check_length(int(length), MAX_OVERHEAD_BYTES if media_type == MULTIPART else 0, context)


def _check_length(length: int, overhead_bytes: int, context: Context) -> None:
    max_bytes = context.settings.max_upload_bytes
    if length == 0:
        raise NotACheckpointError("The body is empty.")
    if length > max_bytes + overhead_bytes:
        raise UploadTooLargeError.beyond(max_bytes)
    least_bytes = max(length - overhead_bytes, 0)
    context.workspace.check_space(least_bytes)


def media_type_of(headers: Headers) -> str:
    """Return the media type of a body, without its parameters."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()
