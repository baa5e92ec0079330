from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from convlast.stores.address import Address
from tests.stores.moto_server import moto
from tests.stores.quick import MIB
from tests.stores.seaweedfs import seaweedfs
from tests.stores.servers import BUCKET, CREDENTIALS, Server
from tests.stores.unreliable import Unreliable, unreliable


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("stores")


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run SeaweedFS for all tests."""
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture(scope="session", params=["seaweedfs", "moto"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Run each server."""
    if request.param == "seaweedfs":
        yield request.getfixturevalue("seaweed")
        return
    with moto(request.getfixturevalue("tmp_path_factory").mktemp("moto")) as running:
        yield running


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Have credentials, and no endpoint yet."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def folder(
    server: Server, environment: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Address:
    """Return a folder of a server, for one test."""
    environment.setenv("AWS_ENDPOINT_URL", server.endpoint)
    return Address.parse(f"s3://{BUCKET}/{request.node.originalname}/")


@pytest.fixture
def network(seaweed: Server, environment: pytest.MonkeyPatch) -> Iterator[Unreliable]:
    """Put an unreliable network before SeaweedFS."""
    with unreliable(seaweed.port) as proxy:
        environment.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy


@pytest.fixture
def remote(network: Unreliable, request: pytest.FixtureRequest) -> Address:
    """Return a folder behind the network, for one test."""
    return Address.parse(f"s3://{BUCKET}/{request.node.originalname}/")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a file of three parts."""
    path = tmp_path / "source"
    path.write_bytes(os.urandom(11 * MIB))
    return path
