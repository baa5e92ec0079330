from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convlast.errors import AddressError
from convlast.stores.address import Address, is_address

SECRETS = st.text("abcdefghijklmnopqrstuvwxyz0123456789%/+=&~-", min_size=8).map(
    lambda text: f"S3CR{text}T"
)
"""A text that stands in nothing else."""

PARTS = st.text(min_size=1, max_size=12).filter(
    lambda part: part.isprintable() and not set(part) & set("/?#\\@") and part not in {".", ".."}
)


@pytest.mark.parametrize(
    ("text", "scheme", "root", "key"),
    [
        ("s3://bucket/models/a.pt", "s3", "bucket", "models/a.pt"),
        ("S3://Bucket.name/", "s3", "Bucket.name", ""),
        ("gs://bucket", "gs", "bucket", ""),
        ("az://container/a b.pt", "az", "container", "a b.pt"),
        ("file:///tmp/a.pt", "file", "", "tmp/a.pt"),
        ("file://localhost/tmp/a.pt", "file", "", "tmp/a.pt"),
        ("https://Host.example/a.pt", "https", "host.example", "a.pt"),
        ("https://host:443/a.pt", "https", "host", "a.pt"),
        ("https://[2001:db8::1]:8443/a.pt", "https", "[2001:db8::1]:8443", "a.pt"),
    ],
)
def test_an_address_is_taken_apart(text: str, scheme: str, root: str, key: str) -> None:
    """Scheme and host are compared in small letters; a key is kept as it is."""
    address = Address.parse(text)
    assert (address.scheme, address.root, address.key) == (scheme, root, key)
    assert is_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "model.pt",
        "http://host/a.pt",
        "ftp://host/a.pt",
        "s3:///a.pt",
        "s3://buc ket/a.pt",
        "s3://bucket/a//b",
        "s3://bucket/../a",
        "s3://bucket/./a",
        "s3://bucket/a.pt?versionId=1",
        "s3://bucket/a.pt#part",
        "s3://bucket/a\nb",
        "s3://bucket/a\u202eb",
        "s3://key:secret@bucket/a.pt",
        "file://host/a.pt",
        "file:///tmp/%2e%2e/a.pt",
        "file:///tmp/a%2fb",
        "https:///a.pt",
        "https://host:port/a.pt",
        "https://ho\\st/a.pt",
        "https://user:secret@host/a.pt",
        "https://host/a/%2E%2E/b",
        "https://host/%2e%2e%2fa",
        "https://host/a%0Ab",
        "https://höst/a",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """Each with what is wrong and what to do."""
    with pytest.raises(AddressError, match="not a valid address") as error:
        Address.parse(text)
    assert error.value.remedy
    assert "secret" not in str(error.value)
    assert error.value.details["address"] == error.value.address


@given(SECRETS)
def test_a_query_is_shown_nowhere(secret: str) -> None:
    """It is in the text that requests are made of, and in nothing that people read."""
    address = Address.parse(f"https://host/a.pt?signature={secret}")
    assert secret in address.text
    assert pickle.loads(pickle.dumps(address)) == address
    for shown in (str(address), repr(address), f"{address}", repr([address]), f"{(address,)}"):
        assert secret not in shown
        assert "S3CR" not in shown


@given(SECRETS, st.sampled_from(["s3", "gs", "az", "file", "https", "http", "ftp"]), st.data())
def test_a_refusal_holds_no_secret(secret: str, scheme: str, data: st.DataObject) -> None:
    """Wherever credentials stand in an address that cannot be read, no message repeats them."""
    form = data.draw(
        st.sampled_from([
            "{scheme}://user:{secret}@host/a.pt", "{scheme}://{secret}@host/a.pt",
            "{scheme}://us?er:{secret}@host/a#b", "{scheme}://host/../a?signature={secret}",
            "{scheme}://host/..#{secret}", "{scheme}://h st/a?{secret}", "{scheme}:///?{secret}",
        ])
    )  # fmt: skip
    if "@" in form:  # a slash would end the host, and begin a key, where @ is a letter
        secret = secret.replace("/", "")
    with pytest.raises(AddressError) as error:
        Address.parse(form.format(scheme=scheme, secret=secret))
    assert "S3CR" not in str(error.value)
    assert "S3CR" not in repr(error.value)
    assert "S3CR" not in repr(error.value.details)


@given(st.lists(PARTS, min_size=1, max_size=4), st.sampled_from(["s3", "file", "https"]))
def test_a_child_has_its_name(parts: list[str], scheme: str) -> None:
    """A name of printable letters comes back from a folder and its object, as it was."""
    folder = Address.parse(f"{scheme}://{'' if scheme == 'file' else 'root'}/folder/")
    child = folder.child("/".join(parts))
    assert child.path == "/".join(["folder", *parts])
    assert child.name == parts[-1]
    assert child.is_within(folder)
    assert Address.parse(child.text) == child


@pytest.mark.parametrize(
    ("text", "prefix", "is_within"),
    [
        ("s3://bucket/models/a.pt", "s3://bucket/models/", True),
        ("s3://bucket/models/a.pt", "s3://bucket/models", True),
        ("s3://bucket/models", "s3://bucket/models", True),
        ("s3://bucket/models/a.pt", "s3://bucket", True),
        ("s3://bucket/models-of-others/a.pt", "s3://bucket/models", False),
        ("s3://bucket/a.pt", "s3://bucket/models/", False),
        ("s3://bucket2/models/a.pt", "s3://bucket/models/", False),
        ("gs://bucket/models/a.pt", "s3://bucket/models/", False),
        ("https://host/a.pt", "https://HOST:443/", True),
        ("https://host:8443/a.pt", "https://host/", False),
        ("https://host/%61/b.pt", "https://host/a/", True),
        ("https://host.evil.example/a.pt", "https://host/", False),
    ],
)
def test_a_prefix_holds_whole_parts(text: str, prefix: str, is_within: bool) -> None:
    """What only begins with the same letters is not within."""
    assert Address.parse(text).is_within(Address.parse(prefix)) is is_within


def test_a_folder_ends_with_a_slash() -> None:
    """So does all of a bucket; a folder has the name of its last part."""
    assert Address.parse("s3://bucket").is_folder
    assert Address.parse("s3://bucket/models/").is_folder
    assert not Address.parse("s3://bucket/models").is_folder
    assert Address.parse("s3://bucket/models/").name == "models"
    assert Address.parse("s3://bucket").name == ""


@pytest.mark.parametrize("name", ["..", "a/../b", "", "/a", "a\nb", "a?b", "a#b"])
def test_a_child_cannot_lead_elsewhere(name: str) -> None:
    """Its name has only parts that an address may have."""
    with pytest.raises(AddressError):
        Address.parse("s3://bucket/folder/").child(name or "//")
