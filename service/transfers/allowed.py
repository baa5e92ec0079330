"""Which addresses clients may name: those below the prefixes that the operator has set."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from convlast.errors import AddressError, AddressNotAllowedError
from convlast.stores.address import Address


def allowed_source(text: str, prefixes: Iterable[str]) -> Address:
    """Read the address of a checkpoint.

    Args:
        text: The address.
        prefixes: The setting `sources`.

    Raises:
        AddressError: If it is none, or names a folder.
        AddressNotAllowedError: If it is below none of the prefixes.

    >>> allowed_source("s3://bucket/models/m.pt", ["s3://bucket/models/"])
    Address('s3://bucket/models/m.pt')
    """
    address = _allowed(text, prefixes, "CONVLAST_SOURCES")
    if address.is_folder:
        raise AddressError(
            f"{address} is a folder, and a source is one file.",
            address=str(address),
            remedy="Name a file: a checkpoint, or the zip or tar of a model folder.",
        )
    return address


def allowed_target(text: str, prefixes: Iterable[str]) -> Address:
    """Read the address of a folder for results.

    Args:
        text: The address.
        prefixes: The setting `targets`.

    Raises:
        AddressError: If it is none, or does not end with a slash.
        AddressNotAllowedError: If it is below none of the prefixes.

    >>> allowed_target("s3://bucket/models/", ["s3://bucket/"])
    Address('s3://bucket/models/')
    """
    address = _allowed(text, prefixes, "CONVLAST_TARGETS")
    if not address.is_folder:
        raise AddressError(
            f"{address} is no folder, and a target is one.",
            address=str(address),
            remedy="Write a slash at its end; the artifact is named after the checkpoint.",
        )
    return address


def _allowed(text: str, prefixes: Iterable[str], setting: str) -> Address:
    address = Address.parse(text)
    if not any(_is_below(address, Address.parse(prefix)) for prefix in prefixes):
        raise AddressNotAllowedError(
            f"{address} is not among the addresses that may be used here.",
            address=str(address),
            remedy=f"The operator may name a prefix of it in {setting}.",
        )
    return address


def _is_below(address: Address, prefix: Address) -> bool:
    """Return whether an address is below a prefix; a link on a disk counts as what it leads to."""
    if not address.is_within(prefix):
        return False
    if address.scheme != "file":
        return True
    return Path("/", address.path).resolve().is_relative_to(Path("/", prefix.path).resolve())
