"""A client's https:// address leads to the public internet, whatever it looks like."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpcore
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convlast.errors import AddressNotAllowedError
from service.transfers.public_network import PublicNetwork, PublicTransport, is_public, resolve
from tests.service.jobs.boards import in_loop

PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001:82b::200e"]
PRIVATE = [
    *("127.0.0.1", "127.255.255.254", str(IPv4Address(0)), "10.0.0.1", "172.16.0.1", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    *("224.0.0.1", "239.255.255.255", "255.255.255.255", "240.0.0.1", "198.18.0.1"),
    *("192.0.2.1", "192.88.99.1"),
    *("::", "::1", "fe80::1", "fe80::1%1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1"),
    *("2001:db8::1", "100::1", "3fff::1"),
    *("::ffff:127.0.0.1", "::ffff:1.1.1.1", "::127.0.0.1", "::ffff:0:127.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b::101:101", "64:ff9b:1::a00:1"),
    *("2002:7f00:1::", "2002:a00:1::1", "2001:0:7f00:1::1"),
]
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
STATIC = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Wire(httpcore.AsyncNetworkBackend):
    """A network of a test, which notes whom it connects to, and answers the same to all.

    Attributes:
        reached: The hosts that were connected to.
        down: Hosts that cannot be connected to.
    """

    def __init__(self, answer: str = STATIC, down: Sequence[str] = ()) -> None:
        self.reached: list[str] = []
        self.down = down
        self._answer = answer.encode()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Note the host, and answer."""
        if host in self.down:
            raise httpcore.ConnectError("It is down.")
        self.reached.append(host)
        return httpcore.AsyncMockStream([self._answer])


