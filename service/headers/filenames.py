"""File names from clients, and in header fields."""

from __future__ import annotations

import re
import unicodedata
from email.message import Message
from email.utils import collapse_rfc2231_value
from urllib.parse import quote

from service.errors import MalformedRequestError

MAX_DISPOSITION_BYTES = 2048
"""Most bytes of a `Content-Disposition`, and of each header line of a form part."""

# File systems allow 255 bytes; the artifact's name is longer than the upload's.
MAX_BYTES, MAX_UPLOAD_BYTES = 255, 180
_MAX_CHARS = 512
"""Most characters that are kept at each end of a name."""

_NAMELESS = "checkpoint"
# Separators, control characters, and characters that are special to a shell or a file system.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"|?*;&$`\'\\/]')


def sanitise(filename: str, *, max_bytes: int = MAX_UPLOAD_BYTES) -> str:
    r"""Return the last component of a path as a safe file name; the stem of a long one is cut.

    >>> sanitise("../../etc/passwd")
    'passwd'
    >>> sanitise("C:\\models\\r3d 18.pt")
    'r3d 18.pt'
    >>> sanitise("..")
    'checkpoint'
    """
    last = _bounded(re.split(r"[/\\]", filename)[-1])
    composed = unicodedata.normalize("NFC", last)
    printable = "".join(each for each in composed if each.isprintable())
    name = _UNSAFE.sub("_", printable).strip(" .")
    return _shorten(name, max_bytes) or _NAMELESS


def _bounded(name: str) -> str:
    """Cut the middle out of a name that is far too long.

    Unicode normalisation takes quadratic time in the number of consecutive accents.
    """
    if len(name) <= 2 * _MAX_CHARS:
        return name
    return name[:_MAX_CHARS] + name[-_MAX_CHARS:]


def _shorten(name: str, max_bytes: int) -> str:
    """Cut the stem of a name that is too long; a plausible extension is kept."""
    if len(name.encode()) <= max_bytes:
        return name
    stem, dot, extension = name.rpartition(".")
    end = (dot + extension).encode() if stem and len(extension.encode()) < 20 else b""
    return (name.encode()[: max_bytes - len(end)] + end).decode(errors="ignore")


def content_disposition(filename: str) -> str:
    """Return the `Content-Disposition` for a download with this name (RFC 6266).

    >>> content_disposition("model.pt")
    'attachment; filename="model.pt"'
    """
    if filename.isascii():
        return f'attachment; filename="{filename}"'
    fallback = filename.encode("ascii", "replace").decode().replace("?", "_")
    return f"attachment; filename=\"{fallback}\"; filename*=UTF-8''{quote(filename, safe='')}"


def named_in(disposition: str) -> str | None:
    r"""Return the file name in a `Content-Disposition`, or none if there is none.

    `filename*` takes precedence over `filename` (RFC 6266, section 4.3). By the standard, bytes
    beyond ASCII are Latin-1; in practice they are nearly always UTF-8, as curl sends them.

    Raises:
        MalformedRequestError: If the field cannot be parsed.

    >>> named_in("attachment; filename=\"mod_le.pt\"; filename*=UTF-8''mod%C3%A8le.pt")
    'modèle.pt'
    """
    if len(disposition) > MAX_DISPOSITION_BYTES:
        raise MalformedRequestError(
            f"The Content-Disposition has more than {MAX_DISPOSITION_BYTES:,} bytes."
        )
    message = Message()
    message["content-disposition"] = _as_utf_8(disposition)
    try:
        parameters = message.get_params([], "content-disposition")
        names = [value for key, value in parameters if key.lower() == "filename"]
        # `email` returns a name with an encoding as a triple.
        names.sort(key=lambda value: isinstance(value, str))
        return collapse_rfc2231_value(names[0]).strip() if names else None
    # `email` raises any of these for a hostile field.
    except (TypeError, ValueError, LookupError):
        raise MalformedRequestError("The Content-Disposition cannot be read.") from None


def _as_utf_8(field: str) -> str:
    """Decode a field as UTF-8, if it can be; Starlette has decoded it as Latin-1."""
    try:
        return field.encode("latin-1").decode()
    except UnicodeError:
        return field
