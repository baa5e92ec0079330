"""`python -m tests.service.fake_service`: the service, with the task `tests.service.fakes`."""

from __future__ import annotations

import os
import sys

from service.app import create_app, local_workers
from service.server import DrainingServer
from service.settings import Settings
from service.telemetry import logs, traces

TASK = "tests.service.fakes"


def main() -> int:
    """Serve like `service.__main__`."""
    settings = Settings.from_environment(os.environ)
    logs.configure(settings.log_level)
    app = create_app(
        settings,
        converters=local_workers(settings, "cpu", TASK),
        inspectors=local_workers(settings, "cpu", TASK),
        traces=traces.from_environment(os.environ),
    )
    DrainingServer(app, settings).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
