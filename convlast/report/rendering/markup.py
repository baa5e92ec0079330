"""HTML that is escaped by construction: plain text goes in, and only `element` makes tags."""

from __future__ import annotations

import html

from convlast.report.rendering.notation import printable


class Markup(str):
    """Text that is HTML already; all other text is escaped when it is put into an element."""

    __slots__ = ()


def element(name: str, *content: str, **attributes: str) -> Markup:
    """Write an element with its content; an attribute `class_` is written `class`.

    >>> element("p", "1 < 2 ", element("b", "so"), class_="note")
    '<p class="note">1 &lt; 2 <b>so</b></p>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
    )
    return Markup(f"<{name}{written}>{''.join(map(escape, content))}</{name}>")


def escape(text: str) -> Markup:
    """Escape text, unless it is HTML already."""
    return text if isinstance(text, Markup) else Markup(html.escape(printable(text)))
