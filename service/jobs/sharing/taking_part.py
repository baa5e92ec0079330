"""Whether this service shares a store with others, and how it takes part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convlast.stores.address import Address
from service.jobs.others import Others
from service.settings import Settings
from service.transfers.access import StoreAccess

if TYPE_CHECKING:
    from service.jobs.sharing.shared_store import SharedStore


def store_of(settings: Settings, stores: StoreAccess) -> SharedStore | None:
    """Return the store that this service shares with others, if it has one; nothing is asked."""
    if not settings.store:
        return None
    # Imported here, since most services have a store of their own.
    from service.jobs.sharing.shared_store import SharedStore

    return SharedStore(Address.parse(settings.store), stores.own_options())


def others_of(settings: Settings, stores: StoreAccess) -> Others | None:
    """Return the services that share the store with this one, if there may be some.

    Raises:
        StoreError: If the store cannot be used.
    """
    if (store := store_of(settings, stores)) is None:
        return None
    from service.jobs.sharing.fleet import Fleet

    store.open()
    return Fleet(store, max_bytes=settings.store_bytes, max_age_s=settings.store_age_s)
