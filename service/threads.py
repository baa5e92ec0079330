"""Threads for blocking work: each kind has its own, so that no kind waits for another.

The default threads of asyncio are few. Sixteen slow writes would take all of them, and a small
request would wait until one ends.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


SMALL_BYTES = 256 << 10
"""Work on at most this many bytes never waits for larger work, see `for_bytes`."""


class Threads:
    """A bounded number of threads for one kind of work."""

    def __init__(self, name: str, count: int) -> None:
        """Set up the threads; each starts when it is first needed."""
        self._pool = ThreadPoolExecutor(count, name)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking work in one of the threads, like `asyncio.to_thread`."""
        context = contextvars.copy_context()
        call = partial(context.run, work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)


WRITING = Threads("writing", 8)
"""Writes uploads to disk. A batch of 4 MiB at a time, so that many uploads share the threads."""

HASHING = Threads("hashing", 4)
"""Computes digests of uploads, a batch at a time."""

READING = Threads("reading", 8)
"""Reads files for downloads, 1 MiB at a time."""

RECORDING = Threads("recording", 4)
"""Writes down jobs, and waits until this is on disk."""

STORING = Threads("storing", 16)
"""Asks the store that several services share, and waits for it."""

CARRYING = Threads("carrying", 8)
"""Sends checkpoints and results to the store, which may take minutes."""

SIGNALLING = Threads("signalling", 2)
"""Gives signs of life to other services, and looks at theirs, which must not wait for more."""

REMOVING = Threads("removing", 4)
"""Removes files that nobody waits for; freeing a gigabyte takes 0.15 s."""

COMPARING = Threads("comparing", 1)
"""Reads reports, to compare or rewrite them. One at a time, since they are in memory meanwhile."""

SMALL = Threads("small", 8)
"""Writes, hashes and reads small requests and answers, and the rest of large ones."""


def for_bytes(threads: Threads, size_bytes: int) -> Threads:
    """Return the threads for work on this many bytes: those given, or those for small work."""
    return threads if size_bytes > SMALL_BYTES else SMALL


def in_daemon(name: str, work: Callable[[], T]) -> asyncio.Future[T]:
    """Run work that may hang in a thread of its own, which does not keep the process from ending.

    Args:
        name: The name of the thread.
        work: What to do; what it raises is raised by the future.

    Raises:
        RuntimeError: If there is no thread to be had.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            tell = partial(done.set_result, work())
        # Whatever it is: nobody else would learn that the work has ended.
        except BaseException as error:
            tell = partial(done.set_exception, error)
        with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
            loop.call_soon_threadsafe(lambda: done.cancelled() or tell())

    threading.Thread(target=run, name=name, daemon=True).start()
    return done
