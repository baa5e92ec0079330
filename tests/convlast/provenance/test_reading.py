from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convlast.errors import StatementError
from convlast.options import Limits
from convlast.provenance import reading
from convlast.provenance.envelope import MOST_SIGNATURES, STATEMENT, Envelope, Signature
from convlast.provenance.reading import MOST_PARTS, parse, read_file
from convlast.provenance.statement import TENSORS, text_of
from tests.convlast.provenance.statements import on_files

FINE = on_files({"m.pt": b"weights"})
FILE: dict[str, Any] = FINE["subject"][0]
ENVELOPE = {
    "payloadType": STATEMENT,
    "payload": base64.b64encode(text_of(FINE)).decode(),
    "signatures": [{"keyid": "", "sig": "AAAA"}],
}
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)


def read(folder: Path, members: Any) -> bytes | Envelope:
    """Write something as JSON, and read it as a statement."""
    path = folder / "statement.json"
    path.write_text(members if isinstance(members, str) else json.dumps(members))
    return read_file(path)


def test_a_statement_is_told_from_an_envelope(tmp_path: Path) -> None:
    """Both may be given, and lead to the same statement."""
    assert read(tmp_path, FINE) == json.dumps(FINE).encode()
    found = read(tmp_path, ENVELOPE)
    assert isinstance(found, Envelope)
    assert parse(found.payload) == parse(text_of(FINE))


@given(
    payload=st.binary(min_size=1, max_size=99),
    values=st.lists(st.binary(min_size=1), min_size=1, max_size=MOST_SIGNATURES),
)
def test_an_envelope_comes_back(payload: bytes, values: list[bytes]) -> None:
    """Written and read again it is the same, whatever is in it."""
    envelope = Envelope(payload, tuple(Signature("id", value[:99]) for value in values))
    assert Envelope.of(json.loads(envelope.text())) == envelope


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[]",
        '"text"',
        "null",
        '{"_type": 1, "_type": 2}',
        '{"a": {"b": 1, "b": 1}}',
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": "\\ud800"}',
        '{"\\udfff": 1}',
        '{"a": ' + "9" * 5000 + "}",
        '{"a": ' + "[" * 40 + "]" * 40 + "}",
        '{"a": ' + "[" * 200_000 + "]" * 200_000 + "}",
        '{"a": ' * 200_000,
        "\ufeff{}",
        "{} {}",
    ],
    ids=lambda text: f"{text[:12]}-{len(text)}",
)
def test_json_that_two_programs_could_read_differently_is_refused(
    tmp_path: Path, text: str
) -> None:
    """Twins, numbers beyond JSON, half characters, depth, or no JSON at all."""
    with pytest.raises(StatementError):
        read(tmp_path, text)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """A statement is UTF-8."""
    path = tmp_path / "statement.json"
    for content in (b"\xff{}", json.dumps(FINE).encode("utf-16")):
        path.write_bytes(content)
        with pytest.raises(StatementError):
            read_file(path)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    """Only as much of it is read as a statement may have."""
    path = tmp_path / "statement.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole
    with pytest.raises(StatementError, match="larger than a statement"):
        read_file(path)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("payloadType", "application/json"),
        ("payloadType", None),
        ("more", "that nobody has signed"),
        ("payload", None),
        ("payload", ""),
        ("payload", 1),
        ("payload", "AAA"),
        ("payload", "AAAA\n"),
        ("payload", " AAAA"),
        ("payload", "AA==AAAA"),
        ("payload", "AB=="),  # the same byte as AA==
        ("payload", "A-+A"),
        ("payload", "A*AA"),
        ("payload", "ÄAAA"),
        ("signatures", None),
        ("signatures", {}),
        ("signatures", []),
        ("signatures", [{"sig": "AAAA"}] * (MOST_SIGNATURES + 1)),
        ("signatures", ["AAAA"]),
        ("signatures", [{"keyid": 1, "sig": "AAAA"}]),
        ("signatures", [{"keyid": ""}]),
        ("signatures", [{"sig": "AAAA", "cert": "AAAA"}]),
        ("signatures", [{"sig": "A" * 2000}]),
        ("signatures", [{"sig": "A\tAA"}]),
    ],
)
def test_a_damaged_envelope_is_refused(tmp_path: Path, member: str, value: object) -> None:
    """Each member has one form; base64 has one text for the same bytes in each alphabet."""
    with pytest.raises(StatementError):
        read(tmp_path, {**ENVELOPE, member: value})


