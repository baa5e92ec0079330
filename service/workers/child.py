"""The worker's side of the pipe: warm up, answer probes, run one job, end."""

from __future__ import annotations

import errno
import importlib
import io
import os
import queue
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, Protocol

from convlast.errors import (
    ConvlastError,
    OutOfMemoryError,
    StorageFullError,
    VerificationError,
)
from convlast.errors.full_disk import NO_ROOM
from convlast.progress import Progress
from convlast.report import Report
from convlast.report.codes import finding
from service import sandbox
from service.workers import MAX_EMBEDDED_BYTES, REPORT_JSON, Confinement, Finished
from service.workers.folders import WorkerFolders
from service.workers.large_pages import use_small_pages
from service.workers.messages import (
    COMMAND,
    MAX_NAMES,
    MAX_NUMBER,
    MAX_TEXT,
    Event,
    Failed,
    LocalJob,
    Probe,
    Ready,
    Refused,
    Run,
    Stage,
)
from service.workers.output import receive_output

_MAX_NAME = 200
_TELL_S = 0.1
_MAX_ERRORS = 100


class Task(Protocol):
    """The module that does the work; tests have their own."""

    def warm(self, device: str, threads: int | None) -> dict[str, Any]:
        """Prepare the device, and return facts about it.

        Args:
            device: The device.
            threads: How many threads to compute with on the CPU; none: as many as there are cores.
        """

    def probe(self, device: str) -> dict[str, Any]:
        """Do one small operation on the device, and return facts about it."""

    def run(self, job: LocalJob, device: str, progress: Progress) -> Finished:
        """Run the job."""


def main(
    connection: socket.socket,
    task_name: str,
    device: str,
    folders: WorkerFolders,
    confinement: Confinement,
) -> None:
    """Run one job in the sandbox, and end.

    Args:
        connection: The pipe to the service.
        task_name: The module that does the work, a `Task`.
        device: The device to use.
        folders: The folders of this process, the only ones beside libraries that it can read.
        confinement: The limits of this process.
    """
    # The service decides when a worker ends: a signal to its process group must not end jobs that
    # are finished while the service drains.
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    use_small_pages()
    walls = sandbox.enter(
        folders.work,
        folders.input,
        connection.fileno(),
        receive_output(connection),
        max_file_bytes=confinement.max_file_bytes,
        # Otherwise torch.export would start CUDA in the sandbox even for jobs on the CPU.
        sees_gpus=device != "cpu",
    )
    stream = connection.makefile("rwb")
    commands: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(stream, commands), daemon=True).start()
    task: Task = importlib.import_module(task_name)

    def warm() -> Ready:
        facts = task.warm(device, confinement.cpu_threads)
        walls_now = [*walls, *sandbox.seal()]
        return Ready(facts=facts, walls=walls_now)

    first = _told(warm)
    _say(stream, first)
    held = first.walls if isinstance(first, Ready) else []
    while isinstance(command := COMMAND.validate_json(commands.get()), Probe):
        _say(stream, _told(lambda: Ready(facts=task.probe(device), walls=held)))
    _say(stream, _answer(task, command, device, stream))
    # No clean-up: threads or handlers that a job has left must not keep this process alive.
    os._exit(0)


def _listen(stream: io.BufferedRWPair, commands: queue.SimpleQueue[bytes]) -> None:
    """Pass commands on, and end this process when the service has closed the pipe."""
    for line in stream:
        commands.put(line)
    os._exit(0)


def _answer(task: Task, command: Run, device: str, stream: io.BufferedRWPair) -> Event:
    def run() -> Finished:
        try:
            return task.run(command.job, device, _telling(stream))
        except VerificationError as error:
            command.job.sign(error.report)
            # The report may be large, so it goes into the folder, not through the pipe.
            (command.job.folder / REPORT_JSON).write_text(_embeddable(error.report))
            raise

    return _told(run)


def _telling(stream: io.BufferedRWPair) -> Progress:
    """Return a progress callback that sends where a stage begins and ends, and the rest rarely.

    The end of a stage is sent together with what follows: each message of its own wakes the
    service.
    """
    told: tuple[str, int] | None = None
    told_at = 0.0

    def tell(name: str, done: int, total: int) -> None:
        nonlocal told, told_at
        now = time.monotonic()
        is_beginning, is_end = told != (name, total), done == total
        if is_beginning or is_end or now - told_at > _TELL_S:
            told, told_at = (name, total), now
            _write(stream, Stage(name=name, done=done, total=total))
            if is_beginning or not is_end:
                stream.flush()

    return tell


def _embeddable(report: Report) -> str:
    """Return a report for a refusal; one that is too long is cut down to its first errors."""
    text = report.model_dump_json()
    if len(text.encode()) <= MAX_EMBEDDED_BYTES:
        return text
    errors = [finding for finding in report.findings if finding.severity == "error"]
    left_out = finding(
        "report-shortened",
        message=f"The report has {len(text):,} characters, too many for a refusal: layers, files "
        "and all but the first errors are left out. The command line shows the whole report.",
    )
    kept = {"layers": [], "files": [], "smoke": None, "findings": [*errors[:_MAX_ERRORS], left_out]}
    return report.model_copy(update=kept).model_dump_json()


def _told(do: Callable[[], Event]) -> Event:
    """Call a function, and return its result or its error as an event."""
    try:
        return do()
    except ConvlastError as error:
        return _refused(error)
    except MemoryError:
        return _refused(OutOfMemoryError("The host has no memory left for this job."))
    except OSError as error:
        if error.errno == errno.EFBIG:
            return _refused(StorageFullError("A file grew larger than a worker may write."))
        if error.errno in NO_ROOM:
            return _refused(StorageFullError("The disk of the work folder is full."))
        return Failed(traceback=traceback.format_exc()[-MAX_TEXT:])
    except Exception:
        return Failed(traceback=traceback.format_exc()[-MAX_TEXT:])


def _refused(error: ConvlastError) -> Refused:
    return Refused(
        code=error.code,
        detail=str(error)[:MAX_TEXT],
        members={name: _bounded(value) for name, value in error.details.items()},
        has_report=isinstance(error, VerificationError),
    )


def _bounded(value: Any) -> Any:
    """Shorten a value: a hostile file may contain a million names, or a huge number."""
    if isinstance(value, list):
        return [str(each)[:_MAX_NAME] for each in value[:MAX_NAMES]]
    if isinstance(value, int):
        return max(-MAX_NUMBER, min(value, MAX_NUMBER))
    return value[:MAX_TEXT] if isinstance(value, str) else value


def _say(stream: io.BufferedRWPair, event: Event) -> None:
    _write(stream, event)
    stream.flush()


def _write(stream: io.BufferedRWPair, event: Event) -> None:
    stream.write(event.model_dump_json().encode() + b"\n")
