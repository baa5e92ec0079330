"""`python -m tests.service.fake_service`: the service, with the task `tests.service.fakes`."""

from __future__ import annotations

import os
import sys

from service.app import create_app, local_workers
from service.jobs.sharing import watch
from service.server import DrainingServer
from service.settings import Settings
from service.telemetry import collecting, logs
from service.transfers.access import StoreAccess
from service.workers import Workers

TASK = "tests.service.fakes"
RAY_TASK = "tests.service.ray_engine.tasks"


def main() -> int:
    """Serve like `service.__main__`."""
    watch.BEAT_S, watch.SILENCE_S = 0.3, 3.0  # so that a test need not wait for half a minute
    settings = Settings.from_environment(os.environ)
    logs.configure(settings.log_level)
    app = create_app(
        settings,
        converters=_converters(settings),
        inspectors=local_workers(settings, "cpu", TASK),
        traces=collecting.from_environment(os.environ),
        stores=StoreAccess.from_environment(os.environ),
    )
    DrainingServer(app, settings).run()
    return 0


def _converters(settings: Settings) -> Workers:
    """Make workers with the task, on this machine or on a cluster."""
    if settings.engine == "local":
        return local_workers(settings, "cpu", TASK)
    from service.ray_engine.workers import RayWorkers

    return RayWorkers.of(settings, task=RAY_TASK)


if __name__ == "__main__":
    sys.exit(main())
