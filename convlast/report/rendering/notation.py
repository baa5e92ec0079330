"""How single values are written, in a terminal and on a page."""

from __future__ import annotations

import math
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


def cut(text: str, most_bytes: int) -> str:
    """Leave the middle out of a long text, since both ends of a name tell something.

    >>> cut("abcdefghij", 8)
    'ab…ij'
    """
    encoded = text.encode(errors="backslashreplace")
    if len(encoded) <= most_bytes:
        return text
    half = (most_bytes - len("…".encode())) // 2
    ends = encoded[:half], encoded[-half:]
    return "…".join(end.decode(errors="ignore") for end in ends)


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
    """Write an error or an extreme value in three digits; None means that it is not finite.

    >>> magnitude(0.0), magnitude(0.000312), magnitude(0.0312), magnitude(70000.0), magnitude(None)
    ('0', '3.12e-4', '0.0312', '70,000', 'not finite')
    """
    if value is None:
        return "not finite"
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e6:
        digits, _, exponent = f"{value:.2e}".partition("e")
        return f"{_without_zeros(digits)}e{int(exponent)}"
    places = max(2 - math.floor(math.log10(abs(value))), 0)
    return _without_zeros(f"{value:,.{places}f}")


def _without_zeros(digits: str) -> str:
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def times(factor: float | None) -> str:
    """Write a factor in three digits; None means that there is none.

    >>> times(12.34), times(1_131_054.9), times(None)
    ('12.3 ×', '1.13 million ×', '–')
    """
    if factor is None:
        return "–"
    if factor >= 1e9:
        return "over a billion ×"
    if factor >= 1e6:
        return f"{factor / 1e6:,.3g} million ×"
    return f"{factor:,.0f} ×" if factor >= 100 else f"{factor:.3g} ×"


def share(part: float) -> str:
    """Write a share in percent; a small one is not written as none.

    >>> share(0.0), share(0.000002), share(0.256), share(0.9999), share(1.0)
    ('0 %', 'fewer than 0.1 %', '25.6 %', 'more than 99.9 %', '100 %')
    """
    if 0 < part < 0.001:
        return "fewer than 0.1 %"
    if 0.999 < part < 1:
        return "more than 99.9 %"
    return f"{part * 100:.3g} %"


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
