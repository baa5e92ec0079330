"""A file that is written in whatever order, for one who reads it in order meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from threading import Condition
from types import TracebackType

from convlast.bytes.digest import FilePart

_STEP_BYTES = 4 << 20
"""What has to be there before a waiting reader is woken."""


class Parts:
    """How far a file is final, from its first byte on.

    Whoever writes it says so as a context manager: with its end all of the file is final, or, after
    an exception, none of the rest will be.
    """

    def __init__(self, starts: Iterable[int]) -> None:
        """Begin.

        Args:
            starts: Where those parts begin whose bytes are not final yet; all others are, but for
                what follows the last one.
        """
        self._open = deque(sorted(starts))
        self._unfinished = set(self._open)
        self._done: dict[int, tuple[int, FilePart | None]] = {}
        self._claims: deque[tuple[int, FilePart]] = deque()
        self._final = self._open[0] if self._open else 0
        self._read = 0
        self._is_whole = self._is_given_up = False
        self._changed = Condition()

    def add(self, start: int, nbytes: int, claim: FilePart | None = None) -> None:
        """Say that the part which begins there is final.

        Args:
            start: Where it begins.
            nbytes: Its size.
            claim: What is stated of it and not checked yet.

        Raises:
            ValueError: If no such part is open: what was called final may have been read.
        """
        with self._changed:
            if start not in self._unfinished:
                raise ValueError(f"no part that begins at {start} is open")
            self._unfinished.remove(start)
            self._done[start] = start + nbytes, claim
            while self._open and self._open[0] in self._done:
                first = self._open.popleft()
                end, its_claim = self._done.pop(first)
                if its_claim is not None:
                    self._claims.append((first, its_claim))
                self._final = self._open[0] if self._open else end
            if self._is_enough():
                self._changed.notify_all()

    def __enter__(self) -> Parts:
        """Begin to write."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let the reader come to its end.

        Raises:
            ValueError: If a part is open still, and with it what is claimed of those behind it.
        """
        with self._changed:
            self._is_whole = error is None and not self._unfinished
            self._is_given_up = not self._is_whole
            self._changed.notify_all()
            if error is None and self._unfinished:
                raise ValueError(f"{len(self._unfinished)} parts were never called final")

    def __iter__(self) -> Iterator[FilePart]:
        """Yield the parts in order, as they become final; stop short if the writer gave up."""
        position = 0
        while True:
            with self._changed:
                self._read = position
                while not self._is_enough():
                    self._changed.wait()
                if self._is_given_up:
                    return
                is_whole, final, claims = self._is_whole, self._final, list(self._claims)
                self._claims.clear()
            for start, claim in claims:
                yield FilePart(start - position)
                yield claim
                position = start + (claim.nbytes or 0)
            if is_whole:
                yield FilePart(None)
                return
            yield FilePart(final - position)
            position = final

    def _is_enough(self) -> bool:
        is_over = self._is_whole or self._is_given_up
        return is_over or self._final - self._read >= _STEP_BYTES
