"""The parts of every picture: its frame with a title, a plot within it, bars, dots, lines and text.

A picture has no `viewBox`: it would scale the text too, which nobody could read on a phone.
"""

from __future__ import annotations

from collections.abc import Iterable

from convlast.report.rendering.drawings.names import shortened
from convlast.report.rendering.markup import Markup, element

_SHORT = 16
"""The characters of a name for which a phone has room."""


def picture(title: str, *content: Markup, height: int, kind: str) -> Markup:
    """Write a picture as wide as the page.

    Args:
        title: A sentence that says what the picture shows; it stands for the picture where it
            cannot be seen.
        content: What is in it.
        height: Its height in pixels.
        kind: Its class, for the colours.
    """
    named = element("title", title)
    return element(
        "svg", named, *content, role="img", width="100%", height=str(height),
        class_=f"drawing {kind}",
    )  # fmt: skip


def framed(*content: Markup) -> Markup:
    """Put a picture, and what belongs to it, into a frame."""
    return element("div", *content, class_="card drawn")


def legend(*items: tuple[str, str], kind: str = "") -> Markup:
    """Name the colours of a picture.

    Args:
        items: The class of each colour's sample, and what it stands for.
        kind: A further class of the list.
    """
    listed = (
        element("li", element("span", class_=sample, aria_hidden="true"), words)
        for sample, words in items
    )
    return element("ul", *listed, class_=f"legend {kind}".rstrip())


def part(*content: Markup, left: float, width: float, kind: str) -> Markup:
    """Write a part of a picture; percentages inside it are of its own width."""
    return element("svg", *content, x=share(left), width=share(width), class_=kind)


def group(*content: Markup, tip: str = "", kind: str = "") -> Markup:
    """Write things that belong together, with a tip that a pointer shows."""
    tips = [element("title", tip)] if tip else []
    return element("g", *tips, *content, **({"class_": kind} if kind else {}))


def bar(left: float, right: float, top: float, height: float, kind: str) -> Markup:
    """Write a bar between two places on an axis."""
    return element(
        "rect", x=share(left), y=pixels(top), width=share(max(right - left, 0.0)),
        height=pixels(height), class_=kind,
    )  # fmt: skip


def dot(place: float, middle: float, kind: str, *, radius: float = 5) -> Markup:
    """Write a dot."""
    return element("circle", cx=share(place), cy=pixels(middle), r=pixels(radius), class_=kind)


def line(left: float, right: float, top: float, bottom: float, kind: str) -> Markup:
    """Write a line."""
    ends = {"x1": share(left), "x2": share(right), "y1": pixels(top), "y2": pixels(bottom)}
    return element("line", **ends, class_=kind)


def text(place: float, base: float, words: str, kind: str, *, anchor: str = "start") -> Markup:
    """Write words on one line; `anchor` says which part of them is at the place."""
    return element("text", words, x=share(place), y=pixels(base), text_anchor=anchor, class_=kind)


def name(base: float, words: str, kind: str) -> list[Markup]:
    """Write a name that ends at the right edge of its part, and a shorter form for a phone.

    The style shows one of them.
    """
    long, short = shortened(words), shortened(words, _SHORT)
    if long == short:
        return [text(100, base, long, kind, anchor="end")]
    return [
        text(100, base, long, f"{kind} long", anchor="end"),
        text(100, base, short, kind.replace("name", "short"), anchor="end"),
    ]


def room_for(names: Iterable[str], *, most: float) -> float:
    """Return how much of the width names need on a phone, in percent; at most this much."""
    return min(most, 4 + 2.2 * max((len(name) for name in names), default=0))


def share(percent: float) -> str:
    """Write a percentage without digits that nobody sees.

    >>> share(12.5), share(33.33333), share(0)
    ('12.5%', '33.33%', '0%')
    """
    return f"{pixels(percent)}%"


def pixels(number: float) -> str:
    """Write a length.

    >>> pixels(7), pixels(7.125)
    ('7', '7.12')
    """
    return f"{number:.2f}".rstrip("0").rstrip(".")
