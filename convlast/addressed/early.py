"""An upload that begins while its file is written, and becomes visible only when all is proven."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from convlast.addressed.background import Background
from convlast.progress import Progress
from convlast.stores.address import Address
from convlast.stores.opening import StoreOptions
from convlast.stores.writing import put, put_pieces

_PIECE_BYTES = 1 << 20


class EarlyUpload:
    """The upload of an artifact, in parts that are sent as soon as their bytes are final.

    The last part is held back until `finish`. Without it the store is told to forget the others.
    """

    def __init__(
        self, background: Background, place: Address, about_bytes: int, options: StoreOptions
    ) -> None:
        """Begin with nothing.

        Args:
            background: Where the upload runs.
            place: Where the artifact goes.
            about_bytes: How large it will be: at most a tenth more.
            options: How its store is asked.
        """
        self._background, self._place = background, place
        # One part less: the conversion takes memory at the same time.
        self._options = replace(options, parallel=max(1, options.parallel - 1))
        self._about_bytes = about_bytes
        self._upload: Future[None] | None = None
        self._file: BinaryIO | None = None
        self._final_bytes = 0
        self._is_over = self._is_proven = False
        self._changed = asyncio.Event()
        self._tell: Callable[[int], None] = lambda _: None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give up what was not finished: end it by an error, since then its parts are removed."""
        self._is_over = True
        if self._upload is not None:
            self._background.call(self._changed.set)
            self._upload.exception()
        if self._file is not None:
            self._file.close()

    def grown(self, path: Path, nbytes: int) -> None:
        """Hear how much of the artifact is final; called by the thread that reads it.

        Raises:
            StoreError: If the upload has failed, so that the work would be in vain.
        """
        if nbytes < self._options.part_bytes or nbytes < self._final_bytes + _PIECE_BYTES:
            return
        self._final_bytes = nbytes
        if self._upload is None:
            self._file = path.open("rb", buffering=0)
            pieces = self._pieces(self._file)
            self._upload = self._background.start(
                put_pieces(pieces, self._about_bytes, self._place, self._options)
            )
        if self._upload.done():
            self._upload.result()
        self._background.call(self._changed.set)

    def finish(self, made: Path, progress: Progress) -> None:
        """Send the rest of the artifact, which has passed, and make it visible.

        Raises:
            StoreError: If that cannot be done.
        """
        if self._upload is None:
            self._background.run(put(made, self._place, self._options, progress=progress))
            return
        total = made.stat().st_size
        # The last byte is told of when the artifact is there.
        self._tell = lambda done: progress("upload", min(done, total - 1), total)
        self._is_over = self._is_proven = True
        self._background.call(self._changed.set)
        self._upload.result()
        progress("upload", total, total)

    async def _pieces(self, file: BinaryIO) -> AsyncIterator[bytes]:
        """Yield what is final, and at last the rest.

        Raises:
            EOFError: If the artifact will never be whole.
        """
        position = 0
        while True:
            while self._final_bytes - position < _PIECE_BYTES and not self._is_over:
                self._changed.clear()
                await self._changed.wait()
            if self._is_over and not self._is_proven:
                raise EOFError("The artifact was given up.")
            if not (piece := file.read(_PIECE_BYTES)):
                return
            yield piece
            position += len(piece)
            self._tell(position)
