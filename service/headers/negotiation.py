"""Which media type answers an `Accept` field (RFC 9110, section 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from service.errors import NotAcceptableError

ZIP = "application/zip"
JSON = "application/json"
OCTET_STREAM = "application/octet-stream"
HTML = "text/html"
MARKDOWN = "text/markdown"
XML = "application/xml"
SARIF = "application/sarif+json"

_WEIGHT = re.compile(r"[0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9}")


def negotiate(accept: str | None, offers: Sequence[str]) -> str:
    """Return the offer that the client prefers, and the first one among equals.

    Raises:
        NotAcceptableError: If the client accepts none.

    >>> negotiate("application/*;q=0.5, application/json", [ZIP, JSON])
    'application/json'
    >>> negotiate(None, [ZIP, JSON])
    'application/zip'
    """
    if accept is None or not accept.strip():
        return offers[0]
    ranges = [_parse(part) for part in accept.split(",") if part.strip()]
    weights = dict(reversed(ranges))  # the first of equal ranges counts
    best = max(offers, key=lambda offer: _quality(offer, weights))
    if _quality(best, weights) == 0:
        raise NotAcceptableError(
            "None of the media types in Accept is available.",
            remedy=f"Accept one of {', '.join(offers)}.",
            offers=list(offers),
        )
    return best


def _parse(part: str) -> tuple[str, float]:
    """Split a part such as `application/json;q=0.5` into its media range and its weight."""
    media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return media_range, _weight(value.strip())
    return media_range, 1.0


def _weight(text: str) -> float:
    """Parse a weight; an invalid one, such as `nan`, which cannot be compared, counts as 0.

    >>> _weight("0.5"), _weight("nan"), _weight("7")
    (0.5, 0.0, 1.0)
    """
    return min(float(text), 1.0) if _WEIGHT.fullmatch(text) else 0.0


def _quality(offer: str, weights: Mapping[str, float]) -> float:
    """Return the weight of an offer, by the most specific range that matches it."""
    for candidate in (offer, offer.split("/")[0] + "/*", "*/*"):
        if candidate in weights:
            return weights[candidate]
    return 0.0
