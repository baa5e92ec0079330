"""`python -m service.ray_engine head` or `node`: start a part of the cluster, until a signal comes.

Further arguments go to `ray start`, such as `--node-ip-address=10.0.0.7`.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from service.ray_engine import token
from service.settings import Settings, SettingsError
from service.telemetry import service_lines
from service.workers import machine

_STORE_BYTES = 80 << 20
"""The least that Ray takes for objects in memory; no file of a job is one."""

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # The service bounds the memory of each worker itself, and Ray would end the whole actor.
    "RAY_memory_monitor_refresh_ms": "0",
    # Jobs would get what all other processes of the machine leave over.
    "RAY_worker_niceness": "0",
    # At its end a node would wait for its slots, which never end, while they still take jobs.
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
}


def arguments(settings: Settings, part: str) -> list[str]:
    """Return the arguments of `ray start` for a part of the cluster.

    Raises:
        SettingsError: If there is no such part.
    """
    always = ["start", "--block", f"--object-store-memory={_STORE_BYTES}", "--disable-usage-stats"]
    if part == "head":
        port = settings.ray_address.rpartition(":")[2]
        return [
            *always, "--head", f"--port={port}", "--include-dashboard=false",
            "--num-cpus=0", "--num-gpus=0",
        ]  # fmt: skip
    if part == "node":
        address = f"--address={settings.ray_address}"
        if settings.device != "cpu":
            return [*always, address, "--num-cpus=0"]  # Ray counts the GPUs itself
        slots = settings.workers or machine.default_workers()
        return [*always, address, f"--num-cpus={slots}", "--num-gpus=0"]
    raise SettingsError("Name a part of the cluster to start: head, or node.")


def main() -> NoReturn:
    """Become the part that is named, or exit with 2."""
    part, *more = sys.argv[1:] or [""]
    try:
        settings = Settings.from_environment(os.environ)
        given = arguments(settings, part)
        if part == "head" and settings.ray_token_file is not None:
            token.make(settings.ray_token_file)
        os.environ.update({**_ENVIRONMENT, **token.protected(settings)})
    except SettingsError as error:
        service_lines.tell_failure(error)
        sys.exit(2)
    program = [sys.executable, "-m", "ray.scripts.scripts", *given, *more]
    os.execv(sys.executable, program)  # noqa: S606  # it takes the place of this process


if __name__ == "__main__":
    main()
