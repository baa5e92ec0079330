"""A `multipart/form-data` body, taken apart while it streams in, within bounds.

The parser reads the head of a part with `email`, whose time grows with the square of the length: 60
KB of semicolons take a minute. So a head is refused before the parser has seen its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from streaming_form_data.parser import (  # type: ignore[import-untyped]
    ParseFailedException,
    StreamingFormDataParser,
    UnexpectedPartException,
    parse_content_boundary,
)
from streaming_form_data.targets import BaseTarget  # type: ignore[import-untyped]

from convlast.errors import OptionError
from service.errors import MalformedRequestError

CHECKPOINT = "checkpoint"
MAX_OVERHEAD_BYTES = 256 << 10
"""Bytes of a body beside the checkpoint: heads of parts, fields, and what is still buffered."""

MAX_PARTS = 64
MAX_FIELD_BYTES = 64 << 10
"""Bytes of the values of all fields together."""

MAX_HEAD_BYTES = 2048
"""Bytes of the head of one part, its filename among them."""

MAX_CONTENT_TYPE_CHARS = 512

_TAIL_BYTES = 4096
_STEP_BYTES = 512


class _Bounds:
    """What has come so far of what is bounded."""

    def __init__(self) -> None:
        self.parts = 0
        self.field_bytes = 0
        self.checkpoint_bytes = 0

    @property
    def progress(self) -> int:
        """Changes whenever the parser has got through the head of a part."""
        return self.parts + self.field_bytes + self.checkpoint_bytes

    def add_part(self) -> None:
        self.parts += 1
        if self.parts > MAX_PARTS:
            raise MalformedRequestError(f"The body has more than {MAX_PARTS} parts.")

    def add_value(self, size_bytes: int) -> None:
        self.field_bytes += size_bytes
        if self.field_bytes > MAX_FIELD_BYTES:
            raise MalformedRequestError(
                f"The fields of the form have more than {MAX_FIELD_BYTES:,} bytes."
            )


class _Checkpoint(BaseTarget):  # type: ignore[misc]  # the library has no types
    """The part with the file."""

    def __init__(self, write: Callable[[bytes], None], bounds: _Bounds) -> None:
        super().__init__()
        self.write = write
        self.bounds = bounds
        self.parts = 0

    def on_start(self) -> None:
        self.bounds.add_part()
        self.parts += 1
        if self.parts > 1:
            raise MalformedRequestError(f"The body has several parts named {CHECKPOINT}.")

    def on_data_received(self, chunk: bytes) -> None:
        self.bounds.checkpoint_bytes += len(chunk)
        self.write(chunk)


class _Field(BaseTarget):  # type: ignore[misc]  # the library has no types
    """A part with the value of an option; it may come several times."""

    def __init__(self, bounds: _Bounds) -> None:
        super().__init__()
        self.bounds = bounds
        self.values: list[bytearray] = []

    def on_start(self) -> None:
        self.bounds.add_part()
        self.values.append(bytearray())

    def on_data_received(self, chunk: bytes) -> None:
        self.bounds.add_value(len(chunk))
        self.values[-1] += chunk


class Multipart:
    """Takes the body apart: the checkpoint goes to `write`, the fields are kept."""

    def __init__(
        self, content_type: str, field_names: Iterable[str], write: Callable[[bytes], None]
    ) -> None:
        """Prepare the parser.

        Raises:
            MalformedRequestError: If the media type names no boundary.
        """
        headers = {"Content-Type": content_type}
        if len(content_type) > MAX_CONTENT_TYPE_CHARS:
            raise MalformedRequestError("The Content-Type is too long.")
        try:
            self._edge = b"--" + parse_content_boundary(headers)
            self._parser = StreamingFormDataParser(headers, strict=True)
        except (ParseFailedException, ValueError, RecursionError):
            raise MalformedRequestError("The Content-Type names no usable boundary.") from None
        self._bounds = _Bounds()
        self._checkpoint = _Checkpoint(write, self._bounds)
        self._fields = {name: _Field(self._bounds) for name in field_names}
        self._parser.register(CHECKPOINT, self._checkpoint)
        for name, field in self._fields.items():
            self._parser.register(name, field)
        self._bytes = self._head_bytes = 0
        self._in_content = False
        self._tail = self._held = b""

    def write(self, data: bytes) -> None:
        """Take the next bytes of the body.

        Raises:
            MalformedRequestError: If it is not multipart.
            OptionError: If a field has the name of no option.
        """
        start = 0
        while start < len(data):
            piece = data[start : start + self._step(data, start)]
            before = self._bounds.progress
            self._parse(self._whole(piece))
            # A large piece was looked through already; here are the ends of it, or all of it.
            recent = self._tail + piece[-_TAIL_BYTES:]
            self._tail = recent[-_TAIL_BYTES:]
            has_advanced = self._bounds.progress > before
            self._in_content = has_advanced and self._edge not in recent
            self._head_bytes = 0 if has_advanced else self._head_bytes + len(piece)
            if self._head_bytes > MAX_HEAD_BYTES:
                raise MalformedRequestError(
                    f"The head of a part has more than {MAX_HEAD_BYTES:,} bytes."
                )
            self._bytes += len(piece)
            start += len(piece)
        if self._bytes - self._bounds.checkpoint_bytes > MAX_OVERHEAD_BYTES:
            raise MalformedRequestError(
                f"The body has more than {MAX_OVERHEAD_BYTES:,} bytes beside the checkpoint."
            )

    def _whole(self, piece: bytes) -> bytes:
        """Hold back the first bytes of a content that may yet become a boundary.

        The parser takes them for a broken one if its input ends in the midst of them.
        """
        data = self._held + piece
        # Only a piece that ends soon after a head can end so.
        _, blank, begun = (self._tail + piece)[-len(self._edge) - 4 :].rpartition(b"\r\n\r\n")
        count = len(begun) if blank and self._edge.startswith(begun) else 0
        self._held = data[len(data) - count :]
        return data[: len(data) - count]

    def _step(self, data: bytes, start: int) -> int:
        """Say how many bytes hold no end of a head that is too long."""
        width = len(self._edge)
        across = self._tail[-width + 1 :] + data[start : start + width]
        if not self._in_content or self._edge in across:
            return _STEP_BYTES
        end = data.find(self._edge, start)
        return (len(data) if end < 0 else end) - start

    def _parse(self, data: bytes) -> None:
        """Hand bytes to the parser, and tell its errors in our own words."""
        try:
            self._parser.data_received(data)
        except UnexpectedPartException as error:
            name = str(error.part_name)[:64]
            names = ", ".join([CHECKPOINT, *self._fields])
            raise OptionError(
                name, f"There is no option {name!r}.", remedy=f"The parts are {names}."
            ) from None
        # The parser reads headers with `email`, which meets hostile ones with any of these.
        except (
            ParseFailedException,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            RecursionError,
        ):
            raise MalformedRequestError(
                "The body is not well-formed multipart/form-data."
            ) from None

    def close(self) -> None:
        """Check that the body came to its end.

        Raises:
            MalformedRequestError: If it did not, or had no checkpoint.
        """
        self._parse(self._held)
        if self._edge + b"--" not in self._tail:
            raise MalformedRequestError("The body ends before its last boundary.")
        if not self._checkpoint.parts:
            raise MalformedRequestError(
                f"The body has no part named {CHECKPOINT}.",
                remedy=f"Send the file as a part of that name: curl -F {CHECKPOINT}=@model.pt",
            )

    @property
    def filename(self) -> str | None:
        """The name of the file, as the client gave it."""
        name: str | None = self._checkpoint.multipart_filename
        return name

    @property
    def fields(self) -> list[tuple[str, str]]:
        """Name and value of each field.

        Raises:
            OptionError: If a value is not text.
        """
        pairs = []
        for name, field in self._fields.items():
            for value in field.values:
                try:
                    pairs.append((name, value.decode()))
                except UnicodeDecodeError:
                    raise OptionError(name, f"Option {name} is not UTF-8.") from None
        return pairs
