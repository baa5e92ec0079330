"""A proxy that cuts connections on which nothing is sent for a while, as gateways do."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any

PIECE_BYTES = 1 << 16


class ImpatientProxy:
    """A TCP proxy on a free port of loopback; use it as a context.

    Attributes:
        uploaded_bytes: The bytes that clients have sent.
        downloaded_bytes: The bytes that the service has sent.
        cut: How many connections were cut.
        longest_s: How long the longest connection was open.
    """

    def __init__(self, port: int, *, idle_s: float = 5.0) -> None:
        """Set up.

        Args:
            port: The port of the service.
            idle_s: A connection is cut after so many seconds without a byte in either direction.
        """
        self._target, self._idle_s = port, idle_s
        self.uploaded_bytes = self.downloaded_bytes = self.cut = 0
        self.longest_s = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._open: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """The base URL of the service behind it."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> ImpatientProxy:
        """Start to listen."""
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", 0))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all connections."""
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _close(self) -> None:
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes on in both directions until one side closes, or nothing comes any more."""
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        began_s = time.monotonic()
        try:
            above, below = await asyncio.open_connection("127.0.0.1", self._target)
            connection = _Connection(self)
            upload = asyncio.create_task(connection.pass_on(reader, below, is_upload=True))
            download = asyncio.create_task(connection.pass_on(above, writer, is_upload=False))
            try:
                if await self._ends(connection, upload, download):
                    writer.close()  # after the bytes that are still to be sent
                    await writer.wait_closed()
            finally:
                below.transport.abort()  # first: whatever is awaited here may be cancelled
                for each in (upload, download):
                    each.cancel()
                await asyncio.gather(upload, download, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass  # the service is not there, a client has gone, or the proxy closes
        finally:
            writer.transport.abort()
            self.longest_s = max(self.longest_s, time.monotonic() - began_s)

    async def _ends(
        self, connection: _Connection, upload: asyncio.Task[None], download: asyncio.Task[None]
    ) -> bool:
        """Wait until the service has sent everything; return whether it did so in time."""
        # A client may close its sending side and wait for the answer.
        waiting = {upload, download}
        while download in waiting:
            left_s = connection.active_s + self._idle_s - time.monotonic()
            if left_s <= 0:
                self.cut += 1
                return False
            _, waiting = await asyncio.wait(
                waiting, timeout=left_s, return_when=asyncio.FIRST_COMPLETED
            )
        return True


class _Connection:
    """One connection, and when a byte last came."""

    def __init__(self, proxy: ImpatientProxy) -> None:
        self._proxy = proxy
        self.active_s = time.monotonic()

    async def pass_on(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, is_upload: bool
    ) -> None:
        """Pass bytes on until there are no more, and close the other side then."""
        while piece := await source.read(PIECE_BYTES):
            self.active_s = time.monotonic()
            if is_upload:
                self._proxy.uploaded_bytes += len(piece)
            else:
                self._proxy.downloaded_bytes += len(piece)
            target.write(piece)
            await target.drain()
        with suppress(OSError):
            target.write_eof()
