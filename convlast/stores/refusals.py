"""What the errors of stores mean, in words that hold no secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from obstore import exceptions

from convlast.errors import (
    AddressError,
    Reason,
    SourceChangedError,
    SourceNotFoundError,
    StoreError,
    StoreUnavailableError,
)
from convlast.stores.address import Address

_FOREIGN = (
    *(exceptions.BaseError, OSError, ValueError, NotImplementedError),
    *(httpx.HTTPError, httpx.InvalidURL),
)
"""What the libraries raise."""

_STATUS = re.compile(r"status code: (\d{3})|with status (\d{3})")
_PASSING = frozenset({408, 429, *range(500, 600)})
_SAID: dict[Reason, str] = {
    "away": "does not answer",
    "failing": "answers that it cannot do so now",
    "credentials": "does not accept the credentials, or has none for this",
    "refused": "refuses this",
    "settings": "cannot be asked",
}
_REMEDY: dict[Reason, str] = {
    "away": "Try again later.",
    "failing": "Try again later.",
    "credentials": "Credentials come from the environment, or from a presigned address: see "
    "docs/stores.md.",
    "refused": "Look at the address, and at the region and the endpoint of its store.",
}


@contextmanager
def translated(address: Address) -> Iterator[None]:
    """Translate what the libraries raise, without its text, which may hold a secret.

    Raises:
        StoreError: If they raise.
    """
    try:
        yield
    except StoreError:
        raise
    except _FOREIGN as error:
        meaning = _meaning_of(error, address)
        error.args = ()  # a log may follow the context of an error
        raise meaning from None


def _meaning_of(error: Exception, address: Address) -> StoreError:
    """Return what the error means. Nothing of its text is kept but a status."""
    if isinstance(error, FileNotFoundError):
        return not_found(address)
    if isinstance(error, exceptions.PreconditionError):
        return changed(address)
    if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
        return unavailable(address, "credentials")
    if isinstance(error, httpx.TransportError):
        return unavailable(address, "away")
    if isinstance(error, exceptions.GenericError):
        return _of_generic(str(error), address)
    if isinstance(error, exceptions.InvalidPathError | ValueError | httpx.InvalidURL):
        return AddressError(f"{address} is not a valid key of this store.", address=str(address))
    return unavailable(address, "refused")


def of_status(status: int, address: Address) -> StoreError:
    """Return what the status of an answer means, if it is not what was asked for."""
    if status in {404, 410}:
        return not_found(address)
    if status == 412:
        return changed(address)
    if status in {401, 403, 407}:
        return unavailable(address, "credentials", status)
    if 300 <= status < 400:
        return _redirected(address)
    return unavailable(address, "failing" if status in _PASSING else "refused", status)


def _of_generic(text: str, address: Address) -> StoreError:
    if found := _STATUS.search(text):
        return of_status(int(found[1] or found[2]), address)
    if "redirect" in text:
        return _redirected(address)
    # A disk does not come back, as a store in the network does.
    return unavailable(address, "refused" if address.scheme == "file" else "away")


def not_found(address: Address) -> SourceNotFoundError:
    """Say that there is nothing."""
    what = "There is no such bucket, or nothing is at"
    if address.scheme in {"file", "https"}:
        what = "Nothing is at"
    return SourceNotFoundError(f"{what} {address}.", address=str(address))


def changed(address: Address) -> SourceChangedError:
    """Say that there is another object."""
    return SourceChangedError(
        f"The object at {address} was replaced while it was used.",
        address=str(address),
        remedy="Ask again, for the one that is there now.",
    )


def unavailable(
    address: Address, reason: Reason, status: int | None = None
) -> StoreUnavailableError:
    """Say why a store does not do what was asked."""
    answer = f": status {status}" if status else ""
    return StoreUnavailableError(
        f"The store of {address} {_SAID[reason]}{answer}.",
        address=str(address),
        reason=reason,
        remedy=_REMEDY.get(reason, ""),
        **({"status": status} if status else {}),
    )


def _redirected(address: Address) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"The store of {address} sends elsewhere. No redirect is followed.",
        address=str(address),
        reason="refused",
        remedy="Give the address that it leads to, or the right region of the bucket.",
    )
