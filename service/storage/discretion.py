"""Where the service's own store is concerns its operator: clients read `the service's store`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from convlast.errors import SourceNotFoundError, StoreError

OWN_STORE = "the service's store"
_log = structlog.get_logger()


@contextmanager
def as_own_store() -> Iterator[None]:
    """Keep addresses in the service's own store out of errors; the log has them.

    Raises:
        StoreError: As it was raised, in other words.
    """
    try:
        yield
    except StoreError as error:
        if not isinstance(error, SourceNotFoundError):
            _log.warning("the service's store fails", address=error.address, problem=error.message)
        told = error.message.replace(f"store of {error.address}", "service's store")
        error.message = told.replace(error.address, OWN_STORE)
        error.args = (f"{error.message} {error.remedy}".strip(),)
        error.address = error.details["address"] = OWN_STORE
        raise
