"""How the service gets at stores: with credentials that its workers never have.

The variables are taken from the environment before this is emptied, and are handed to the stores'
clients. They stay in the memory of this process.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import TYPE_CHECKING

from service.settings import Settings, SettingsError

if TYPE_CHECKING:
    from convlast.stores.opening import StoreOptions

_FAMILIES = ("AWS_", "GOOGLE_", "AZURE_")
_CERTIFICATES = "SSL_CERT_FILE"


@dataclass(frozen=True)
class StoreAccess:
    """What the operator has given for stores.

    Attributes:
        variables: Credentials, regions and endpoints, by the names of their variables.
        certificates: A file with the certificates to trust; by default those of certifi.
    """

    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    certificates: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> StoreAccess:
        """Take the variables of stores.

        >>> access = StoreAccess.from_environment({"AWS_REGION": "eu-1", "HOME": "/root"})
        >>> dict(access.variables)
        {'AWS_REGION': 'eu-1'}
        """
        found = {name: value for name, value in environment.items() if name.startswith(_FAMILIES)}
        return cls(found, environment.get(_CERTIFICATES) or None)

    def own_options(self) -> StoreOptions:
        """Return how the service's own store is asked.

        Raises:
            OptionError: If the packages of the extra `stores` are missing.
        """
        from convlast.stores.opening import StoreOptions

        return StoreOptions(variables=self.variables)

    def options(self, settings: Settings) -> StoreOptions:
        """Return how stores are asked.

        Raises:
            OptionError: If the packages of the extra `stores` are missing.
            SettingsError: If the certificates cannot be read.
        """
        # Imported here, since most services use no store.
        from convlast.stores.opening import StoreOptions
        from service.transfers.public_network import PublicNetwork, PublicTransport

        network = PublicNetwork(private=map(ip_network, settings.private_networks))
        transport = PublicTransport(network, self._tls())
        return StoreOptions(http=transport, variables=self.variables)

    def _tls(self) -> ssl.SSLContext:
        import httpx

        if self.certificates is None:
            return httpx.create_ssl_context(trust_env=False)
        try:
            return ssl.create_default_context(cafile=self.certificates)
        except OSError as error:
            raise SettingsError(f"{_CERTIFICATES} cannot be used: {error.strerror}.") from None
