from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import NotAcceptableError
from service.headers.negotiation import HTML, JSON, MARKDOWN, OCTET_STREAM, ZIP, negotiate

OFFERS = [ZIP, JSON, OCTET_STREAM]


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, ZIP),
        ("", ZIP),
        (",", ZIP),
        (" , ,", ZIP),
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


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("text/html;level=1;q=0, text/html", HTML),
        ("text/html, text/html;level=1;q=0", HTML),
        ("text/html;level=1;q=0, */*;q=0.1", JSON),
        ("text/html;level=1, */*;q=0.1", JSON),
        ("text/html;charset=utf-8, */*;q=0.1", HTML),
        ('text/html; Charset="UTF-8", */*;q=0.1', HTML),
        ("text/html;level=1;q=0, text/html;level=2;q=0.5", HTML),
        ("text/html;q=0.5;level=1, text/markdown;q=0.2", HTML),
        ("text/html;, application/json;q=0.5", HTML),
        ('text/markdown; x="a;q=0"', MARKDOWN),
        ('text/markdown; x="a, text/html"', MARKDOWN),
        (r'text/markdown; x="\";q=0", application/json;q=0.1', MARKDOWN),
        ('text/markdown; x="a\\\\";q=0.1, application/json;q=0.2', JSON),
    ],
)
def test_parameters_are_told_apart(accept: str, chosen: str) -> None:
    """One that no answer has is of another representation; what is quoted is no weight."""
    assert negotiate(accept, [JSON, HTML, MARKDOWN]) == chosen


@given(st.text(st.characters(exclude_characters='"\\\n')))
def test_what_is_quoted_decides_nothing(text: str) -> None:
    """Whatever a parameter holds, its range and those beside it have the weights that they had."""
    for weights in ((0.2, 0.3), (0.3, 0.2)):
        ranges = zip((f'text/html;x="{text}"', JSON), weights, strict=True)
        accept = ", ".join(f"{each};q={weight}" for each, weight in ranges)
        assert negotiate(accept, [JSON, HTML]) == (JSON if weights[1] == 0.3 else HTML)
