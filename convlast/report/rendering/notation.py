"""How single values are written, in a terminal and on a page."""

from __future__ import annotations

from collections.abc import Sequence


def printable(text: str) -> str:
    r"""Escape characters that cannot be printed, or that would control a terminal.

    Names of files and of tensors come from the sender: they may contain escape sequences, newlines,
    or marks that change the direction of writing.

    >>> printable("weight\x1b[2J")
    'weight\\x1b[2J'
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def size(count: int) -> str:
    """Write a number of bytes in a suitable decimal unit.

    >>> size(999), size(33_166_000)
    ('999 B', '33.2 MB')
    """
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


def shape(extents: Sequence[int]) -> str:
    """Write a shape.

    >>> shape([32, 1, 3, 3, 3])
    '32×1×3×3×3'
    """
    return "×".join(map(str, extents))


def strides(elements: Sequence[int]) -> str:
    """Write strides without spaces, so that they are not broken across lines.

    >>> strides([27, 1, 9, 3, 1])
    '(27,1,9,3,1)'
    """
    return f"({','.join(map(str, elements))})"


def magnitude(value: float | None) -> str:
    """Write an error or an extreme value; None means that it is not finite.

    >>> magnitude(0.0), magnitude(0.00031), magnitude(None)
    ('0', '3.1e-04', 'not finite')
    """
    if value is None:
        return "not finite"
    return "0" if value == 0 else f"{value:.1e}"


def times(factor: float | None) -> str:
    """Write a factor; None means that there is none.

    >>> times(12.34), times(None)
    ('12.3 ×', '–')
    """
    return "–" if factor is None else f"{factor:,.1f} ×"


def duration(seconds: float) -> str:
    """Write a time in a suitable unit.

    >>> duration(0.00042), duration(0.042), duration(4.2)
    ('420 µs', '42.0 ms', '4.20 s')
    """
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def count(number: int, noun: str) -> str:
    """Write a number with its noun.

    >>> count(1, "layer"), count(3000, "layer")
    ('1 layer', '3,000 layers')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
