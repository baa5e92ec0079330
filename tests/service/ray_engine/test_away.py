"""The cluster's side of a service while the head is away, without Ray."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest

from convlast.stores.opening import StoreOptions
from service.ray_engine import stranger
from service.ray_engine.cluster import RayCluster
from service.ray_engine.workers import RayWorkers
from tests.service.ray_engine.played import until

HANGS_S = 60.0


@dataclass
class Hanging:
    """Work that hangs until the test has ended."""

    threads: list[threading.Thread] = field(default_factory=list)
    is_over: bool = False
    _go_on: threading.Event = field(default_factory=threading.Event)

    def hang(self, *_: object) -> list[str]:
        """Hang for long, and find no slot."""
        self.threads.append(threading.current_thread())
        self.is_over = not self._go_on.wait(HANGS_S)
        return []

    def end(self) -> None:
        """End the work."""
        self._go_on.set()
        for thread in self.threads:
            thread.join()


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    """Let all hang that asks Ray."""
    work = Hanging()
    for each in ("_look", "_drop"):
        monkeypatch.setattr(RayCluster, each, work.hang)
    yield work
    work.end()


@pytest.fixture
def cluster() -> RayCluster:
    """Make the cluster's side, without connecting."""
    return RayCluster("127.0.0.1:6379", {}, unit="CPU", task="played")


def test_the_end_does_not_wait_for_a_look(
    cluster: RayCluster, hanging: Hanging, tmp_path: Path
) -> None:
    """Neither the workers' nor that of the loop, which joins its own threads."""

    async def serve() -> None:
        workers = RayWorkers(cluster, f"file://{tmp_path}/store/", StoreOptions())
        await workers.start()
        await until(lambda: hanging.threads)
        await workers.stop()

    asyncio.run(serve())
    assert len(hanging.threads) == 1
    assert not hanging.is_over


def test_the_end_does_not_wait_for_a_slot_that_is_given_up(
    cluster: RayCluster, hanging: Hanging
) -> None:
    """Its call may take as long."""

    async def drop() -> None:
        dropping = asyncio.ensure_future(cluster.drop("slot-0"))
        await until(lambda: hanging.threads)
        dropping.cancel()

    asyncio.run(drop())
    assert len(hanging.threads) == 1
    assert not hanging.is_over


def test_the_stranger_does_not_wait_for_days(
    cluster: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not get the variable with which the service outlives the head."""
    ray, exceptions = ModuleType("ray"), ModuleType("ray.exceptions")
    vars(ray)["is_initialized"] = lambda: False
    vars(exceptions)["RayError"] = RuntimeError
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.exceptions", exceptions)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    given: dict[str, str] = {}

    def ask(address: str, environment: Mapping[str, str]) -> None:
        given.update(environment)
        raise ConnectionError(address)

    monkeypatch.setattr(stranger, "check", ask)
    with pytest.raises(ConnectionError, match="6379"):
        asyncio.run(cluster.slots())
    assert "RAY_gcs_rpc_server_reconnect_timeout_s" in os.environ
    assert "RAY_gcs_rpc_server_reconnect_timeout_s" not in given
    assert given.keys() > {"PATH"}
