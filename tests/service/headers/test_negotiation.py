from __future__ import annotations

import pytest

from service.errors import NotAcceptableError
from service.headers.negotiation import JSON, OCTET_STREAM, ZIP, negotiate

OFFERS = [ZIP, JSON, OCTET_STREAM]


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, ZIP),
        ("", ZIP),
        ("*/*", ZIP),
        ("application/json", JSON),
        ("APPLICATION/JSON", JSON),
        ("application/json;q=0.5, application/octet-stream;q=0.9", OCTET_STREAM),
        ("application/json, */*;q=0.1", JSON),
        ("application/zip;q=0, */*", JSON),
        ("text/html, application/*;q=0.2", ZIP),
        ("application/json;version=1;q=1, application/zip;q=0.3", JSON),
        ("application/problem+json, application/json", JSON),
        ("application/json;q=nonsense, application/zip;q=0.1", ZIP),
    ],
)
def test_the_best_offer_is_chosen(accept: str | None, chosen: str) -> None:
    """The weight of the most specific range decides, and then our order."""
    assert negotiate(accept, OFFERS) == chosen


@pytest.mark.parametrize("accept", ["text/html", "image/*", "*/*;q=0", "application/json;q=0"])
def test_what_cannot_be_answered_is_refused(accept: str) -> None:
    """If no offer is acceptable, the refusal lists the offers."""
    with pytest.raises(NotAcceptableError) as caught:
        negotiate(accept, OFFERS)
    assert caught.value.details["offers"] == OFFERS
