"""`python -m service`: read the environment, and serve, or only check."""

from __future__ import annotations

import asyncio
import os
import sys

from convlast.errors import ConvlastError
from convlast.openmp import wait_asleep
from service import usage
from service.settings import Settings, SettingsError


def main() -> int:
    """Serve until a signal arrives, or only check, and return the exit status."""
    is_check = usage.asks_for_check(sys.argv[1:])
    # Imported now, since they take longer than the help.
    from service.app import create_app, workers_of
    from service.jobs.sharing.taking_part import store_of
    from service.sandbox import scrub_environment
    from service.server import DrainingServer
    from service.telemetry import checking, collecting, logs, service_lines
    from service.transfers.access import StoreAccess

    logs.configure()
    try:
        settings = Settings.from_environment(os.environ)
        logs.configure(settings.log_level)
        traced = collecting.from_environment(os.environ)
        stores = StoreAccess.from_environment(os.environ)
        scrub_environment()  # no secret may reach the fork server or the workers
        wait_asleep(os.environ)  # for the fork server and the workers, which import torch
        if is_check:
            return 0 if checking.run(settings, workers_of, store_of(settings, stores)) else 2
        # Locks the work folder, before a worker uses it.
        app = create_app(settings, traces=traced, stores=stores)
        if settings.engine == "local" and settings.device.startswith("cuda"):
            asyncio.run(workers_of(settings, settings.device).check())
        DrainingServer(app, settings).run()
    except (SettingsError, ConvlastError) as error:
        service_lines.tell_failure(error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
