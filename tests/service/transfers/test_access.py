"""The operator's access to stores."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.settings import Settings, SettingsError
from service.transfers import Transfers
from service.transfers.access import StoreAccess
from service.transfers.public_network import PublicTransport
from tests.service.jobs.boards import in_loop
from tests.service.transfers.web_store import WebStore

ALLOWING = Settings(sources=("https://localhost/",), private_networks=("127.0.0.0/8", "::1/128"))


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebStore]:
    """Run a server of files."""
    store = WebStore(tmp_path)
    with store.running():
        yield store


def test_only_variables_of_stores_are_taken() -> None:
    """And none of them is shown with the object."""
    given = {"AWS_SECRET_ACCESS_KEY": "secret", "AZURE_CLIENT_ID": "id", "HOME": "/root"}
    access = StoreAccess.from_environment({**given, "SSL_CERT_FILE": "ca.pem"})
    assert dict(access.variables) == {name: given[name] for name in [*given][:2]}
    assert access.certificates == "ca.pem"
    assert "secret" not in repr(access)


def test_a_secret_is_not_shown_with_the_options() -> None:
    """They are passed around, and a traceback may show them."""
    access = StoreAccess({"AWS_SECRET_ACCESS_KEY": "secret"})
    options = access.options(ALLOWING)
    assert options.variables == access.variables
    assert "secret" not in repr(options)


@in_loop
async def test_a_certificate_is_checked_against_those_that_are_trusted(web: WebStore) -> None:
    """A server that nobody vouches for is asked for nothing."""
    for certificates, is_trusted in ((None, False), (str(web.certificate.file), True)):
        transport = StoreAccess(certificates=certificates).options(ALLOWING).http
        assert isinstance(transport, PublicTransport)
        async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
            if is_trusted:
                assert (await client.get(f"{web.url}/none.pt")).status_code == 404
            else:
                with pytest.raises(httpx.ConnectError):
                    await client.get(f"{web.url}/none.pt")
        assert web.asked == ["/none.pt"] * is_trusted


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_read_are_told_at_the_start(
    tmp_path: Path, content: str | None
) -> None:
    """The operator hears of it, and not a client."""
    file = tmp_path / "ca.pem"
    if content:
        file.write_text(content)
    access = StoreAccess(certificates=str(file))
    with pytest.raises(SettingsError, match="SSL_CERT_FILE"):
        Transfers.of(ALLOWING, access)
    Transfers.of(Settings(), access)  # which uses no store


def test_a_host_needs_the_certificate_of_its_name(web: WebStore) -> None:
    """The context checks names: a connection to a checked address is no excuse."""
    tls = StoreAccess(certificates=str(web.certificate.file))._tls()
    assert tls.check_hostname
    assert tls.verify_mode == ssl.CERT_REQUIRED
