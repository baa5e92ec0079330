"""The actor: a slot with workers of its own, in a process that Ray starts.

Ray imports this module there by its name: the version of the service is that of the node, and so
are the settings.
"""

from __future__ import annotations

import os
import re
import sys
from multiprocessing import forkserver

import ray

from convlast.openmp import wait_asleep
from convlast.places.removal import remove_tree
from convlast.stores.opening import StoreOptions
from service.ray_engine.slot import Slot
from service.sandbox import scrub_environment
from service.settings import Settings
from service.telemetry import logs
from service.workers import Confinement, machine
from service.workers.lanes.memory_budget import MemoryBudget
from service.workers.local import Capacity, LocalWorkers

_STORES = re.compile(r"(AWS|GOOGLE|AZURE)_.+")
"""The variables from which the store's library takes its credentials."""


class SlotActor(Slot):
    """A slot as an actor."""

    def __init__(self, name: str, unit: str, task: str) -> None:
        """Set up a slot.

        Args:
            name: The name of the actor.
            unit: What it takes of its node: a `GPU`, or one `CPU` of those that the node offers.
            task: The dotted name of the module that does the work.
        """
        settings = Settings.from_environment(os.environ)
        logs.configure(settings.log_level)
        folder = settings.work_dir.with_name(f"{settings.work_dir.name}-slots") / name
        # No other actor has this name, so what lies here is left by an earlier process.
        remove_tree(folder)
        slots = _slots_here(unit)
        total_bytes = (settings.memory_bytes or machine.default_memory_bytes()) // slots
        workers = LocalWorkers(
            task=task,
            # Ray shows each actor the one GPU that it has.
            device="cuda:0" if unit == "GPU" else "cpu",
            job_timeout_s=settings.job_timeout_s,
            confinement=Confinement(
                folder=folder / "workers",
                max_memory_bytes=settings.worker_memory_bytes,
                max_file_bytes=2 * max(settings.max_upload_bytes, settings.max_unpacked_bytes),
                cpu_threads=machine.threads_of_each(slots),
                is_required=settings.require_sandbox,
            ),
            capacity=Capacity(1, settings.warm_workers),
            memory=MemoryBudget(total_bytes, settings.worker_memory_bytes),
        )
        options = StoreOptions(variables=_start_fork_server())
        super().__init__(workers, options, folder / "jobs")


def _slots_here(unit: str) -> int:
    """Return how many slots share this node."""
    own = ray.get_runtime_context().get_node_id()
    return next(int(node["Resources"][unit]) for node in ray.nodes() if node["NodeID"] == own)


def _start_fork_server() -> dict[str, str]:
    """Start the fork server in an environment without secrets, and return those of the store.

    All workers are forked from that server, so they never have had any; nor would another server
    that is started after this one has died.
    """
    environment = os.environ
    credentials = {name: value for name, value in environment.items() if _STORES.fullmatch(name)}
    scrub_environment()
    environment.pop("OMP_NUM_THREADS", None)  # Ray's choice, for work that says nothing itself
    wait_asleep(environment)
    # Otherwise each worker would first run Ray's program, as the main module of its parent.
    vars(sys.modules["__main__"]).pop("__file__", None)
    forkserver.ensure_running()
    return credentials
