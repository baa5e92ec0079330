"""Where in a file memory lies that is mapped from it: the kernel's own word."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path

_MAPS = Path("/proc/self/maps")
UNKNOWN = -1
"""The offset of what is not mapped from the file, as far as can be told."""


class Mapping:
    """The addresses at which parts of one file are mapped into this process, as they are now.

    Source: https://www.kernel.org/doc/html/latest/filesystems/proc.html (/proc/PID/maps)
    """

    def __init__(self, path: Path) -> None:
        """Ask the kernel; where it does not tell, all is unknown."""
        name = str(path.resolve())
        try:
            lines = _MAPS.read_text(errors="surrogateescape").split("\n")
        except OSError:
            lines = []
        self._areas = sorted(
            (int(start, 16), int(end, 16), int(offset, 16))
            for line in lines
            if line.endswith(f" {name}")
            for (start, _, end), offset in [(line.split()[0].partition("-"), line.split()[2])]
        )

    def offset_of(self, address: int) -> int:
        """Return the offset in the file of what lies at an address, or `UNKNOWN`."""
        index = bisect_right(self._areas, (address, -1, -1)) - 1
        for start, end, offset in self._areas[max(index, 0) : index + 2]:
            if start <= address < end:
                return address - start + offset
        return UNKNOWN
