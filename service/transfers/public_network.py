"""The way to https:// addresses, which leads to the public internet and nowhere else.

A client that names an address must not reach what only the service can reach: itself, its
neighbours, the metadata of its cloud. A name is resolved here, each of its addresses is checked,
and the connection goes to exactly such an address, so a name that changes its meaning between the
check and the connection gains nothing. TLS still checks the certificate against the name.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

import httpcore
import httpx

from convlast.errors import AddressNotAllowedError

Ip: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the IP addresses of a host; the port is only passed on to the system."""

MOST_CONNECTIONS = 64
_KEPT_S = 5.0
_RESOLVE_S = 10.0

_UNICAST = ip_network("2000::/3")
_REFUSED = tuple(
    map(
        ip_network,
        (
            "168.63.129.16/32",  # the host of a virtual machine in Azure, behind a public address
            "192.0.0.0/24",  # of protocols; Python thinks that some of it is global
            "192.88.99.0/24",  # relays of 6to4
            "2001::/23",  # of protocols; among them Teredo, which embeds an IPv4 address
            "2002::/16",  # 6to4, which embeds one too
            "3fff::/20",  # of documents
        ),
    )
)


def is_public(ip: Ip) -> bool:
    """Return whether an address is global unicast, and embeds no other address.

    IPv6 has its global unicast addresses in 2000::/3 alone. Those that map, embed or translate an
    IPv4 address lie elsewhere, or in networks that are refused by name.

    Source: https://www.iana.org/assignments/ipv6-address-space

    >>> [is_public(ip_address(each)) for each in ("1.1.1.1", "10.0.0.1", "::ffff:1.1.1.1")]
    [True, False, False]
    """
    if ip.version == 6 and ip not in _UNICAST:
        return False
    is_other = ip.is_multicast or ip.is_reserved or any(ip in network for network in _REFUSED)
    return ip.is_global and not is_other


async def resolve(host: str, port: int) -> list[str]:
    """Ask the system for the IP addresses of a host; it reads decimal and octal ones too."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=1)  # SOCK_STREAM
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class PublicNetwork(httpcore.AsyncNetworkBackend):
    """Connects to public addresses only."""

    def __init__(
        self,
        *,
        private: Iterable[Network] = (),
        resolve: Resolve = resolve,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        """Set up.

        Args:
            private: Networks that are allowed though they are not public.
            resolve: Resolves names.
            network: Makes the connections, to addresses.
        """
        self._private, self._resolve = tuple(private), resolve
        self._network = network or httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of a host that answers.

        Raises:
            AddressNotAllowedError: If one of them is not public.
            httpcore.ConnectError: If there is none, or none answers.
        """
        failure: Exception = httpcore.ConnectError(f"{host} has no address.")
        for ip in await self._checked(host, port):
            try:
                return await self._network.connect_tcp(
                    str(ip), port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def _checked(self, host: str, port: int) -> list[Ip]:
        try:
            async with asyncio.timeout(_RESOLVE_S):
                ips = [ip_address(each) for each in await self._resolve(host, port)]
        except (OSError, UnicodeError):  # TimeoutError is one
            raise httpcore.ConnectError(f"{host} cannot be resolved.") from None
        for ip in ips:
            if not is_public(ip) and not any(ip in network for network in self._private):
                raise _refusal(
                    host,
                    f"The host {host} leads into a private network.",
                    remedy="The operator may name that network in CONVLAST_PRIVATE_NETWORKS.",
                )
        return ips

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's interface
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Refuse to.

        Raises:
            AddressNotAllowedError: Always.
        """
        raise _refusal("", "A socket of this machine is no public address.")

    async def sleep(self, seconds: float) -> None:
        """Wait, between attempts."""
        await self._network.sleep(seconds)


class PublicTransport(httpx.AsyncBaseTransport):
    """Sends requests of httpx through a `PublicNetwork`, and never through a proxy."""

    def __init__(self, network: httpcore.AsyncNetworkBackend, tls: ssl.SSLContext) -> None:
        """Set up.

        Args:
            network: Makes the connections.
            tls: Whom to trust.
        """
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=MOST_CONNECTIONS,
            keepalive_expiry=_KEPT_S,
            network_backend=network,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request.

        Raises:
            AddressNotAllowedError: If it does not lead to a public address.
            httpx.TransportError: If it fails.
        """
        if request.url.scheme != "https":
            raise _refusal(request.url.host, "Only https:// is spoken.")
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        with _translated():
            answer = await self._pool.handle_async_request(
                httpcore.Request(
                    request.method,
                    url,
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer),
            extensions=answer.extensions,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    """The body of an answer."""

    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated():
            async for part in self._answer.aiter_stream():
                yield part

    async def aclose(self) -> None:
        with _translated():
            await self._answer.aclose()


def _refusal(host: str, message: str, *, remedy: str = "") -> AddressNotAllowedError:
    return AddressNotAllowedError(message, address=f"https://{host}/…", remedy=remedy)


@contextmanager
def _translated() -> Iterator[None]:
    """Raise httpx's error for httpcore's, which have the same names."""
    try:
        yield
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
        kind = getattr(httpx, type(error).__name__, httpx.TransportError)
        raise kind(str(error)) from None
