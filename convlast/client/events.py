"""Server-sent events, parsed while they arrive.

The parser is our own because a gateway could send a line without an end, which httpx-sse would
hold in memory: here an event is at most MAX_EVENT_BYTES long.

Source: WHATWG HTML, section 9.2.6, "Interpreting an event stream"
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass

MEDIA_TYPE = "text/event-stream"
MAX_EVENT_BYTES = 16 << 20
"""Above the largest job: its options are at most a few MiB."""

_END_OF_LINE = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LONGEST_RETRY_S = 30.0


class NotEventsError(Exception):
    """The bytes are not the events of a job."""


@dataclass(frozen=True)
class Event:
    """An event.

    Attributes:
        data: Its data.
        id: The id of the last event that had one; the client goes on after it.
    """

    data: str
    id: str


class Events:
    """The events in a stream."""

    def __init__(self) -> None:
        self.retry_s = 1.0
        """How long to wait before the stream is opened again."""
        self._is_begun = self._skips_newline = False
        self._line: list[bytes] = []
        self._data: list[str] = []
        self._nbytes = 0
        self._name = self._id = ""

    async def read(self, pieces: AsyncIterator[bytes]) -> AsyncGenerator[Event]:
        """Yield the events; an event that is cut off is none.

        Raises:
            NotEventsError: If a line or an event is too long.
        """
        async for piece in pieces:
            for event in self.feed(piece):
                yield event

    def feed(self, piece: bytes) -> Iterator[Event]:
        """Yield the events that end in the next bytes.

        Raises:
            NotEventsError: If a line or an event is too long.
        """
        for line in self._lines(piece):
            if not self._is_begun:
                self._is_begun, line = True, line.removeprefix(_BYTE_ORDER_MARK)
            if line:
                self._take(line.decode(errors="replace"))
            elif event := self._dispatched():
                yield event

    def _lines(self, piece: bytes) -> Iterator[bytes]:
        """Yield the lines that end in a piece, which may end within a line's end."""
        if self._skips_newline and piece:
            piece = piece.removeprefix(b"\n")
        self._skips_newline = piece.endswith(b"\r")
        *lines, rest = _END_OF_LINE.split(piece)
        for line in lines:
            yield b"".join([*self._line, line])
            self._line.clear()
        self._line.append(rest)
        self._nbytes += len(piece)
        if self._nbytes > MAX_EVENT_BYTES:
            raise NotEventsError("an event without an end")

    def _take(self, line: str) -> None:
        """Take a line with a field; a comment has an empty name."""
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._name = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and re.fullmatch("[0-9]{1,9}", value):
            self.retry_s = min(int(value) / 1000, _LONGEST_RETRY_S)

    def _dispatched(self) -> Event | None:
        """Return the event that an empty line ends; None for one without data, or of a name."""
        data, name = self._data, self._name
        self._data, self._name, self._nbytes = [], "", 0
        return Event("\n".join(data), self._id) if data and name in {"", "message"} else None
