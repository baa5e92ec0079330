"""Requests to an application with fake workers, without a socket: each waits until it leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.types import Message

from service.app import create_app
from service.context import Context
from service.settings import Settings
from tests.service.jobs.boards import FakeWorkers

OCTETS = "application/octet-stream"


class Sender:
    """A client that sends one request and stays until `leave`."""

    def __init__(
        self,
        body: bytes = b"checkpoint",
        *,
        path: str = "/convert",
        query: str = "",
        root_path: str = "",
        **headers: str,
    ) -> None:
        fields = {"content_type": OCTETS, "content_length": str(len(body)), **headers}
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": path,
            "root_path": root_path,
            "query_string": query.encode(),
            "headers": [
                (name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()
            ],
            "client": ("127.0.0.1", 1),
        }
        self._messages = [{"type": "http.request", "body": body, "more_body": False}]
        self._left = asyncio.Event()
        self.request = Request(self.scope, self.receive)

    @classmethod
    def of_json(cls, members: object, **headers: str) -> Sender:
        """Make a client that sends JSON."""
        return cls(json.dumps(members).encode(), content_type="application/json", **headers)

    async def receive(self) -> Message:
        """Return the body, and then that the client has left."""
        if self._messages:
            return self._messages.pop()
        await self._left.wait()
        return {"type": "http.disconnect"}

    def leave(self) -> None:
        """Close the connection."""
        self._left.set()


@asynccontextmanager
async def applied(folder: Path, workers: FakeWorkers, **settings: Any) -> AsyncIterator[Context]:
    """Make an application, and yield its parts."""
    given = Settings(work_dir=folder, device="cpu", **settings)
    app = create_app(given, converters=workers, inspectors=workers)
    context: Context = app.state.context
    await context.jobs.start()
    try:
        yield context
    finally:
        await context.jobs.stop()
        context.workspace.close()
