"""What the headers of an upload say, and what is refused by them before its body is read."""

from __future__ import annotations

from starlette.datastructures import Headers

from convlast.errors import NotACheckpointError
from service.context import Context
from service.errors import UnsupportedMediaTypeError, UploadTooLargeError
from service.headers.digests import ContentDigest
from service.headers.fields import as_list
from service.headers.filenames import named_in
from service.uploads.multipart import CHECKPOINT, MAX_OVERHEAD_BYTES

MULTIPART, RAW = "multipart/form-data", "application/octet-stream"


def check_headers(headers: Headers, context: Context) -> None:
    """Refuse what can be refused before the body is read.

    Raises:
        UnsupportedMediaTypeError: If the body is of another type, or encoded.
        UploadTooLargeError: If it says that it is too large.
        StorageFullError: If it says that it is larger than the room on disk, or the room for work.
        NotACheckpointError: If it says that it is empty.
        MalformedRequestError: If its `Content-Digest` or `Content-Disposition` cannot be read.
    """
    media_type = media_type_of(headers)
    if media_type not in (MULTIPART, RAW):
        raise UnsupportedMediaTypeError(
            "A body of this type is not read here.",
            remedy=f"Send {MULTIPART} (curl -F {CHECKPOINT}=@model.pt) or {RAW}.",
        )
    if (as_list(headers, "content-encoding") or "identity").strip().lower() != "identity":
        raise UnsupportedMediaTypeError("An encoded body is not read here: send it as it is.")
    ContentDigest(as_list(headers, "content-digest"))
    named_in(headers.get("content-disposition", ""))
    length = headers.get("content-length")
    if length is None:
        return
    _check_length(int(length), MAX_OVERHEAD_BYTES if media_type == MULTIPART else 0, context)


def _check_length(length: int, overhead_bytes: int, context: Context) -> None:
    max_bytes = context.settings.max_upload_bytes
    if length == 0:
        raise NotACheckpointError("The body is empty.")
    if length > max_bytes + overhead_bytes:
        raise too_large(max_bytes)
    least_bytes = max(length - overhead_bytes, 0)
    context.workspace.check_space(least_bytes)


def media_type_of(headers: Headers) -> str:
    """Return the type of a body, without its parameters."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def too_large(max_bytes: int) -> UploadTooLargeError:
    """Return the error for a checkpoint beyond the limit."""
    return UploadTooLargeError(
        f"The checkpoint has more than {max_bytes:,} bytes.",
        remedy="Raise CONVLAST_MAX_UPLOAD_BYTES where larger ones are meant to come.",
        limit="max_upload_bytes",
        allowed=max_bytes,
    )
