"""The service's side of one worker process: starts it, talks to it, and ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import TypeVar

import pydantic
import structlog

from convlast.errors import ConvlastError, OutOfMemoryError
from service.cancellation import completed
from service.errors import WorkerCrashedError
from service.sandbox.memory_watch import Excess, MemoryWatch
from service.threads import REMOVING
from service.workers import Confinement, child
from service.workers.folders import WorkerFolders
from service.workers.messages import EVENT, MAX_LINE_BYTES, Event, Probe, Run
from service.workers.output import WorkerOutput

T = TypeVar("T")

_EXIT_S = 10.0
_THREAD = ThreadPoolExecutor(1, "processes")
_PORTION_BYTES, _PAUSE_S = 16 << 10, 0.02
"""After this many bytes, about 300 lines, reading pauses. An honest worker sends fewer lines."""
_EXCESS: Mapping[Excess, str] = {"memory": "much memory", "threads": "many threads"}
_log = structlog.get_logger()


@dataclass
class WorkerProcess:
    """A forked process, and the pipe to it."""

    process: ForkServerProcess
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    folders: WorkerFolders
    output: WorkerOutput
    oom_kills_before: int

    @classmethod
    async def start(
        cls, context: ForkServerContext, task: str, device: str, confinement: Confinement
    ) -> WorkerProcess:
        """Fork a process, with folders of its own; it warms up, and then sends `Ready`."""
        ours, theirs = socket.socketpair()
        # Not in a thread, so that cancelling cannot leave a folder.
        folders = WorkerFolders.make(confinement.folder)
        arguments = (theirs, task, device, folders, confinement)
        # Daemon: a job may leave its process in a bad state, so exiting must not wait for it.
        process = context.Process(target=child.main, args=arguments, daemon=True)
        output: WorkerOutput | None = None
        try:
            output = WorkerOutput(folders.root, ours)
            # Not to be cancelled: the thread still uses the number of `theirs`, which could be
            # another file's once `theirs` is closed.
            oom_kills_before = await completed(_with_processes(partial(_begin, process)))
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=MAX_LINE_BYTES)
        except BaseException:
            ours.close()  # if the process was started, it ends at once
            if output is not None:
                output.close()
            folders.remove()
            raise
        finally:
            theirs.close()
        return cls(process, reader, writer, folders, output, oom_kills_before)

    def can_work(self) -> bool:
        """Return whether the process is alive and has its folders."""
        return not self.reader.at_eof() and self.folders.exist()

    async def say(self, message: Run | Probe) -> None:
        """Send a command; `events` raises if the worker has ended."""
        self.writer.write(message.model_dump_json().encode() + b"\n")
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def events(self) -> AsyncIterator[Event]:
        """Yield the worker's messages, at a limited rate, so that the event loop stays free.

        Raises:
            WorkerCrashedError: If the worker ends, or sends an invalid message.
            OutOfMemoryError: If the kernel has killed it for lack of memory.
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
        """Return why the worker has ended."""
        await self._gone()
        code = await _with_processes(lambda: self.process.exitcode)
        how = _described(code)
        _log.error("worker ended", how=how, printed=self.output.end())
        if code == -signal.SIGKILL and _count_oom_kills() > self.oom_kills_before:
            return OutOfMemoryError(
                "The kernel killed the process of the job for lack of memory.",
                remedy="Give the service more memory.",
            )
        return WorkerCrashedError(f"The process of the job ended with {how}.", ended_with=how)

    async def end(self) -> None:
        """Kill the process, and wait until it is gone and can write no more."""
        self.writer.close()
        if self.process.pid is not None:
            try:
                # It leads a process group, so any process that it has started is killed too.
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                self.process.kill()
            await self._gone()
        self.output.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def clear(self) -> None:
        """Close what is held of a process that has ended, and remove its folders.

        Otherwise its pipes stay open until Python collects the garbage.
        """
        with contextlib.suppress(ValueError):  # it could not be killed
            await _with_processes(self.process.close)
        await REMOVING.run(self.folders.remove)

    async def _gone(self) -> None:
        """Wait until the fork server has reaped the process, without a thread."""
        if self.process.pid is None:
            return
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        loop.add_reader(self.process.sentinel, gone.set)
        try:
            async with asyncio.timeout(_EXIT_S):
                await gone.wait()
        except TimeoutError:
            _log.error("a worker cannot be killed", pid=self.process.pid)
        finally:
            loop.remove_reader(self.process.sentinel)

    async def answer_within_memory(self, answer: Coroutine[None, None, T], max_bytes: int) -> T:
        """Wait for an answer, as long as the process stays within its memory limit.

        Raises:
            OutOfMemoryError: If it exceeds the limit.
        """
        watch = MemoryWatch(self.process.pid or 0, max_bytes=max_bytes)
        answering = asyncio.ensure_future(answer)
        watching = asyncio.ensure_future(watch.wait_for_excess())
        try:
            await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                return answering.result()
            raise OutOfMemoryError(
                f"The job was stopped: it used too {_EXCESS[watching.result()]}.",
                remedy="If the file is trusted, raise CONVLAST_WORKER_MEMORY_BYTES, and "
                "CONVLAST_MEMORY_BYTES if that is less.",
            )
        finally:
            answering.cancel()
            watching.cancel()
            await asyncio.gather(answering, watching, return_exceptions=True)


async def _with_processes(do: Callable[[], T]) -> T:
    """Call a function of a process object, in the one thread that does so.

    `multiprocessing` polls all its processes whenever one is started. Two threads that poll the
    same one both read its exit code from a pipe, and one of them gets a wrong code.
    """
    return await asyncio.get_running_loop().run_in_executor(_THREAD, do)


def _begin(process: ForkServerProcess) -> int:
    """Start a process, and return how many others the kernel has killed so far."""
    process.start()
    return _count_oom_kills()


def _described(exit_code: int | None) -> str:
    """Describe how a process has ended.

    >>> _described(3), _described(-9), _described(-40), _described(None)
    ('exit status 3', 'SIGKILL', 'signal 40', 'silence')
    """
    if exit_code is None:
        return "silence"
    if exit_code >= 0:
        return f"exit status {exit_code}"
    try:
        return signal.Signals(-exit_code).name
    except ValueError:  # real-time signals have no names
        return f"signal {-exit_code}"


def _count_oom_kills() -> int:
    """Return how many processes of this machine the kernel has killed for lack of memory."""
    try:
        for line in Path("/proc/vmstat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    except OSError:
        pass
    return 0
