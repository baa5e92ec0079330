from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import MalformedRequestError
from service.headers.filenames import content_disposition, named_in, sanitise


@given(st.text())
def test_any_name_becomes_one_that_is_safe(name: str) -> None:
    """Any name becomes one short component of a path."""
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
    """The safe parts of the stem and the extension are kept."""
    assert sanitise(name) == safe


def test_other_alphabets_travel_in_the_header() -> None:
    """A name outside ASCII has a fallback and an encoded form."""
    header = content_disposition("modèle.pt")
    assert header == "attachment; filename=\"mod_le.pt\"; filename*=UTF-8''mod%C3%A8le.pt"
    assert header.isascii()


def test_what_is_made_may_have_a_longer_name() -> None:
    """The name of an artifact may be longer than that of an upload."""
    made = sanitise("x" * 300 + ".pt").replace(".pt", ".channels_last_3d.pt")
    assert sanitise(made, max_bytes=255) == made


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("", None),
        ("attachment", None),
        ('attachment; filename="m.pt"', "m.pt"),
        ("filename=m.pt", "m.pt"),
        ('attachment; FileName="a\\"b.pt"', 'a"b.pt'),
        ("attachment; filename=\"m.pt\"; filename*=UTF-8''mod%C3%A8le.pt", "modèle.pt"),
        ("attachment; filename*=UTF-8''mod%C3%A8le.pt; filename=\"m.pt\"", "modèle.pt"),
        ("attachment; filename*=ISO-8859-1''mod%E8le.pt", "modèle.pt"),
        ('attachment; filename="modèle.pt"', "modèle.pt"),
        ('attachment; filename="modèle.pt"'.encode().decode("latin-1"), "modèle.pt"),
    ],
)
def test_a_field_names_a_body(field: str, name: str | None) -> None:
    """A name is read whether it is plain, encoded, both, UTF-8 or Latin-1."""
    assert named_in(field) == name


@given(st.text(st.characters(max_codepoint=255, exclude_characters="\r\n")))
def test_a_hostile_field_is_read_or_refused(text: str) -> None:
    """A hostile field gives a name or a MalformedRequestError, and no other error."""
    for field in (text, f"attachment; filename{text}", f"attachment; filename*={text}"):
        try:
            named_in(field)
        except MalformedRequestError:
            continue


def test_parts_of_a_name_without_order_are_refused() -> None:
    """Parts of a name that `email` cannot sort, which raises a TypeError, are refused."""
    with pytest.raises(MalformedRequestError):
        named_in("attachment; filename*=a; filename*1=b")


@given(st.text(min_size=1).map(sanitise))
def test_what_is_written_is_read(name: str) -> None:
    """`named_in` reads the field that `content_disposition` writes."""
    assert named_in(content_disposition(name)) == name
