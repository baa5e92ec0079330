"""A `multipart/form-data` body, taken apart while it streams in."""

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
MAX_OVERHEAD_BYTES = 4 << 20
"""Bytes of a body beside the checkpoint: headers of parts, fields, and what is still buffered."""

_TAIL_BYTES = 4096


class _Checkpoint(BaseTarget):  # type: ignore[misc]  # the library has no types
    """The part with the file."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        super().__init__()
        self.write = write
        self.parts = 0
        self.bytes = 0

    def on_start(self) -> None:
        self.parts += 1
        if self.parts > 1:
            raise MalformedRequestError(f"The body has several parts named {CHECKPOINT}.")

    def on_data_received(self, chunk: bytes) -> None:
        self.bytes += len(chunk)
        self.write(chunk)


class _Field(BaseTarget):  # type: ignore[misc]  # the library has no types
    """A part with the value of an option; it may come several times."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[bytearray] = []

    def on_start(self) -> None:
        self.values.append(bytearray())

    def on_data_received(self, chunk: bytes) -> None:
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
        try:
            self._end = b"--" + parse_content_boundary(headers) + b"--"
            self._parser = StreamingFormDataParser(headers, strict=True)
        except (ParseFailedException, ValueError):
            raise MalformedRequestError("The Content-Type names no usable boundary.") from None
        self._checkpoint = _Checkpoint(write)
        self._fields = {name: _Field() for name in field_names}
        self._parser.register(CHECKPOINT, self._checkpoint)
        for name, field in self._fields.items():
            self._parser.register(name, field)
        self._bytes = 0
        self._tail = b""

    def write(self, data: bytes) -> None:
        """Take the next bytes of the body.

        Raises:
            MalformedRequestError: If it is not multipart.
            OptionError: If a field has the name of no option.
        """
        self._bytes += len(data)
        self._tail = (self._tail + data)[-_TAIL_BYTES:]
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
        if self._bytes - self._checkpoint.bytes > MAX_OVERHEAD_BYTES:
            raise MalformedRequestError(
                f"The body has more than {MAX_OVERHEAD_BYTES:,} bytes beside the checkpoint."
            )

    def close(self) -> None:
        """Check that the body came to its end.

        Raises:
            MalformedRequestError: If it did not, or had no checkpoint.
        """
        if self._end not in self._tail:
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
