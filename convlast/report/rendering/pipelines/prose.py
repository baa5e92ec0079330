"""Text from outside as Markdown that is nothing but text.

Names of tensors, and messages that contain them, come from the sender. A backslash is no defence:
GitHub and GitLab look for mentions (`@name`), references (`#1`, `!1`) and addresses in the text
that remains after the Markdown is read. They leave code alone, so whatever is not an ordinary word
becomes code.

Source: https://docs.gitlab.com/user/markdown/#gitlab-specific-references
"""

from __future__ import annotations

import re

from convlast.report.rendering.notation import cut, printable

_NUMBER = re.compile(r"\d{1,6}(?:[,.]\d{1,6}){0,9}(?:e-\d{1,3})?%?", re.ASCII)
_WORD = re.compile(r"[^\W_]{1,60}(?:[,'’/×-][^\W_]{1,60}){0,20}|[%±→×≈·–−=]")
_REFERENCE = re.compile(r"www\.|[^\W\d_]+-\d|[0-9a-f]{7,}", re.IGNORECASE)
"""What a site may make a link of although it looks like a word: a host, a ticket, a commit."""

_NUMBERED = re.compile(r"^(\d{1,9})([.)](?: |$))")
"""What would begin a list."""

_OPENING, _CLOSING = "('\"“", ")'\"”.,;:?"


def code(text: str, most_bytes: int = 160) -> str:
    r"""Write text as code, in one line and cut in the middle if it is long.

    A backtick would end the code, and a bar would end the cell of a table.

    >>> code("encoder.conv.weight"), code("`@all` | x")
    ('`encoder.conv.weight`', '`\\x60@all\\x60 \\x7c x`')
    """
    plain = printable(text).replace("`", "\\x60").replace("|", "\\x7c")
    return f"`{cut(plain, most_bytes) or 'no name'}`"


def words(text: str, most_bytes: int = 600) -> str:
    """Write a message: ordinary words as they are, and all else as code.

    >>> words("4.running_var: 1 of 32 values (at most) are beyond 65504.")
    '`4.running_var`: 1 of 32 values (at most) are beyond 65504.'
    >>> words("See https://evil.example (or load(it)), @all!")
    'See `https://evil.example` (or `load(it)`), `@all!`'
    """
    plain = cut(printable(" ".join(text.split())), most_bytes)
    written = " ".join(filter(None, map(_piece, plain.split(" "))))
    return _NUMBERED.sub(r"`\1`\2", written) or "–"


def _piece(piece: str) -> str:
    """Write what is between two spaces; the marks around it stay outside of the code."""
    core = piece.lstrip(_OPENING)
    opening, core = piece[: len(piece) - len(core)], core.rstrip(_CLOSING)
    closing = piece[len(opening) + len(core) :]
    if "(" in core and closing.startswith(")"):
        core, closing = f"{core})", closing[1:]
    core = core.strip("`")
    return f"{opening}{code(core) if core and not _is_plain(core) else core}{closing}"


def _is_plain(core: str) -> bool:
    """Say whether a piece can be nothing but a word or a number.

    >>> _is_plain("1,000.5"), _is_plain("fp16-overflow"), _is_plain("GH-1"), _is_plain("a_b")
    (True, True, False, False)
    """
    if _NUMBER.fullmatch(core):
        return True
    return _WORD.fullmatch(core) is not None and not _REFERENCE.search(core)
