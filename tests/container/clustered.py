"""The cluster as `docker compose --profile cluster up cluster` runs it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.container.deployment import CPU, PROJECT, Deployment

STAND_INS = "tests/container/stand_ins.yml"
REPLICAS = ("replica-1", "replica-2")
NODES = ("node-1", "node-2")
PARTS = ("cluster", *REPLICAS, *NODES, "head", "store")
"""All that go on; the credentials are made once."""

_LIST_STORE = """
import asyncio
from convlast.stores.address import Address
from convlast.stores.reading import listing
print(*(each.name for each in asyncio.run(listing(Address.parse("s3://convlast/")))), sep="\\n")
"""
_WITH_CREDENTIALS = 'set -a && . /etc/convlast/store/store.env && exec python3 -c "$0"'


@dataclass
class Cluster(Deployment):
    """The project with its profile; `port` is that of the cluster."""

    files: tuple[str, ...] = (*CPU, STAND_INS)

    @property
    def container(self) -> str:
        """The name of the container that all requests go to."""
        return self.name("cluster")

    @staticmethod
    def name(part: str) -> str:
        """Return the name of a part's container."""
        return f"{PROJECT}-{part}-1"

    def compose(self, *arguments: str, check: bool = True) -> str:
        """Run a command of compose with the profile; give what it prints."""
        variables = {**self.variables, "CLUSTER_PORT": str(self.port)}
        plain = Deployment(self.engine, self.files, variables)
        return plain.compose("--profile", "cluster", *arguments, check=check)

    def try_up(self, *options: str) -> str:
        """Start the address and all that it needs; give what compose says."""
        return super().try_up(*options, "cluster")

    def down(self) -> None:
        """Remove all of it, with its volumes; nothing is waited for."""
        self.compose("down", "--volumes", "--timeout", "0")

    def services(self) -> Mapping[str, Any]:
        """Give the services as compose reads them."""
        read: Mapping[str, Any] = json.loads(self.compose("config", "--format", "json"))["services"]
        return read

    def known(self, part: str) -> dict[str, Any]:
        """Give what the engine knows of a part."""
        (known,) = json.loads(self.engine.docker("inspect", self.name(part)))
        return dict(known)

    def within(self, part: str, *command: str) -> str:
        """Run a command in a part, as its user; give what it prints."""
        return self.engine.docker("exec", self.name(part), *command)

    def kill(self, part: str) -> None:
        """End a part without a warning; it is not started again by itself."""
        self.engine.docker("kill", self.name(part))

    def logged(self, part: str) -> str:
        """Give the log of a part."""
        return self.engine.docker("logs", self.name(part), check=False)

    def stored(self, part: str) -> list[str]:
        """Name the objects in the store, as a part sees them."""
        return self.within(part, "bash", "-c", _WITH_CREDENTIALS, _LIST_STORE).split()
