"""Sources and targets: checkpoints that are fetched, and results that are delivered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from service.settings import Settings
from service.transfers.access import StoreAccess
from service.transfers.delivering import Delivering
from service.transfers.fetching import Fetching

if TYPE_CHECKING:
    import httpx


@dataclass(frozen=True)
class Transfers:
    """Both directions.

    Attributes:
        fetching: Fetches checkpoints.
        delivering: Delivers results.
    """

    fetching: Fetching
    delivering: Delivering
    _http: httpx.AsyncBaseTransport | None = None

    @classmethod
    def of(cls, settings: Settings, access: StoreAccess) -> Transfers:
        """Set up what the settings allow.

        Raises:
            OptionError: If they allow something, and the extra `stores` is missing.
            SettingsError: If the certificates cannot be read.
        """
        options = cache(partial(access.options, settings))
        # What is wrong is told at the start; most services use no store, and load no packages.
        http = options().http if settings.sources or settings.targets else None
        return cls(Fetching(settings, options), Delivering(settings, options), http)

    async def close(self) -> None:
        """Close what is open of earlier transfers."""
        if self._http is not None:
            await self._http.aclose()
