"""Where an artifact goes in a store, and what may not be there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from convlast.errors import OptionError, SourceNotFoundError
from convlast.stores.address import Address, is_address

if TYPE_CHECKING:
    from convlast.stores.opening import StoreOptions


def place_in(target: Address, filename: str, *, is_folder: bool) -> Address:
    """Return where an artifact goes.

    Args:
        target: What was named: a file or, with a slash at its end, the folder for it. What a model
            folder becomes is that folder itself.
        filename: The artifact's own name.
        is_folder: Whether the artifact is a folder.

    Raises:
        OptionError: If it would be all of a bucket.

    >>> place_in(Address.parse("s3://bucket/made/"), "m.channels_last_3d.pt", is_folder=False)
    Address('s3://bucket/made/m.channels_last_3d.pt')
    >>> place_in(Address.parse("s3://bucket/made"), "vae.channels_last_3d", is_folder=True)
    Address('s3://bucket/made/')
    """
    if not is_folder:
        return target.child(filename) if target.is_folder else target
    if not target.name:
        raise OptionError(
            "target",
            f"A model folder becomes a folder, and {target} is all of a bucket.",
            remedy=f"Name a folder in it, such as {target}{filename}/.",
        )
    return target if target.is_folder else Address.parse(f"{target.text}/")


def address_of(named: str) -> Address:
    """Return an address, also for a path.

    Raises:
        AddressError: If it is none.
    """
    return Address.parse(named if is_address(named) else Path(named).resolve().as_uri())


def refuse_within(place: Address, source: str) -> None:
    """Refuse a place that is the source, or in it.

    Raises:
        OptionError: If it is.
    """
    if place.is_within(address_of(source)):
        raise OptionError(
            "target",
            "The artifact would replace the input, or be in it.",
            remedy="Name a place beside it.",
        )


async def refuse_taken(place: Address, options: StoreOptions | None = None) -> None:
    """Refuse a place where something is.

    Raises:
        OptionError: If something is there.
        StoreError: If the store does not say.
    """
    from convlast.stores.reading import listing, stat

    try:
        is_taken = bool(await (listing if place.is_folder else stat)(place, options))
    except SourceNotFoundError:
        return
    if is_taken:
        remedy = "Name an empty one: the files of both would be mixed." if place.is_folder else ""
        raise _taken(str(place), remedy)


def refuse_file(path: Path) -> None:
    """Refuse a place on this machine where a file is.

    Raises:
        OptionError: If one is there.
    """
    if path.is_file():
        raise _taken(str(path))


def _taken(place: str, remedy: str = "") -> OptionError:
    remedy = remedy or "overwrite=True (--force) replaces it; or name another place."
    return OptionError("target", f"{place!r} is there already.", remedy=remedy)
