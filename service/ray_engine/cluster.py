"""The slots of a Ray cluster, as the rest of the engine sees them."""

from __future__ import annotations

import os
from functools import partial
from itertools import count, islice
from typing import Any, Protocol

import structlog

from service.errors import InternalError
from service.ray_engine import stranger
from service.threads import in_daemon

_NAMESPACE, _PREFIX = "convlast", "slot-"

_SURVIVE = {
    # Otherwise Ray ends this whole process when the head has been away for a minute.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "864000",
    # Or when the Ray node of this machine has died, and the parent of this process is the first of
    # all. Ray looks whether this process lives instead.
    "RAY_RAYLET_PID": str(os.getpid()),
}
_log = structlog.get_logger()


class GoneError(Exception):
    """A slot cannot be reached: its process or its node has died, or Ray starts it anew."""


class Cluster(Protocol):
    """A number of slots, which changes."""

    async def slots(self) -> list[str]:
        """Return the names of the slots, with a new one for each place that has none."""

    async def call(self, name: str, method: str, *arguments: str | int) -> str:
        """Call a method of `service.ray_engine.slot.Slot`.

        Raises:
            GoneError: If the slot cannot be reached.
        """

    async def drop(self, name: str) -> None:
        """Give up a slot that has been silent for long, if there are more slots than places."""


class RayCluster:
    """Detached actors: they outlive the replica of the service that has made them.

    Every replica looks for places without an actor. Two that find the same one make it once,
    since its name is taken then. Ray places the actors, and starts them again elsewhere.

    While the head is away Ray answers after a minute or later. The end of the service does not wait
    for that.
    """

    def __init__(self, address: str, environment: dict[str, str], *, unit: str, task: str) -> None:
        """Set up without connecting.

        Args:
            address: Host and port of the head.
            environment: Variables from which Ray reads how to authenticate.
            unit: What a slot takes of a node: `GPU` or `CPU`.
            task: The dotted name of the module that does the work.
        """
        self._address, self._environment = address, environment
        self._unit, self._task = unit, task
        self._actors: dict[str, Any] = {}

    async def slots(self) -> list[str]:
        """Return the names of the slots, with a new one for each place that has none."""
        return await in_daemon("cluster", self._look)

    async def call(self, name: str, method: str, *arguments: str | int) -> str:
        """Call a method of an actor."""
        from ray.exceptions import RayError, RayTaskError

        if (actor := self._actors.get(name)) is None:
            raise GoneError("there is no such actor any more")
        try:
            return str(await getattr(actor, method).remote(*arguments))
        except RayTaskError as error:
            _log.error("an actor has failed", exc_info=error)
            raise InternalError("The job failed.") from None
        except RayError as error:
            raise GoneError(type(error).__name__) from None

    async def drop(self, name: str) -> None:
        """Give up a slot that has been silent for long, if there are more slots than places."""
        await in_daemon("cluster", partial(self._drop, name))

    def _look(self) -> list[str]:
        # Ray reads it once, when it is imported.
        os.environ.update({**_SURVIVE, **self._environment})
        import ray
        from ray.exceptions import RayError

        if not ray.is_initialized():
            self._connect()
        try:
            return self._find()
        except RayError:
            # A head that was started anew does not know this connection, and never will.
            self._actors = {}
            ray.shutdown()
            raise

    def _connect(self) -> None:
        import ray

        # A stranger has no reason to survive: it would wait for a head that is away.
        given = {name: value for name, value in os.environ.items() if name not in _SURVIVE}
        stranger.check(self._address, given)
        ray.init(
            address=self._address,
            namespace=_NAMESPACE,
            configure_logging=False,
            log_to_driver=False,
        )

    def _find(self) -> list[str]:
        from ray.util import list_named_actors

        there = sorted(name for name in list_named_actors() if name.startswith(_PREFIX))
        names = (f"{_PREFIX}{number}" for number in count())
        free = (name for name in names if name not in there)
        more = islice(free, max(0, self._places() - len(there)))
        # Anew each time: another replica may have made another actor under the same name.
        self._actors = {name: self._actor(name) for name in (*there, *more)}
        return list(self._actors)

    def _places(self) -> int:
        import ray

        return int(ray.cluster_resources().get(self._unit, 0))

    def _actor(self, name: str) -> Any:
        """Return the actor with a name, which is made if there is none."""
        import ray

        from service.ray_engine.actor import SlotActor

        return (
            ray.remote(SlotActor)
            .options(
                name=name,
                namespace=_NAMESPACE,
                get_if_exists=True,
                lifetime="detached",
                max_restarts=-1,
                max_task_retries=0,  # the service decides what is repeated
                num_gpus=int(self._unit == "GPU"),
                num_cpus=int(self._unit == "CPU"),
                scheduling_strategy="SPREAD",
            )
            .remote(name, self._unit, self._task)
        )

    def _drop(self, name: str) -> None:
        import ray

        if name in self._actors and len(self._actors) > self._places():
            _log.warning("a slot is given up", slot=name)
            ray.kill(self._actors[name])
