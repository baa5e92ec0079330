"""The texts that clients of the service send: who reads each, and of which pieces it is made."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from starlette.datastructures import Headers

from service.access.keyring import share_of
from service.connection.protection import is_trusted, refuse_pages
from service.headers.digests import ContentDigest
from service.headers.fields import as_list
from service.headers.filenames import named_in, sanitise
from service.headers.negotiation import JSON, ZIP, negotiate
from service.headers.ranges import parse_range
from service.telemetry.logs import outline
from service.uploads.multipart import MAX_CONTENT_TYPE_CHARS, Multipart
from service.uploads.upload_headers import media_type_of
from tests.growing.programs import Program, again, once, program

COMBINING = ("\N{COMBINING GRAVE ACCENT}", "\N{COMBINING GRAVE ACCENT BELOW}")


def headers(**fields: str) -> Headers:
    """Give the head of a request."""
    return Headers({name.replace("_", "-"): value for name, value in fields.items()})


def read_form(text: str) -> None:
    """Read a form whose part has this head."""
    head = f"--x\r\nContent-Disposition: form-data; name={text}".encode("utf-8", "replace")
    form = Multipart("multipart/form-data; boundary=x", ["select"], lambda _: None)
    for start in range(0, len(head), 1 << 16):
        form.write(head[start : start + (1 << 16)])


READERS: dict[str, tuple[Callable[[str], object], tuple[str, ...]]] = {
    "Range": (lambda text: parse_range(text, 100), ("bytes=", " ", "\t", "0", "9", "-", ",", "x")),
    "Accept": (
        lambda text: negotiate(text, [ZIP, JSON]),
        ("*/*", "a", "/", ",", ";", "q=", "0.", "1", " "),
    ),
    "a list in several lines": (
        lambda text: as_list(Headers(raw=[(b"a", each.encode()) for each in text.split(",")]), "a"),
        ("a", ",", " "),
    ),
    "Content-Digest": (ContentDigest, ("sha-256", "=", ":", "A", "+", " ", ",", "=:AA==:")),
    "Content-Disposition": (
        named_in,
        ("attachment", ";", " ", '"', "\\", "filename", "=", "*", "0", "''", "%41", "é"),
    ),
    "a filename": (sanitise, ("a", ".", "/", "\\", " ", "\0", "é", *COMBINING)),
    "Host": (lambda text: is_trusted(text, ()), ("a", ".", ":", "[", "]", "0", "%", "@", "-")),
    "Origin": (
        lambda text: refuse_pages(headers(host="localhost", origin=text), hosts=(), origins=()),
        ("http", "://", "localhost", ":", "/"),
    ),
    "an address": (lambda text: share_of("anonymous", text), ("a", ":", ".", "0", "%", "::")),
    "Content-Type": (
        lambda text: media_type_of(headers(content_type=text)),
        ("a", "/", ";", " ", "=", '"'),
    ),
    "a boundary": (
        lambda text: Multipart(text[:MAX_CONTENT_TYPE_CHARS], [], lambda _: None),
        ("a", ";", " ", "boundary", "=", '"', "\\", "*", "0"),
    ),
    "the head of a part": (
        read_form,
        ("a", ";", " ", '"', "\\", "=", "%", "filename", "\r\n ", "\r\nA: b"),
    ),
    "a traceback": (outline, ('  File "', '"', "a", ", line ", "1", ", in ", " ", "\n", "Error")),
}
"""Each with the pieces of its grammar; the first one begins it."""


def drawn(pieces: Sequence[str], lot: random.Random) -> Program:
    """Draw a text: runs of some pieces, and others between them."""

    def some() -> bytes:
        return "".join(lot.choice(pieces) for _ in range(lot.randint(1, 3))).encode()

    start = lot.choice([b"", pieces[0].encode()])
    runs = [part for _ in range(lot.randint(1, 3)) for part in (again(some()), once(some()))]
    return program([once(start), *runs, *lot.choice([[], [once(b"!")]])])
