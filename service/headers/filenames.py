"""Names of files, as clients give them and as fields of HTTP carry them."""

from __future__ import annotations

import re
import unicodedata
from email.message import Message
from email.utils import collapse_rfc2231_value
from urllib.parse import quote

from service.errors import MalformedRequestError

MAX_DISPOSITION_BYTES = 2048
"""Bytes of a `Content-Disposition`, and of any line of the head of a part of a form."""

# A file system takes 255; the artifact's name is longer than the upload's.
MAX_BYTES, MAX_UPLOAD_BYTES = 255, 180
_MAX_CHARS = 512
"""Of either end of a name that is looked at."""

_NAMELESS = "checkpoint"
# Separators, controls, and what a shell or another file system gives a meaning.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"|?*;&$`\'\\/]')


def sanitise(filename: str, *, max_bytes: int = MAX_UPLOAD_BYTES) -> str:
    r"""Reduce a name to a safe last component of a path; a longer one loses the end of its stem.

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

    To compose characters takes as long as the square of the accents that follow one another.
    """
    if len(name) <= 2 * _MAX_CHARS:
        return name
    return name[:_MAX_CHARS] + name[-_MAX_CHARS:]


def _shorten(name: str, max_bytes: int) -> str:
    """Cut the stem of a name that is too long; the extension stays where it is one."""
    if len(name.encode()) <= max_bytes:
        return name
    stem, dot, extension = name.rpartition(".")
    end = (dot + extension).encode() if stem and len(extension.encode()) < 20 else b""
    return (name.encode()[: max_bytes - len(end)] + end).decode(errors="ignore")


def content_disposition(filename: str) -> str:
    """Write the field that makes a client save a body under this name (RFC 6266).

    >>> content_disposition("model.pt")
    'attachment; filename="model.pt"'
    """
    if filename.isascii():
        return f'attachment; filename="{filename}"'
    fallback = filename.encode("ascii", "replace").decode().replace("?", "_")
    return f"attachment; filename=\"{fallback}\"; filename*=UTF-8''{quote(filename, safe='')}"


def named_in(disposition: str) -> str | None:
    r"""Read the name that a field `Content-Disposition` gives a body; none where it gives none.

    Of two names the extended one counts (RFC 6266, section 4.3). Bytes beyond ASCII are Latin-1 by
    the letter of HTTP, and nearly always UTF-8, as curl sends them.

    Raises:
        MalformedRequestError: If it cannot be read.

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
        # A name with an encoding is a triple.
        names.sort(key=lambda value: isinstance(value, str))
        return collapse_rfc2231_value(names[0]).strip() if names else None
    # `email` meets a hostile field with any of these.
    except (TypeError, ValueError, LookupError):
        raise MalformedRequestError("The Content-Disposition cannot be read.") from None


def _as_utf_8(field: str) -> str:
    """Read a field, which was read as Latin-1, as UTF-8 if it can be."""
    try:
        return field.encode("latin-1").decode()
    except UnicodeError:
        return field
