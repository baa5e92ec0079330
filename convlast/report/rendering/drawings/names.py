"""Names in a picture, where there is room for few characters."""

from __future__ import annotations

from convlast.report.rendering import notation

MOST = 44
"""The most characters of a name in a picture."""


def shortened(name: str, most: int = MOST) -> str:
    """Return the end of a name, which tells a tensor from its neighbours.

    >>> shortened("encoder.stages.0.convs.0.norm.weight", 12)
    '…norm.weight'
    """
    text = notation.printable(name[-4 * most :])
    return text if len(name) <= most >= len(text) else f"…{text[1 - most :]}"
