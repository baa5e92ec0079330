from __future__ import annotations

from pathlib import Path

import pytest

from convlast.errors import AddressError, AddressNotAllowedError
from service.transfers.allowed import allowed_source, allowed_target

PREFIXES = ("s3://bucket/models/", "https://host/", "file:///models/")


@pytest.mark.parametrize(
    "text",
    [
        *("s3://bucket/models/m.pt", "s3://bucket/models/a/b/m.pt", "https://host/m.pt"),
        *("https://HOST:443/a/m.pt?signature=secret", "file:///models/m.pt"),
    ],
)
def test_what_lies_below_a_prefix_is_allowed(text: str) -> None:
    """However deep, and in whatever spelling of its host."""
    assert allowed_source(text, PREFIXES).name == "m.pt"


@pytest.mark.parametrize(
    "text",
    [
        *("s3://bucket/m.pt", "s3://bucket/models-of-others/m.pt", "s3://buckets/models/m.pt"),
        *("gs://bucket/models/m.pt", "https://host:8443/m.pt", "https://host.example/m.pt"),
        *("https://other/host/m.pt", "file:///models-of-others/m.pt", "file:///etc/passwd"),
    ],
)
def test_what_lies_elsewhere_is_refused(text: str) -> None:
    """The refusal names the address and the setting."""
    for check, setting in ((allowed_source, "SOURCES"), (allowed_target, "TARGETS")):
        with pytest.raises(AddressNotAllowedError, match=f"CONVLAST_{setting}") as caught:
            check(text, PREFIXES)
        assert caught.value.address == text


@pytest.mark.parametrize(
    "text",
    [
        *("s3://bucket/models/../m.pt", "https://host/%2e%2e/m.pt", "https://host@other/m.pt"),
        *("https://host/a%2fb", "https://host/m.pt#fragment", "s3://bucket/models/\n"),
        *("ftp://host/m.pt", "http://host/m.pt", "/models/m.pt"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """Before it is compared with a prefix."""
    with pytest.raises(AddressError):
        allowed_source(text, PREFIXES)


def test_a_link_counts_as_what_it_leads_to(tmp_path: Path) -> None:
    """One that leads out of the folder is refused, and one within it is not."""
    (tmp_path / "models").mkdir()
    for name, target in (("out", tmp_path), ("within", tmp_path / "models")):
        (tmp_path / "models" / name).symlink_to(target)
    prefixes = [f"file://{tmp_path}/models/"]
    assert allowed_source(f"file://{tmp_path}/models/within/m.pt", prefixes).name == "m.pt"
    for check, end in ((allowed_source, "m.pt"), (allowed_target, "")):
        with pytest.raises(AddressNotAllowedError):
            check(f"file://{tmp_path}/models/out/{end}", prefixes)


def test_nothing_is_allowed_by_default() -> None:
    """An operator has to open it."""
    with pytest.raises(AddressNotAllowedError):
        allowed_source("s3://bucket/m.pt", ())


def test_a_source_may_be_a_folder_and_a_target_is_one() -> None:
    """The slash at the end says which."""
    assert allowed_source("s3://bucket/models/vae/", PREFIXES).is_folder
    with pytest.raises(AddressError, match="folder"):
        allowed_target("s3://bucket/models/m.pt", PREFIXES)
    assert allowed_target("s3://bucket/models/", PREFIXES).is_folder
