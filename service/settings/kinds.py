"""The kinds of values that settings have, and what is refused."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from convlast.errors import AddressError
from convlast.stores.address import Address

_DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3}(,\d{1,3})*)?")
_ORIGIN = re.compile(r"https?://[a-z0-9.\[\]:-]+")
_HOST = re.compile(r"\*|[a-z0-9.-]+")
_HOST_AND_PORT = re.compile(r"[A-Za-z0-9.\[\]:-]+:\d{1,5}")
_ROOT_PATH = re.compile(r"(/[A-Za-z0-9._/~-]*[A-Za-z0-9._~-])?")


def _split(value: object) -> object:
    """Split a text such as `"torchvision.,monai."` into a list."""
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",") if part.strip()]


def _all_match(pattern: re.Pattern[str], words: str) -> AfterValidator:
    """Refuse a text, or a list with a text, that does not match; `words` say what does."""

    def check(value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        texts = (value,) if isinstance(value, str) else value
        if not all(pattern.fullmatch(text) for text in texts):
            raise ValueError(words)
        return value

    return AfterValidator(check)


def _name_a_path(value: object) -> object:
    """Refuse an empty text, which `Path` would turn into the current folder."""
    if value == "":
        raise ValueError("name a path, or leave it unset")
    return value


def _name_a_store(text: str) -> str:
    """Refuse what is not the address of a store that can be written."""
    try:
        is_writable = not text or Address.parse(text).scheme != "https"
    except AddressError as error:
        raise ValueError(str(error)) from None
    if not is_writable:
        raise ValueError("name a store that can be written, such as s3://bucket/prefix")
    return text


def _all_addresses(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what is no prefix of addresses."""
    for text in texts:
        try:
            prefix = Address.parse(text)
        except AddressError as error:
            raise ValueError(str(error)) from None
        if prefix.query or not prefix.is_folder:
            raise ValueError("name addresses that end with /, such as s3://bucket/models/")
    return texts


def _all_networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    try:
        for text in texts:
            ipaddress.ip_network(text)
    except ValueError:
        raise ValueError("name networks such as 10.1.0.0/16") from None
    return texts


NamedPath = Annotated[Path, BeforeValidator(_name_a_path)]
StoreAddress = Annotated[str, AfterValidator(_name_a_store)]
Device = Annotated[str, _all_match(_DEVICE, "name auto, cpu, cuda, cuda:N, or cuda:N,N")]
RootPath = Annotated[
    str, _all_match(_ROOT_PATH, "name a path such as /convlast, without a slash at its end")
]
Texts = Annotated[tuple[str, ...], BeforeValidator(_split)]
Origins = Annotated[
    Texts, _all_match(_ORIGIN, "name origins such as https://ml.example.org, without a path")
]
Prefixes = Annotated[Texts, AfterValidator(_all_addresses)]
Networks = Annotated[Texts, AfterValidator(_all_networks)]
HostAndPort = Annotated[
    str, _all_match(_HOST_AND_PORT, "name a host and a port, such as 10.0.0.7:6379")
]
Hosts = Annotated[
    Texts, _all_match(_HOST, "name hosts such as convlast.example.org, without a port, or *")
]


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
