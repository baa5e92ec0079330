"""Parses a `multipart/form-data` body while it is received, within bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from email.message import Message

from multipart import (  # type: ignore[import-untyped]  # it has no marker for its types
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
)

from convlast.errors import OptionError
from service.errors import MalformedRequestError
from service.headers.filenames import MAX_DISPOSITION_BYTES

CHECKPOINT = "checkpoint"
MAX_OVERHEAD_BYTES = 256 << 10
"""Most bytes of a body beside the checkpoint: heads of parts, fields, and buffered bytes."""

MAX_PARTS = 64
MAX_FIELD_BYTES = 64 << 10
"""Most bytes in the values of all fields together."""

MAX_NAME_BYTES = 255
"""The longest text in place of a file that is taken for a file's name."""

MAX_CONTENT_TYPE_CHARS = 512


class Multipart:
    """Parses a body: passes the checkpoint to `write`, and keeps the fields."""

    def __init__(
        self, content_type: str, field_names: Iterable[str], write: Callable[[bytes], None]
    ) -> None:
        """Prepare the parser.

        Raises:
            MalformedRequestError: If the media type names no boundary.
        """
        if len(content_type) > MAX_CONTENT_TYPE_CHARS:
            raise MalformedRequestError("The Content-Type is too long.")
        # `email` accepts any character in an unquoted boundary, which many clients rely on.
        message = Message()
        message["Content-Type"] = content_type
        try:
            boundary = message.get_boundary() or ""
            self._parser = PushMultipartParser(boundary, max_header_size=MAX_DISPOSITION_BYTES)
        except (MultipartError, ValueError, LookupError, TypeError):
            raise MalformedRequestError("The Content-Type names no usable boundary.") from None
        self._write = write
        self._values: dict[str, list[bytearray]] = {name: [] for name in field_names}
        self._take: Callable[[bytes], None] = write  # until the first part begins
        self._parts = self._bytes = self._field_bytes = self._checkpoint_bytes = 0
        self._has_checkpoint = False
        self._name = bytearray()
        self.filename: str | None = None
        """The file name that the client gave."""

    def write(self, data: bytes) -> None:
        """Parse the next bytes of the body; there must be at least one.

        Raises:
            MalformedRequestError: If the body is not well-formed multipart.
            OptionError: If a field does not name an option.
        """
        self._bytes += len(data)
        try:
            for event in self._parser.parse(data):
                if isinstance(event, MultipartSegment):
                    self._begin(event)
                elif event is not None:
                    self._take(event)
        except ParserLimitReached:
            raise MalformedRequestError(
                "The head of a part is too long: a line has more than "
                f"{MAX_DISPOSITION_BYTES:,} bytes, or there are too many."
            ) from None
        except MultipartError:
            raise MalformedRequestError(
                "The body is not well-formed multipart/form-data."
            ) from None
        if self._bytes - self._checkpoint_bytes > MAX_OVERHEAD_BYTES:
            raise MalformedRequestError(
                f"The body has more than {MAX_OVERHEAD_BYTES:,} bytes beside the checkpoint."
            )

    def _begin(self, part: MultipartSegment) -> None:
        """Choose where the bytes of a new part go."""
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise MalformedRequestError(f"The body has more than {MAX_PARTS} parts.")
        name = part.name or ""
        if name == CHECKPOINT:
            if self._has_checkpoint:
                raise MalformedRequestError(f"The body has several parts named {CHECKPOINT}.")
            self._has_checkpoint, self.filename = True, part.filename
            self._take = self._take_checkpoint
        elif name in self._values:
            self._values[name].append(bytearray())
            self._take = self._take_value(self._values[name][-1])
        elif part.filename is not None:
            raise MalformedRequestError(
                f"The body has a file in a part named {name[:64]!r}.",
                remedy=f"Name the part {CHECKPOINT}: curl -F {CHECKPOINT}=@model.pt",
            )
        else:
            names = ", ".join([CHECKPOINT, *self._values])
            raise OptionError(
                name[:64], f"There is no option {name[:64]!r}.", remedy=f"The parts are {names}."
            )

    def _take_checkpoint(self, data: bytes) -> None:
        self._checkpoint_bytes += len(data)
        if self.filename is None and self._checkpoint_bytes <= MAX_NAME_BYTES:
            self._name += data
        self._write(data)

    def _take_value(self, value: bytearray) -> Callable[[bytes], None]:
        def take(data: bytes) -> None:
            self._field_bytes += len(data)
            if self._field_bytes > MAX_FIELD_BYTES:
                raise MalformedRequestError(
                    f"The fields of the form have more than {MAX_FIELD_BYTES:,} bytes."
                )
            value.extend(data)

        return take

    def close(self) -> None:
        """Check that the body is complete.

        Raises:
            MalformedRequestError: If it is not, or has no checkpoint.
        """
        try:
            self._parser.close()
        except MultipartError:
            raise MalformedRequestError("The body ends before its last boundary.") from None
        if self._has_checkpoint and self._is_name():
            raise MalformedRequestError(
                f"The part {CHECKPOINT} is the text {self._name.decode()!r}, and not a file.",
                remedy=f"With curl, write @ before the name: -F {CHECKPOINT}=@model.pt",
            )
        if not self._has_checkpoint:
            raise MalformedRequestError(
                f"The body has no part named {CHECKPOINT}.",
                remedy=f"Send the file as a part of that name: curl -F {CHECKPOINT}=@model.pt",
            )

    def _is_name(self) -> bool:
        """Return whether the checkpoint is a line of text, as where curl's @ was forgotten."""
        if not self._name or len(self._name) != self._checkpoint_bytes:
            return False
        try:
            return self._name.decode().isprintable()
        except UnicodeDecodeError:
            return False

    @property
    def fields(self) -> list[tuple[str, str]]:
        """Name and value of each field.

        Raises:
            OptionError: If a value is not UTF-8.
        """
        pairs = []
        for name, values in self._values.items():
            for value in values:
                try:
                    pairs.append((name, value.decode()))
                except UnicodeDecodeError:
                    raise OptionError(name, f"Option {name} is not UTF-8.") from None
        return pairs
