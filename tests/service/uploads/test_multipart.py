from __future__ import annotations

import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from convlast.errors import OptionError
from service.errors import MalformedRequestError
from service.uploads import multipart
from service.uploads.multipart import Multipart

TYPE = "multipart/form-data; boundary=edge"
FILE = b'--edge\r\nContent-Disposition: form-data; name="checkpoint"; filename="m.pt"\r\n\r\n'


def field(name: str, value: str) -> bytes:
    """Return a part with a field."""
    return f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


def read(body: bytes, step: int = 1 << 20) -> tuple[Multipart, bytes]:
    """Parse a body, `step` bytes at a time."""
    kept = io.BytesIO()
    parts = Multipart(TYPE, ["select", "smoke"], lambda data: void(kept.write(data)))
    for start in range(0, len(body), step):
        parts.write(body[start : start + step])
    parts.close()
    return parts, kept.getvalue()


def void(_: object) -> None:
    """Return nothing."""


@given(content=st.binary(max_size=5000), step=st.integers(1, 700))
@example(content=b"-", step=1)
@example(content=b"--", step=2)
@example(content=b"--edge", step=1)
def test_the_file_comes_out_as_it_went_in(content: bytes, step: int) -> None:
    """The file and the fields are complete, however the body is split."""
    body = (
        field("smoke", "none") + FILE + content + b"\r\n" + field("select", "a,b") + b"--edge--\r\n"
    )
    if b"\r\n--edge" in content:
        return
    parts, kept = read(body, step)
    assert kept == content
    assert parts.filename == "m.pt"
    assert sorted(parts.fields) == [("select", "a,b"), ("smoke", "none")]


def test_boundaries_in_the_content_are_content() -> None:
    """Bytes that only look like a boundary stay in the file."""
    content = b"--edge\r\n\r\n--edg\r\n-\r\r\n--edge"[:-1] + b"\r\n--other--"
    assert read(FILE + content + b"\r\n--edge--")[1] == content


def test_a_field_may_come_twice() -> None:
    """Both values of a repeated field are kept, in order."""
    parts, _ = read(field("select", "a*") + field("select", "b*") + FILE + b"x\r\n--edge--\r\n")
    assert parts.fields == [("select", "a*"), ("select", "b*")]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "ends before"),
        (b"--edge--\r\n", "no part named checkpoint"),
        (field("smoke", "none") + b"--edge--\r\n", "no part named checkpoint"),
        (FILE + b"content", "ends before"),
        (FILE + b"content\r\n--edge\r\n", "ends before"),
        (FILE + b"a\r\n" + FILE + b"b\r\n--edge--\r\n", "several parts"),
        (b"not multipart at all", "ends before"),
        (b"x" + FILE + b"content\r\n--edge--\r\n", "well-formed"),
        (FILE[:-4].replace(b"checkpoint", b"smoke") + b'; name="checkpoint"', "ends before"),
        (b"--edge\r\nContent-Disposition: attachment\r\n\r\nx\r\n--edge--", "well-formed"),
        (b'--edge\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n', "well-formed"),
    ],
)
def test_broken_bodies_are_refused(body: bytes, message: str) -> None:
    """An incomplete or malformed body is refused, and the message says what is wrong."""
    with pytest.raises(MalformedRequestError, match=message):
        read(body)


@pytest.mark.parametrize("name", ["file", "model", "", "Checkpoint"])
def test_a_file_under_another_name_is_told_the_right_one(name: str) -> None:
    """The remedy is a command that works."""
    with pytest.raises(MalformedRequestError, match="a file in a part named") as refusal:
        read(FILE.replace(b'"checkpoint"', f'"{name}"'.encode()) + b"x\r\n--edge--\r\n")
    assert "curl -F checkpoint=@model.pt" in refusal.value.remedy


@pytest.mark.parametrize("text", ["model.pt", "./größe/model 1.safetensors", "m" * 255])
def test_a_name_in_place_of_a_file_is_known_as_such(text: str) -> None:
    """Where curl's @ was forgotten, it sends the file's name."""
    with pytest.raises(MalformedRequestError, match="and not a file") as refusal:
        read(field("checkpoint", text) + b"--edge--\r\n")
    assert "@" in refusal.value.remedy


@pytest.mark.parametrize("content", ["", "a\nb", "\0" * 8, "m" * 256])
def test_other_content_without_a_file_name_is_a_file(content: str) -> None:
    """Some clients give none."""
    assert read(field("checkpoint", content) + b"--edge--\r\n")[1] == content.encode()


