"""Which media type answers an `Accept` field (RFC 9110, section 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from operator import itemgetter

from service.errors import NotAcceptableError

ZIP = "application/zip"
JSON = "application/json"
OCTET_STREAM = "application/octet-stream"
HTML = "text/html"
MARKDOWN = "text/markdown"
XML = "application/xml"
SARIF = "application/sarif+json"

_WEIGHT = re.compile(r"[0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9}")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"?')
_SEPARATORS = str.maketrans(",;", "__")
_OURS = {"charset": "utf-8"}
"""The parameter that the answers may have."""


def negotiate(accept: str | None, offers: Sequence[str]) -> str:
    """Return the offer that the client prefers, and the first one among equals.

    Raises:
        NotAcceptableError: If the client accepts none.

    >>> negotiate("application/*;q=0.5, application/json", [ZIP, JSON])
    'application/json'
    >>> negotiate(None, [ZIP, JSON])
    'application/zip'
    """
    # What is quoted matters to nobody here, but a comma in it would part two ranges.
    plain = _QUOTED.sub(lambda quoted: quoted[0].translate(_SEPARATORS), accept or "")
    ranges = [_parse(part) for part in plain.split(",") if part.strip()]
    if not ranges:
        return offers[0]
    weights = dict(sorted(ranges, key=itemgetter(1)))  # the largest of equal ranges counts
    best = max(offers, key=lambda offer: _quality(offer, weights))
    if _quality(best, weights) == 0:
        raise NotAcceptableError(
            "None of the media types in Accept is available.",
            remedy=f"Accept one of {', '.join(offers)}.",
            offers=list(offers),
        )
    return best


def _parse(part: str) -> tuple[str, float]:
    """Split a part such as `application/json;q=0.5` into its media range and its weight.

    A range ends with a semicolon if it has parameters that no answer has.

    >>> _parse("text/html; charset=UTF-8; q=0.5"), _parse("text/html;level=1")
    (('text/html', 0.5), ('text/html;', 1.0))
    """
    media_range, *rest = (piece.strip().lower() for piece in part.split(";"))
    pairs = [each.partition("=") for each in rest if each]
    parameters = [(name.strip(), value.strip()) for name, _, value in pairs]
    weights = [_weight(value) for name, value in parameters if name == "q"]
    others = {name: value.strip('"') for name, value in parameters if name != "q"}
    end = "" if others.items() <= _OURS.items() else ";"
    return f"{media_range}{end}", weights[0] if weights else 1.0


def _weight(text: str) -> float:
    """Parse a weight; an invalid one, such as `nan`, which cannot be compared, counts as 0.

    >>> _weight("0.5"), _weight("nan"), _weight("7")
    (0.5, 0.0, 1.0)
    """
    return min(float(text), 1.0) if _WEIGHT.fullmatch(text) else 0.0


def _quality(offer: str, weights: Mapping[str, float]) -> float:
    """Return the weight of an offer, by the most specific range that matches it.

    A range with parameters that no answer has matches none. It counts only if no other range does,
    since most clients that send `application/json;version=1` can read JSON.
    """
    ranges = (offer, offer.split("/")[0] + "/*", "*/*")
    for candidate in (*ranges, *(f"{each};" for each in ranges)):
        if candidate in weights:
            return weights[candidate]
    return 0.0
