from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.filenames import content_disposition, sanitise


@given(st.text())
def test_any_name_becomes_one_that_is_safe(name: str) -> None:
    """Whatever a client sends, the result is one short component of a path."""
    safe = sanitise(name)
    assert safe
    assert "/" not in safe
    assert "\\" not in safe
    assert safe.isprintable()
    assert not safe.startswith(".")
    assert len(safe.encode()) <= 180
    assert sanitise(safe) == safe


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("model.pt", "model.pt"),
        ("/etc/passwd", "passwd"),
        ("a\x00b\n.pt", "ab.pt"),
        ("modèle.pt", "modèle.pt"),
        ("$(rm -rf).pt", "_(rm -rf).pt"),
        (".hidden", "hidden"),
        ("...", "checkpoint"),
        ("x" * 300 + ".safetensors", "x" * 168 + ".safetensors"),
    ],
)
def test_names_keep_what_they_can(name: str, safe: str) -> None:
    """The stem and the extension stay as the client wrote them, where that is safe."""
    assert sanitise(name) == safe


def test_other_alphabets_travel_in_the_header() -> None:
    """A name outside ASCII has a fallback and an encoded form."""
    header = content_disposition("modèle.pt")
    assert header == "attachment; filename=\"mod_le.pt\"; filename*=UTF-8''mod%C3%A8le.pt"
    assert header.isascii()


def test_what_is_made_may_have_a_longer_name() -> None:
    """The name of an artifact is that of the upload and more, and is kept whole."""
    made = sanitise("x" * 300 + ".pt").replace(".pt", ".channels_last_3d.pt")
    assert sanitise(made, max_bytes=255) == made
