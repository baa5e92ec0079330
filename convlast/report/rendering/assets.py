"""The style and the script of every page, and how a content security policy names them.

A page contains both, and allows no others: its policy names each by its hash.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from importlib.resources.abc import Traversable

from convlast.report.rendering.markup import Markup, element

_FOLDER = files("convlast.report.rendering")
_FIRST = ("theme.css", "report.css")
"""These styles come before the others, which follow in the order of their names."""


def source_of(text: str) -> str:
    """Return how a content security policy names an inline style or script.

    >>> source_of("")
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
    """
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def page(title: str, *content: Markup) -> str:
    """Write a page with this content in its body."""
    policy = f"default-src 'none'; style-src {source_of(STYLE)}; script-src {source_of(SCRIPT)}"
    head = element(
        "head",
        Markup('<meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="referrer" content="no-referrer">'),
        element("title", title),
        element("style", Markup(STYLE)),
        element("script", Markup(SCRIPT)),
    )
    written = element("html", head, element("body", *content), lang="en")
    return f"<!doctype html>\n{written}\n"


def _text(file: Traversable) -> str:
    return file.read_text(encoding="utf-8")


def _styles() -> list[Traversable]:
    found = {each.name: each for each in _FOLDER.iterdir() if each.name.endswith(".css")}
    return [found[name] for name in (*_FIRST, *sorted(found.keys() - set(_FIRST)))]


THEME = _text(_FOLDER / "theme.css")
"""The colours and the base type, which the pages of the service share."""

STYLE = "".join(map(_text, _styles()))
"""The whole style of a report, with the theme."""

SCRIPT = _text(_FOLDER / "report.js")
"""The script of a report. A page is whole without it."""
