"""A service, and both proxies before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.proxies.reverse_proxy import KINDS, PREFIX, Certificate, Kind, Proxy, proxied
from tests.service.running import Running, served

MIB = 1 << 20
MAX_UPLOAD_BYTES = 96 * MIB


@pytest.fixture(scope="package")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Make a certificate."""
    return Certificate.make(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a service with the fake task, whose idle timeout is a tenth of the usual one."""
    folder = tmp_path_factory.mktemp("behind_proxies")
    with served(folder, workers=2, client_idle_s=3, max_upload_bytes=MAX_UPLOAD_BYTES) as running:
        yield running


@pytest.fixture(scope="package")
def proxies(
    service: Running, certificate: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Kind, Proxy]]:
    """Put both proxies before the service."""
    folder = tmp_path_factory.mktemp("proxies")
    with ExitStack() as running:
        yield {
            kind: running.enter_context(proxied(kind, folder / kind, service.port, certificate))
            for kind in KINDS
        }


@pytest.fixture(params=KINDS)
def proxy(request: pytest.FixtureRequest, proxies: dict[Kind, Proxy]) -> Proxy:
    """Take one proxy after the other."""
    return proxies[request.param]


@pytest.fixture
def http(proxy: Proxy) -> Iterator[httpx.Client]:
    """Open a client for the service behind a proxy."""
    with client_of(proxy) as client:
        yield client


def client_of(proxy: Proxy) -> httpx.Client:
    """Open a client for the service behind a proxy."""
    return httpx.Client(
        base_url=proxy.url, verify=proxy.certificate.context, timeout=60, trust_env=False
    )


@pytest.fixture(scope="package")
def below(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a service that is told of the prefix."""
    with served(tmp_path_factory.mktemp("below"), root_path=PREFIX) as running:
        yield running


def work_of(folder: Path) -> Path:
    """Return a checkpoint that is refused nowhere."""
    path = folder / "model.pt"
    path.write_bytes(b"fine " + bytes(8 * MIB))
    return path