def test_unknown_fields_are_refused() -> None:
    """A field that is no option is refused by name."""
    with pytest.raises(OptionError, match="There is no option 'smok'"):
        read(field("smok", "none") + FILE + b"x\r\n--edge--\r\n")


def test_fields_are_text() -> None:
    """A field that is not UTF-8 is refused."""
    part = b'--edge\r\nContent-Disposition: form-data; name="smoke"\r\n\r\n\xff\r\n'
    parts, _ = read(part + FILE + b"x\r\n--edge--\r\n")
    with pytest.raises(OptionError, match="not UTF-8"):
        _ = parts.fields


@pytest.mark.parametrize("boundary", ["----=_Part_1.2", '"a b"', "x" * 70, "'+_,-./:=?"])
def test_a_boundary_may_hold_what_senders_put_into_it(boundary: str) -> None:
    """A boundary with special characters is accepted with quotes and without."""
    kept = io.BytesIO()
    parts = Multipart(
        f"multipart/form-data; boundary={boundary}", [], lambda d: void(kept.write(d))
    )
    edge = boundary.strip('"').encode()
    parts.write(FILE.replace(b"edge", edge) + b"content\r\n--" + edge + b"--\r\n")
    parts.close()
    assert kept.getvalue() == b"content"


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary="])
def test_a_boundary_is_needed(content_type: str) -> None:
    """A media type without a boundary is refused."""
    with pytest.raises(MalformedRequestError, match="boundary"):
        Multipart(content_type, [], void)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (field("smoke", "x" * (multipart.MAX_FIELD_BYTES + 5000)), "fields of the form"),
        (field("select", "") * 65, "more than 64 parts"),
        (field("select", "x" * 40_000) * 2, "fields of the form"),
        (FILE[:20] + b"x" * 3000, "head of a part"),
        (
            FILE + b"x" * 10_000 + b"\r\n" + FILE[:-4] + b";" * 60_000 + b"\r\n\r\n",
            "head of a part",
        ),
        (FILE + b"x\r\n--edge--\r\n" + b"epilogue" * 40_000, "beside the checkpoint"),
        (b"preamble" * 40_000 + b"\r\n" + FILE, "beside the checkpoint"),
    ],
)
@pytest.mark.parametrize("step", [7, 500, 1 << 20])
def test_what_is_not_the_file_is_bounded(body: bytes, message: str, step: int) -> None:
    """Long fields and endless or costly heads are refused, however the body is split."""
    with pytest.raises(MalformedRequestError, match=message):
        read(body, step=step)


def test_the_whole_overhead_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small heads cannot fill the memory."""
    monkeypatch.setattr(multipart, "MAX_OVERHEAD_BYTES", 2000)
    with pytest.raises(MalformedRequestError, match="beside the checkpoint"):
        read(field("smoke", "x" * 100) * 20)


@pytest.mark.parametrize(
    ("head", "filename"),
    [
        (b'filename="a\x00b.pt"', "a\x00b.pt"),
        (b'filename="a\nb.pt"', "a\nb.pt"),
        (b'filename="../../etc/passwd"', "../../etc/passwd"),
        ('filename="modèle.pt"'.encode(), "modèle.pt"),
        (b"filename*=UTF-8''mod%C3%A8le.pt", None),
        (b"filename=\"a.pt\"; filename*=UTF-8''b.pt", "a.pt"),
        (b'filename=""', ""),
        (b"filename*=unknown''x", None),
        (b'filename="m.pt"\r\nContent-Type: multipart/mixed; boundary=inner', "m.pt"),
        (b'filename="m.pt"\r\nContent-Transfer-Encoding: base64', "m.pt"),
    ],
)
def test_strange_heads_are_read_or_passed_over(head: bytes, filename: str | None) -> None:
    """The file name is passed on as it is, and nested or encoded content is not decoded."""
    # In a form `name*` is not a name (RFC 7578, section 4.2).
    start = b'--edge\r\nContent-Disposition: form-data; name="checkpoint"; ' + head
    content = b'--inner\r\nContent-Disposition: form-data; name="smoke"\r\n\r\nx\r\n--inner--'
    parts, kept = read(start + b"\r\n\r\n" + content + b"\r\n--edge--\r\n")
    assert (parts.filename, kept, parts.fields) == (filename, content, [])


@pytest.mark.parametrize("parameters", ["; boundary=" + "x" * 1000, ";" * 60_000 + "boundary=edge"])
def test_a_long_content_type_is_not_read(parameters: str) -> None:
    """A very long Content-Type is refused unparsed, since parsing it could take minutes."""
    with pytest.raises(MalformedRequestError, match="too long"):
        Multipart(f"multipart/form-data{parameters}", [], void)
