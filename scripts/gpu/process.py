"""What the kernel tells of this process."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_FIELDS = ("RssAnon", "RssFile", "RssShmem", "VmSize", "Threads", "VmLck", "VmPin")


def usage() -> dict[str, str | int]:
    """Tell what this process takes: memory, threads, open files.

    `RssAnon` is what the service watches, and what stops a worker.
    """
    lines = [line.partition(":") for line in Path("/proc/self/status").read_text().splitlines()]
    found: dict[str, str | int] = {
        name: value.strip() for name, _, value in lines if name in _FIELDS
    }
    with suppress(OSError):
        found["open_files"] = len(list(Path("/proc/self/fd").iterdir()))
    return found
