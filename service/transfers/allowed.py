"""Which addresses clients may name: those below the prefixes that the operator has set."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from convlast.errors import AddressError, AddressNotAllowedError
from convlast.stores.address import Address


def allowed_source(text: str, prefixes: Iterable[str]) -> Address:
    """Read the address of a checkpoint, or of a model folder.

    Args:
        text: The address.
        prefixes: The setting `sources`.

    Raises:
        AddressError: If it is none.
        AddressNotAllowedError: If it is below none of the prefixes.

    >>> allowed_source("s3://bucket/models/m.pt", ["s3://bucket/models/"])
    Address('s3://bucket/models/m.pt')
    """
    return _allowed(text, prefixes, "CONVLAST_SOURCES")


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


def allowed_place(
    text: str, prefixes: Iterable[str], source: Address, names: Iterable[str]
) -> Address:
    """Read the address of the folder that a model folder becomes. This looks at links on disks.

    Args:
        text: The address.
        prefixes: The setting `targets`.
        source: The model folder, which must stay as it is.
        names: The files that it will hold.

    Raises:
        AddressError: If it is none, does not end with a slash, or is all of a bucket; or if a name
            does not fit.
        AddressNotAllowedError: If it, its report or one of its files would be where they must not.
    """
    place = allowed_target(text, prefixes)
    remedy = f"Name a folder in it, such as {place}{source.name or 'model'}/."
    if not place.name:
        raise AddressError(
            f"A model folder becomes a folder, and {place} is all of a bucket.",
            address=str(place),
            remedy=remedy,
        )
    report = place.beside(".report.json")
    if not _is_below_one(report, prefixes):
        raise AddressNotAllowedError(
            f"The report of a model folder goes beside it, and {report} is not among the addresses "
            "that may be used here.",
            address=str(report),
            remedy=remedy,
        )
    if _is_below(place, source):
        raise AddressNotAllowedError(
            f"{place} is the source, or in it.", address=str(place), remedy="Name one beside it."
        )
    for each in map(place.child, names):
        if not _is_below(each, place):
            raise AddressNotAllowedError(f"{each} leads elsewhere.", address=str(each))
    return place


def _allowed(text: str, prefixes: Iterable[str], setting: str) -> Address:
    address = Address.parse(text)
    if not _is_below_one(address, prefixes):
        raise AddressNotAllowedError(
            f"{address} is not among the addresses that may be used here.",
            address=str(address),
            remedy=f"The operator may name a prefix of it in {setting}.",
        )
    return address


def _is_below_one(address: Address, prefixes: Iterable[str]) -> bool:
    return any(_is_below(address, Address.parse(prefix)) for prefix in prefixes)


def _is_below(address: Address, prefix: Address) -> bool:
    """Return whether an address is below a prefix; a link on a disk counts as what it leads to."""
    if not address.is_within(prefix):
        return False
    if address.scheme != "file":
        return True
    return Path("/", address.path).resolve().is_relative_to(Path("/", prefix.path).resolve())
