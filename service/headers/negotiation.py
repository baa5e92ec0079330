"""Which media type answers an `Accept` field (RFC 9110, section 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from service.errors import NotAcceptableError

ZIP = "application/zip"
JSON = "application/json"
OCTET_STREAM = "application/octet-stream"

_WEIGHT = re.compile(r"[0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9}")


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
    weights = dict(reversed(ranges))  # of equal ranges the first one counts
    best = max(offers, key=lambda offer: _quality(offer, weights))
    if _quality(best, weights) == 0:
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
            return media_range, _weight(value.strip())
    return media_range, 1.0


def _weight(text: str) -> float:
    """Read a weight; what is none, such as `nan`, which is in no order with others, weighs nothing.

    >>> _weight("0.5"), _weight("nan"), _weight("7")
    (0.5, 0.0, 1.0)
    """
    return min(float(text), 1.0) if _WEIGHT.fullmatch(text) else 0.0


def _quality(offer: str, weights: Mapping[str, float]) -> float:
    """Give the weight of an offer: the most specific range that matches decides."""
    for candidate in (offer, offer.split("/")[0] + "/*", "*/*"):
        if candidate in weights:
            return weights[candidate]
    return 0.0
