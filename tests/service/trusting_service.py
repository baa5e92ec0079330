"""A service whose workers unpickle every upload, as if `weights_only` had failed.

`python -m tests.service.trusting_service`. It tests the sandbox without the safe unpickler: code of
an upload runs, and its result is in the answer.
"""

from __future__ import annotations

import os
import pickle
import sys
from typing import Any

from convlast.errors import CheckpointError
from convlast.progress import Progress
from service.app import create_app, local_workers
from service.server import DrainingServer
from service.settings import Settings
from service.telemetry import logs
from service.workers import Finished
from service.workers.messages import LocalJob

TASK = "tests.service.trusting_service"


def warm(device: str, threads: int | None) -> dict[str, Any]:
    """Be warm at once."""
    return {"device": device}


def probe(device: str) -> dict[str, Any]:
    """Report a healthy device."""
    return {"device": device}


def run(job: LocalJob, device: str, progress: Progress) -> Finished:
    """Run the code of an upload, and return its result as an error.

    Raises:
        NoCheckpointError: Always; its text is the result or the error of that code.
    """
    try:
        outcome = repr(pickle.loads(job.source.read_bytes()))
    except Exception as error:
        outcome = f"{type(error).__name__}: {error}"
    raise NoCheckpointError(outcome)


class NoCheckpointError(CheckpointError):
    """The result of the code of an upload."""

    code = "not-a-checkpoint"


def main() -> int:
    """Serve like `service.__main__`."""
    logs.configure()
    settings = Settings.from_environment(os.environ)
    workers = local_workers(settings, "cpu", TASK)
    app = create_app(settings, converters=workers, inspectors=local_workers(settings, "cpu", TASK))
    DrainingServer(app, settings).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
