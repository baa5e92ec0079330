"""Workers that the test plays itself, which send and leave what it tells them.

Everything else is the real service: the pipe and the handling of its messages, the work folder, the
store, and the application.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.context import Context
from service.settings import Settings
from service.workers import Confinement
from service.workers.folders import WorkerFolders
from service.workers.messages import COMMAND, MAX_LINE_BYTES, LocalJob, Probe, Ready, Run
from service.workers.output import WorkerOutput
from service.workers.process import WorkerProcess
from tests.service import fakes

Leave = Callable[[Path], None]
HEADERS = {"Content-Type": "application/octet-stream"}


@dataclass
class Part:
    """What a compromised worker does with its job.

    Attributes:
        lines: The messages that it sends.
        files: What it leaves in the job's folder: bytes, or a function that is called with a path.
    """

    lines: list[bytes]
    files: dict[str, bytes | Leave] = field(default_factory=dict)

    def play(self, job: LocalJob) -> bytes:
        """Leave the files, and return the lines to send."""
        for name, content in self.files.items():
            path = job.folder / name
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                content(path)
        return b"".join(line + b"\n" for line in self.lines)


class _Process:
    """The part of a process object that the service uses."""

    pid = None
    exitcode = 0

    def close(self) -> None:
        """Do nothing: there is no process."""


class Stage:
    """A service whose workers are played."""

    def __init__(self, app: FastAPI, runner: asyncio.Runner) -> None:
        self.context: Context = app.state.context
        self._app, self._runner = app, runner
        self._part: Part | None = None
        self._names = count()

    def send(self, path: str, part: Part | None = None, **headers: str) -> httpx.Response:
        """Send a checkpoint of a new name to a worker that plays a part, or to an honest one."""
        self._part = part
        named = f"{path}?filename={next(self._names)}.pt"
        return self._runner.run(self._request("POST", named, {**HEADERS, **headers}))

    def get(self, path: str) -> httpx.Response:
        """Send a GET."""
        return self._runner.run(self._request("GET", path, {}))

    def play(self, scene: Callable[[httpx.AsyncClient], Coroutine[Any, Any, None]]) -> None:
        """Run a scene with a client; workers are honest."""
        self._part = None

        async def run() -> None:
            transport = httpx.ASGITransport(self._app)
            url = "http://127.0.0.1"
            async with httpx.AsyncClient(transport=transport, base_url=url, timeout=60) as client:
                await scene(client)

        self._runner.run(run())

    async def _request(self, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
        transport = httpx.ASGITransport(self._app)
        url = "http://127.0.0.1"
        async with httpx.AsyncClient(transport=transport, base_url=url, timeout=60) as client:
            content = b"content" if method == "POST" else None
            return await client.request(method, path, content=content, headers=headers)

    async def start_worker(
        self, _context: ForkServerContext, _task: str, _device: str, confinement: Confinement
    ) -> WorkerProcess:
        """Replace `WorkerProcess.start`."""
        folders = WorkerFolders.make(confinement.folder)
        ours, theirs = socket.socketpair()
        output = WorkerOutput(folders.root, ours)
        theirs.recv(1)
        playing = asyncio.create_task(self._play(theirs))
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=MAX_LINE_BYTES)
        process = cast("Any", _Process())
        process.playing = playing  # a reference, so that it is not collected
        return WorkerProcess(process, reader, writer, folders, output, 0)

    async def _play(self, theirs: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=theirs)
        writer.write(_said(Ready(facts={}, walls=[])))
        while line := await reader.readline():
            command = COMMAND.validate_json(line)
            if isinstance(command, Probe):
                writer.write(_said(Ready(facts={}, walls=[])))
                continue
            try:
                writer.write(self._answer(command))
                await writer.drain()
            except ConnectionError:
                pass
            break
        writer.close()

    def _answer(self, command: Run) -> bytes:
        if self._part is not None:
            return self._part.play(command.job)
        return _said(fakes.run(command.job, "cpu", lambda *_: None))


@contextmanager
def staged(folder: Path, **settings: object) -> Iterator[Stage]:
    """Run a service whose workers are played."""
    values = {"work_dir": folder / "work", "device": "cpu", **settings}
    app = create_app(Settings.model_validate(values))
    with asyncio.Runner() as runner, pytest.MonkeyPatch.context() as patch:
        stage = Stage(app, runner)
        patch.setattr(WorkerProcess, "start", stage.start_worker)
        lifespan = app.router.lifespan_context(app)
        runner.run(_entered(lifespan))
        yield stage
        runner.run(_left(lifespan))


async def _entered(lifespan: Any) -> None:
    await lifespan.__aenter__()


async def _left(lifespan: Any) -> None:
    await lifespan.__aexit__(None, None, None)


def _said(event: Any) -> bytes:
    return cast("bytes", event.model_dump_json().encode() + b"\n")


def line(event: str, **fields: object) -> bytes:
    """Write an event with any fields."""
    return json.dumps({"event": event, **fields}).encode()
