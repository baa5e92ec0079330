"""Which media type answers an `Accept` field (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence

from service.errors import NotAcceptableError

ZIP = "application/zip"
JSON = "application/json"
OCTET_STREAM = "application/octet-stream"


def negotiate(accept: str | None, offers: Sequence[str]) -> str:
    """Choose the offer that the client likes best; the first of equals.

    Raises:
        NotAcceptableError: If it likes none.

    >>> negotiate("application/*;q=0.5, application/json", [ZIP, JSON])
    'application/json'
    >>> negotiate(None, [ZIP, JSON])
    'application/zip'
    """
    if accept is None or not accept.strip():
        return offers[0]
    ranges = [_parse(part) for part in accept.split(",") if part.strip()]
    best = max(offers, key=lambda offer: _quality(offer, ranges))
    if _quality(best, ranges) == 0:
        raise NotAcceptableError(
            "None of the media types in Accept can be answered.",
            remedy=f"Accept one of {', '.join(offers)}.",
            offers=list(offers),
        )
    return best


def _parse(part: str) -> tuple[str, float]:
    """Split `application/json;q=0.5` into the range and its weight."""
    media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return media_range, min(max(float(value), 0.0), 1.0)
            except ValueError:
                return media_range, 0.0
    return media_range, 1.0


def _quality(offer: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Give the weight of an offer: the most specific range that matches decides."""
    weights = dict(reversed(ranges))
    for candidate in (offer, offer.split("/")[0] + "/*", "*/*"):
        if candidate in weights:
            return weights[candidate]
    return 0.0