class Names:
    """A resolver of a test, which answers something else each time.

    Attributes:
        asked: How often it was asked.
    """

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = answers
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Give the next answer, and the last one from then on."""
        self.asked += 1
        return self._answers[min(self.asked, len(self._answers)) - 1]


async def get(url: str, network: httpcore.AsyncNetworkBackend) -> httpx.Response:
    """Send a request through a network."""
    transport = PublicTransport(network, TLS)
    async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
        return await client.get(url)


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_is_public(text: str) -> None:
    """Those of both versions are."""
    assert is_public(ip_address(text))


@pytest.mark.parametrize("text", PRIVATE)
def test_every_other_address_is_not(text: str) -> None:
    """Neither one that is special, nor one that embeds another address, public or not."""
    assert not is_public(ip_address(text))


@given(st.ip_addresses(v=4))
def test_no_form_that_embeds_an_address_is_public(ip: IPv4Address) -> None:
    """Mapped, compatible, translated, 6to4 and Teredo: none of them can be used to hide one."""
    number = int(ip)
    forms = [
        (0xFFFF << 32) | number,
        number,
        (0x64FF9B << 96) | number,
        (0x2002 << 112) | (number << 80),
        (0x20010000 << 96) | (number ^ 0xFFFFFFFF),
    ]
    assert not any(is_public(IPv6Address(form)) for form in forms)


@pytest.mark.parametrize("ip", PUBLIC)
@in_loop
async def test_a_connection_goes_to_the_address_that_was_checked(ip: str) -> None:
    """The name is not resolved again, and is still what the certificate is checked against."""
    wire, names = Wire(), Names([ip], ["127.0.0.1"])
    answer = await get("https://store.example/m.pt", PublicNetwork(resolve=names, network=wire))
    assert (answer.text, wire.reached, names.asked) == ("hi", [ip], 1)


@pytest.mark.parametrize("ip", PRIVATE)
@in_loop
async def test_a_name_that_leads_elsewhere_is_refused(ip: str) -> None:
    """Nothing is connected, not even if another address of it is public."""
    for found in ([ip], ["1.1.1.1", ip], [ip, "1.1.1.1"]):
        wire = Wire()
        with pytest.raises(AddressNotAllowedError, match="private network") as caught:
            await get("https://store.example/", PublicNetwork(resolve=Names(found), network=wire))
        assert wire.reached == []
        assert ip not in str(caught.value)  # the client need not learn the network's addresses


@in_loop
async def test_each_connection_is_checked() -> None:
    """A name that was public is refused once it is not."""
    wire = Wire(STATIC.replace("200 OK\r\n", "200 OK\r\nConnection: close\r\n"))
    network = PublicNetwork(resolve=Names(["1.1.1.1"], ["10.0.0.1"]), network=wire)
    assert (await get("https://store.example/", network)).text == "hi"
    with pytest.raises(AddressNotAllowedError):
        await get("https://store.example/", network)
    assert wire.reached == ["1.1.1.1"]


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "127.1", "0"),
        *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "localhost"),
    ],
)
@in_loop
async def test_no_spelling_of_loopback_gets_through(host: str) -> None:
    """Decimal, octal, hexadecimal, short and mapped: the system reads them, and then they count."""
    wire = Wire()
    with pytest.raises((AddressNotAllowedError, httpx.ConnectError)):
        await get(f"https://{host}/", PublicNetwork(network=wire))
    assert wire.reached == []


@in_loop
async def test_the_system_reads_a_decimal_address() -> None:
    """So the test above is about the check, and not about a name that nobody knows."""
    assert await resolve("2130706433", 443) == ["127.0.0.1"]


@in_loop
async def test_a_network_can_be_allowed() -> None:
    """The operator may have a store in a private network; others stay closed."""
    private = [ip_network("10.1.0.0/16")]
    for ip, is_allowed in (("10.1.2.3", True), ("10.2.0.1", False), ("::ffff:10.1.2.3", False)):
        wire = Wire()
        network = PublicNetwork(private=private, resolve=Names([ip]), network=wire)
        if is_allowed:
            assert (await get("https://store.example/", network)).text == "hi"
        else:
            with pytest.raises(AddressNotAllowedError):
                await get("https://store.example/", network)
        assert wire.reached == [ip] * is_allowed


@in_loop
async def test_the_next_address_is_tried() -> None:
    """A host whose first address is down is reached at its second one."""
    wire = Wire(down=["2606:4700::1111"])
    network = PublicNetwork(resolve=Names(["2606:4700::1111", "1.1.1.1"]), network=wire)
    assert (await get("https://store.example/", network)).text == "hi"
    assert wire.reached == ["1.1.1.1"]


@in_loop
async def test_nothing_but_https_is_spoken() -> None:
    """Neither plain HTTP, nor a socket of this machine."""
    wire = Wire()
    network = PublicNetwork(resolve=Names(["1.1.1.1"]), network=wire)
    with pytest.raises(AddressNotAllowedError):
        await get("http://store.example/", network)
    with pytest.raises(AddressNotAllowedError):
        await network.connect_unix_socket("/run/docker.sock")
    assert wire.reached == []


@in_loop
async def test_a_proxy_of_the_environment_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A proxy would resolve the name itself."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    wire = Wire()
    transport = PublicTransport(PublicNetwork(resolve=Names(["1.1.1.1"]), network=wire), TLS)
    async with httpx.AsyncClient(transport=transport) as client:
        assert (await client.get("https://store.example/")).text == "hi"
    assert wire.reached == ["1.1.1.1"]


@in_loop
async def test_failures_are_those_of_httpx() -> None:
    """A host without an address, one that is down, and one that breaks off."""

    async def unknown(host: str, port: int) -> Sequence[str]:
        raise OSError("no such name")

    broken = [
        PublicNetwork(resolve=unknown, network=Wire()),
        PublicNetwork(resolve=Names([]), network=Wire()),
        PublicNetwork(resolve=Names(["1.1.1.1"]), network=Wire(down=["1.1.1.1"])),
        PublicNetwork(resolve=Names(["1.1.1.1"]), network=Wire("nonsense\r\n\r\n")),
        PublicNetwork(resolve=Names(["1.1.1.1"]), network=Wire(STATIC[:-1])),
    ]
    for network in broken:
        with pytest.raises(httpx.TransportError):
            await get("https://store.example/", network)
