"""Fixtures for a running service."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from multiprocessing import forkserver
from pathlib import Path

import pytest

from tests.service.impatient_proxy import ImpatientProxy
from tests.service.running import FAKE, Running, Serve, served, start


@pytest.fixture(scope="session", autouse=True)
def fork_server() -> None:
    """Start the fork server of this process before any test does.

    A worker can read the packages that the fork server has loaded, and no others. Tests bring tasks
    of their own, and whoever starts the fork server first says what it loads.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["service.workers.conversion", "tests.service.fakes"])
    forkserver.ensure_running()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Return a function that starts services, which end with the test."""
    running: list[Running] = []

    def started(module: str = FAKE, *, log: Path | None = None, **settings: object) -> Running:
        service = start(tmp_path, module, log=log, **settings)
        running.append(service)
        service.wait_until_ready()
        return service

    yield started
    for service in running:
        service.process.kill()
        service.process.wait()


Impatient = Callable[..., ImpatientProxy]


@pytest.fixture
def impatient() -> Iterator[Impatient]:
    """Return a function that puts an impatient proxy before a service, until the test ends."""
    with ExitStack() as proxies:

        def before(service: Running, *, idle_s: float = 5.0) -> ImpatientProxy:
            return proxies.enter_context(ImpatientProxy(service.port, idle_s=idle_s))

        yield before


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Share one service with the fake task between tests that leave it unchanged."""
    with served(
        tmp_path_factory.mktemp("service"), job_timeout_s=30, max_upload_bytes=1 << 30
    ) as running:
        yield running
