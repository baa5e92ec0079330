from __future__ import annotations

import asyncio
from typing import Any

import pytest

from convlast.errors import OptionError
from convlast.jobs import JobVerb
from service.errors import MalformedRequestError, UploadTooLargeError, UploadTooSlowError
from service.uploads.named_source import MAX_BYTES, NamedSource, read_named_source
from tests.service.jobs.sending import Sender

SHA256 = "ab" * 32
SOURCE = f"sha256:{SHA256}"
NAMES = ["dtype", "select", "smoke_seconds"]


def read(sender: Sender, verb: JobVerb = "convert") -> NamedSource:
    """Read the body of a request."""
    return asyncio.run(read_named_source(sender.request, verb, NAMES, 0.2))


def test_a_body_names_bytes_a_file_and_options() -> None:
    """Only the source is needed."""
    options = {"dtype": "float16", "select": ["a*", "b"], "smoke_seconds": 5}
    named = read(Sender.of_json({"source": SOURCE, "filename": "m.pt", "options": options}))
    assert (named.sha256, named.filename) == (SHA256, "m.pt")
    assert (named.options.dtype, named.options.select) == ("float16", ("a*", "b"))
    others: list[dict[str, Any]] = [{}, {"filename": None}, {"options": {}}]
    for more in others:
        named = read(Sender.of_json({"source": SOURCE, **more}))
        assert (named.filename, named.options.dtype) == (None, "keep")


def test_a_body_names_addresses() -> None:
    """A checkpoint in a store, and where the results of a conversion go."""
    members = {"source": "s3://bucket/m.pt", "target": "s3://bucket/out/"}
    named = read(Sender.of_json(members))
    assert (named.sha256, named.address, named.target) == (None, *members.values())
    named = read(Sender.of_json({"source": SOURCE, "target": "s3://bucket/out/"}))
    assert (named.sha256, named.address, named.target) == (SHA256, None, "s3://bucket/out/")
    assert read(Sender.of_json({"source": "https://host/m.pt"}), "inspect").target is None


def test_an_inspection_has_no_target() -> None:
    """It makes no artifact."""
    members = {"source": SOURCE, "target": "s3://bucket/out/"}
    with pytest.raises(MalformedRequestError, match="target"):
        read(Sender.of_json(members), "inspect")


@pytest.mark.parametrize(
    "members",
    [
        [],
        "text",
        None,
        {},
        {"source": SHA256},
        {"source": f"sha256:{SHA256.upper()}"},
        {"source": f"sha256:{SHA256}0"},
        {"source": f" {SOURCE}"},
        {"source": f"{SOURCE}\n"},
        {"source": [SOURCE]},
        {"source": "bucket/key"},
        {"source": "s3:/bucket/key"},
        {"source": "s3://bucket/key", "target": 5},
        {"source": SOURCE, "filename": 5},
        {"source": SOURCE, "options": []},
        {"source": SOURCE, "options": None},
        {"source": SOURCE, "options": "dtype"},
        {"source": SOURCE, "dtype": "float16"},
    ],
)
def test_another_body_is_refused(members: Any) -> None:
    """The answer says which member is wrong."""
    with pytest.raises(MalformedRequestError):
        read(Sender.of_json(members))


@pytest.mark.parametrize("body", [b"", b"{", b'{"source": NaN}', b"\xff", b"[" * 10_000])
def test_what_is_not_json_is_refused(body: bytes) -> None:
    """Neither torn nor deep nor foreign bytes raise anything else."""
    with pytest.raises(MalformedRequestError):
        read(Sender(body))


@pytest.mark.parametrize(
    "options",
    [
        {"smoke": "none"},
        {"dtype": "float4"},
        {"smoke_seconds": "soon"},
        {"smoke_seconds": 10**400},
        {"dtype": ["float16"]},
        {"a" * 100: 1},
    ],
)
def test_an_option_that_is_unknown_or_bad_is_refused(options: dict[str, Any]) -> None:
    """Also one that exists, but not for this verb."""
    with pytest.raises(OptionError):
        read(Sender.of_json({"source": SOURCE, "options": options}))


def test_a_long_body_is_refused() -> None:
    """The body is never larger in memory than its bound."""
    with pytest.raises(UploadTooLargeError):
        read(Sender(b" " * (MAX_BYTES + 1)))


def test_a_body_that_does_not_come_is_refused() -> None:
    """A client that stays without sending the rest is not waited for."""

    async def main() -> None:
        sender = Sender(b"{")
        sender._messages[0]["more_body"] = True
        await read_named_source(sender.request, "convert", NAMES, 0.1)

    with pytest.raises(UploadTooSlowError, match=r"0\.1 s"):
        asyncio.run(main())
