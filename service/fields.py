"""Fields of a request's head."""

from __future__ import annotations

from starlette.datastructures import Headers


def as_list(headers: Headers, name: str) -> str | None:
    """Give a field that is a list; what comes in several lines is one (RFC 9110, section 5.3).

    >>> as_list(Headers(raw=[(b"accept", b"text/html"), (b"accept", b"*/*;q=0.1")]), "Accept")
    'text/html, */*;q=0.1'
    """
    lines = headers.getlist(name)
    return ", ".join(lines) if lines else None
