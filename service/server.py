"""uvicorn, with draining: after SIGTERM the admitted jobs are finished, and new ones are refused.

Draining has a time limit: supervisors kill the process some time after SIGTERM, and then nothing is
cleaned up.

SIGHUP makes the service read its keys again. A service that was started in a terminal gets it when
the terminal is closed, and drains.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import resource
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI

from service import usage
from service.connection.connections import BoundedConnection
from service.context import Context
from service.settings import Settings, SettingsError
from service.telemetry import service_lines

ACCEPTED_AT_ONCE = 16
"""Connections that are accepted in one pass of the event loop, so that a probe does not wait behind
many new connections."""

_MOST_FILES = 65_536
_MAX_IDLE_MS = (1 << 31) - 1  # 24 days: the kernel's maximum
_log = structlog.get_logger()


class DrainingServer(uvicorn.Server):
    """A server that keeps listening while it drains, so that probes and refusals are answered."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                http=BoundedConnection,
                # Any client could give another's address, and use up its share.
                proxy_headers=False,
                log_config=None,  # see service.telemetry.logs
                access_log=False,  # see service.connection.observation
                server_header=False,
                lifespan="on",
                ws="none",
            )
        )
        self._settings = settings
        context: Context = app.state.context
        self._context = context
        self._job_admission = context.job_admission
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None
        # Asked now: a terminal that was closed is none any more.
        self._is_at_terminal = sys.stderr.isatty()

    def listen(self) -> socket.socket:
        """Open the port.

        A client that receives nothing and never closes would keep its connection open, and this
        process from ending; TCP_USER_TIMEOUT makes the kernel close such a connection.

        Raises:
            SettingsError: If the address is not this machine's, or the port cannot be used.
        """
        _allow_files()
        host, port = self._settings.host, self._settings.port
        listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        idle_ms = round(min(self._settings.client_idle_s * 1000, _MAX_IDLE_MS))
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, idle_ms)
        try:
            listening.bind((host, port))
        except OSError as error:
            listening.close()
            raise SettingsError(
                f"CONVLAST_HOST={host} and CONVLAST_PORT={port} cannot be used: {error.strerror}."
            ) from None
        _log.info("listening", host=host, port=listening.getsockname()[1])
        return listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and greet a person; a log has only lines of JSON."""
        await super().startup(sockets)
        if self.started and sockets and self._is_at_terminal:
            port = sockets[0].getsockname()[1]
            sys.stderr.write(usage.greeting(self._settings, port))

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal has arrived and all jobs are done.

        Raises:
            SettingsError: If the port cannot be opened.
        """
        self._loop = asyncio.get_running_loop()
        service_lines.tell_start(self._settings)
        first = sockets or [self.listen()]
        # uvloop accepts one connection per pass from each listening socket, duplicates included.
        more = [each.dup() for each in first for _ in range(ACCEPTED_AT_ONCE - 1)]
        # A full garbage collection would otherwise scan all imported modules, and block the loop
        # for 70 ms.
        gc.collect()
        gc.freeze()
        await super().serve([*first, *more])

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGHUP beside uvicorn's signals, unless it is ignored, as under `nohup`."""
        is_main = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGHUP)
        is_taken = is_main and before != signal.SIG_IGN
        if is_taken:
            signal.signal(signal.SIGHUP, self.handle_hangup)
        try:
            with super().capture_signals():
                yield
        finally:
            if is_taken:
                signal.signal(signal.SIGHUP, before)

    def handle_hangup(self, sig: int, frame: FrameType | None) -> None:
        """Read the keys again; if the terminal of the service was closed, drain."""
        if self._job_admission.draining:
            return  # a closing terminal may send several
        if self._is_at_terminal:
            self.handle_exit(sig, frame)
        elif self._loop is not None:
            self._loop.call_soon_threadsafe(self._read_keys, context=contextvars.Context())

    def _read_keys(self) -> None:
        _log.info("SIGHUP: the keys are read again; settings are read only at the start")
        self._context.keyring.read_again()
        self._context.jobs.signing_key.read_again()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first signal, exit at the second."""
        if self._loop is None or not self.started or self._job_admission.draining:
            self.should_exit = self.force_exit = True
        else:
            for admission in (self._job_admission, self._context.pending_admission):
                admission.drain()
            # The signal may arrive during a request, whose id the lines must not have.
            self._loop.call_soon_threadsafe(self._drain, context=contextvars.Context())

    def _drain(self) -> None:
        self._draining = asyncio.ensure_future(self._exit_when_empty())
        asyncio.get_running_loop().call_later(self._settings.drain_timeout_s, self._break_off)

    async def _exit_when_empty(self) -> None:
        _log.info("draining", jobs=self._job_admission.taken_count)
        jobs = self._context.jobs
        await jobs.suspend_waiting()  # they go on after the restart
        await self._job_admission.emptied()
        await jobs.none_runs()
        self.should_exit = True

    def _break_off(self) -> None:
        """Exit although jobs still wait or run."""
        _log.warning("draining took too long", jobs=self._job_admission.taken_count)
        self.should_exit = self.force_exit = True


def _allow_files() -> None:
    """Allow as many open files as the system lets: each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most if most != resource.RLIM_INFINITY else _MOST_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, _MOST_FILES), most))
