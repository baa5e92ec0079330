"""One worker process, seen from the service: started, asked, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import TypeVar

import pydantic
import structlog

from convlast.errors import ConvlastError, OutOfMemoryError
from convlast.removal import remove_tree
from service.cancellation import completed
from service.errors import WorkerCrashedError
from service.sandbox.memory_watch import MemoryWatch
from service.workers import Confinement, child
from service.workers.messages import EVENT, MAX_LINE_BYTES, Event, Probe, Run
from service.workers.output import WorkerOutput

Answer = TypeVar("Answer")

_EXIT_S = 10.0
_PORTION_BYTES, _PAUSE_S = 16 << 10, 0.02
"""Some 300 lines, and the time after them in which no line is read: an honest worker says fewer."""
_log = structlog.get_logger()


@dataclass
class WorkerProcess:
    """A process that has been forked, and the pipe to it."""

    process: ForkServerProcess
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    folder: Path
    output: WorkerOutput
    oom_kills_before: int

    @classmethod
    async def start(
        cls, context: ForkServerContext, task: str, device: str, confinement: Confinement
    ) -> WorkerProcess:
        """Fork a process into a folder of its own; it warms up on its own, and says so."""
        ours, theirs = socket.socketpair()
        folder = _make_folder(confinement)
        arguments = (theirs, task, device, folder, confinement.max_file_bytes)
        # Each job may leave a process in a bad way, so nothing waits for one at exit: daemon.
        process = context.Process(target=child.main, args=arguments, daemon=True)
        output: WorkerOutput | None = None
        try:
            output = WorkerOutput(folder, ours)
            # To its end, whoever leaves: another file could have the number that is on its way.
            await completed(asyncio.to_thread(process.start))
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=MAX_LINE_BYTES)
        except BaseException:
            ours.close()  # a process that was started all the same ends at once
            if output is not None:
                output.close()
            remove_tree(folder)
            raise
        finally:
            theirs.close()
        return cls(process, reader, writer, folder, output, _count_oom_kills())

    def can_work(self) -> bool:
        """Say whether it lives, and has a folder to put a job into."""
        return self.process.is_alive() and self.folder.is_dir()

    async def say(self, message: Run | Probe) -> None:
        """Send a command; a worker that has gone is noticed when it is listened to."""
        self.writer.write(message.model_dump_json().encode() + b"\n")
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def events(self) -> AsyncIterator[Event]:
        """Give what the worker says, and no faster than the service can do something beside it.

        Raises:
            WorkerCrashedError: If it ends, or says what makes no sense.
            OutOfMemoryError: If the kernel ended it for want of memory.
        """
        heard_bytes = 0
        while True:
            try:
                line = await self.reader.readline()
                if not line:
                    raise await self._end_as_error()
                event = EVENT.validate_json(line)
            except (ValueError, pydantic.ValidationError, ConnectionError):
                raise WorkerCrashedError.nonsense() from None
            yield event
            heard_bytes += len(line)
            if heard_bytes > _PORTION_BYTES:
                heard_bytes = 0
                await asyncio.sleep(_PAUSE_S)

    async def _end_as_error(self) -> ConvlastError:
        """Tell why it ended."""
        await asyncio.to_thread(self.process.join, _EXIT_S)
        code = self.process.exitcode
        how = _described(code)
        _log.error("worker ended", how=how, printed=self.output.end())
        if code == -signal.SIGKILL and _count_oom_kills() > self.oom_kills_before:
            return OutOfMemoryError(
                "The kernel ended the process of the job for want of memory.",
                remedy="Give the service more memory.",
            )
        return WorkerCrashedError(f"The process of the job ended with {how}.", ended_with=how)

    async def end(self) -> None:
        """End it, whatever it does; it is gone when this returns."""
        self.writer.close()
        if self.process.pid is not None:
            try:
                # It leads a group of its own, so that what it has started ends as well.
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                self.process.kill()
            await asyncio.to_thread(self.process.join, _EXIT_S)
        self.output.close()

    async def answer_within_memory(
        self, answer: Coroutine[None, None, Answer], max_bytes: int
    ) -> Answer:
        """Wait for an answer, as long as the process keeps within its memory.

        Raises:
            OutOfMemoryError: If it does not.
        """
        watch = MemoryWatch(self.process.pid or 0, max_bytes=max_bytes)
        answering = asyncio.ensure_future(answer)
        watching = asyncio.ensure_future(watch.wait_for_excess())
        try:
            await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                return answering.result()
            raise OutOfMemoryError(
                f"The job was stopped: it took too much {watching.result()}.",
                remedy="Raise CONVLAST_WORKER_MEMORY_BYTES if the file is trusted.",
            )
        finally:
            answering.cancel()
            watching.cancel()
            await asyncio.gather(answering, watching, return_exceptions=True)


def _make_folder(confinement: Confinement) -> Path:
    """Make a folder for one worker; done at once, so that nothing is left if that is cancelled."""
    folder = confinement.folder / secrets.token_hex(8)
    folder.mkdir(mode=0o700, parents=True)
    return folder


def _described(exit_code: int | None) -> str:
    """Put into words how a process has ended.

    >>> _described(3), _described(-9), _described(-40), _described(None)
    ('exit status 3', 'SIGKILL', 'signal 40', 'silence')
    """
    if exit_code is None:
        return "silence"
    if exit_code >= 0:
        return f"exit status {exit_code}"
    try:
        return signal.Signals(-exit_code).name
    except ValueError:  # those for real time have no names
        return f"signal {-exit_code}"


def _count_oom_kills() -> int:
    """Count the processes that the kernel has ended for want of memory, in all groups."""
    try:
        for line in Path("/proc/vmstat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    except OSError:
        pass
    return 0
