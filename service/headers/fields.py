"""Header fields that are lists, bounded in length."""

from __future__ import annotations

from starlette.datastructures import Headers

from service.errors import MalformedRequestError

MAX_CHARS = 8 << 10
"""Most characters of a field, in all of its lines together."""


def as_list(headers: Headers, name: str) -> str | None:
    """Return a list field; several lines are joined into one (RFC 9110, section 5.3).

    Raises:
        MalformedRequestError: If it is too long.

    >>> as_list(Headers(raw=[(b"accept", b"text/html"), (b"accept", b"*/*;q=0.1")]), "Accept")
    'text/html, */*;q=0.1'
    """
    lines = headers.getlist(name)
    if not lines:
        return None
    field = ", ".join(lines)
    if len(field) > MAX_CHARS:
        raise MalformedRequestError(
            f"The field {name} has more than {MAX_CHARS:,} bytes.",
            remedy="Send fewer members.",
        )
    return field