def test_both_alphabets_of_base64_are_read(tmp_path: Path) -> None:
    """DSSE allows the standard and the URL-safe one, and a signature without the id of its key."""
    content = bytes(range(256))
    for encoded in (base64.b64encode(content), base64.urlsafe_b64encode(content)):
        members = {
            **ENVELOPE,
            "payload": encoded.decode(),
            "signatures": [{"sig": encoded.decode()}],
        }
        assert read(tmp_path, members) == Envelope(content, (Signature("", content),))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("_type", "https://in-toto.io/Statement/v0.1"),
        ("_type", None),
        ("predicateType", "https://slsa.dev/provenance/v0.2"),
        ("predicate", None),
        ("predicate", {}),
        ("predicate", {"buildDefinition": []}),
        ("predicate", {"buildDefinition": {"resolvedDependencies": {}}}),
        ("predicate", {"buildDefinition": {"resolvedDependencies": ["m.pt"]}}),
        ("subject", None),
        ("subject", []),
        ("subject", {}),
        ("subject", ["m.pt"]),
        ("subject", [{"name": "m.pt"}]),
        ("subject", [{"name": "m.pt", "digest": {"md5": "0" * 32}}]),
        ("subject", [{"name": "m.pt", "digest": {"sha256": "0" * 63}}]),
        ("subject", [{"name": "m.pt", "digest": {"sha256": "A" * 64}}]),
        ("subject", [{"name": "m.pt", "digest": {"sha256": "0" * 64 + "\n"}}]),
        ("subject", [{"name": "m.pt", "digest": "0" * 64}]),
        ("subject", [{"name": 1, "digest": {"sha256": "0" * 64}}]),
        ("subject", [{"name": "", "digest": {"sha256": "0" * 64}}]),
        ("subject", [{"digest": {"sha256": "0" * 64}}]),
        ("subject", [*FINE["subject"], *FINE["subject"]]),
    ],
)
def test_a_damaged_statement_is_refused(member: str, value: object) -> None:
    """Its types are ours, and each subject has one name and one digest."""
    with pytest.raises(StatementError):
        parse(text_of({**FINE, member: value}))


@pytest.mark.parametrize("piece", ["{},", "[],", '{"":1},', "1,", '"",'])
def test_a_file_of_many_parts_is_refused_unparsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: str
) -> None:
    """Objects need far more memory than their text; so the parts are counted before."""
    monkeypatch.setattr(json, "loads", None)
    with pytest.raises(StatementError, match="more parts"):
        read(tmp_path, f"[{piece * MOST_PARTS}0]")


def test_the_largest_folder_has_few_enough_parts() -> None:
    """Each of its files is a subject and a dependency, with an address and a root."""
    file = FILE | {"annotations": {TENSORS: "0" * 64}}
    text = json.dumps({**FINE, "subject": [file], "predicate": [file | {"uri": "s3://b/k,[{"}]})
    assert sum(map(text.count, ",[{")) * Limits().max_files < MOST_PARTS


def test_members_that_are_not_known_are_passed_over() -> None:
    """As in-toto demands of a statement; later versions may add some."""
    assert parse(text_of({**FINE, "more": {"a": 1}})) == parse(text_of(FINE))


def test_there_is_a_most_of_subjects(monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement cannot be about any number of files."""
    monkeypatch.setattr(reading, "MOST_SUBJECTS", 2)
    parse(text_of(on_files({"a": b"", "b": b""})))
    with pytest.raises(StatementError, match="subjects"):
        parse(text_of(on_files({"a": b"", "b": b"", "c": b""})))


@given(JSONS, st.sampled_from(["_type", "subject", "predicateType", "predicate", "payload"]))
def test_whatever_a_member_is_the_error_is_one_of_the_tree(value: Any, member: str) -> None:
    """Nothing that is not expected escapes, whatever JSON has been put somewhere."""
    for members in ({**FINE, member: value}, {**ENVELOPE, member: value}, {member: value}):
        try:
            parse(json.dumps(members).encode())
            Envelope.of(members)
        except StatementError:
            pass
