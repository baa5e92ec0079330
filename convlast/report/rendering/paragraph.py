"""Text of a terminal that wraps between words alone: a name or a line of code is never broken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions
from rich.text import Text

from convlast.report.rendering.notation import printable

_LEAST_WIDTH = 30
"""The least columns beside a label; in a narrower terminal the text stands below it."""

_INDENT = 2


@dataclass(frozen=True)
class Paragraph:
    """A text beside its label, of which all lines begin in the same column.

    Attributes:
        label: What stands before the first line.
        text: The text.
        width: The columns of the label.
    """

    label: Text
    text: Text
    width: int

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> Iterator[Text]:
        width, lead = self.width, self.label.copy()
        if options.max_width - width < _LEAST_WIDTH and self.label.plain.strip():
            yield _unbroken(lead)
            width, lead = _INDENT, Text()
        lead.pad_right(max(width - lead.cell_len, 0))
        room = max(options.max_width - width, 1)
        for line in _wrapped(self.text, room):
            yield _unbroken(Text.assemble(lead, line))
            lead = Text(" " * width)


def _wrapped(text: Text, room: int) -> Iterator[Text]:
    """Yield a text in lines. rich would break a long word, or cut it off."""
    line = Text()
    for word in text.split(" "):
        if line and line.cell_len + 1 + word.cell_len > room:
            yield line
            line = Text()
        line = Text.assemble(line, " ", word) if line else word
    yield line


def below(text: Text, indent: int = _INDENT) -> Paragraph:
    """Indent a text."""
    return Paragraph(Text(), text, indent)


def plain(text: str, style: str = "") -> Text:
    """Write text that may come from a file: it cannot act on the terminal."""
    return Text(printable(text), style)


def code(line: str) -> Text:
    """Write a line of code, which can be copied in one piece."""
    return _unbroken(plain(f"  {line}", "cyan"))


def _unbroken(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ignore"
    return text
