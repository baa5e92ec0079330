"""Which system calls were refused to the workers, and how often, from what strace saw.

    python -m scripts.gpu.refused FILE

The file is of `strace -f -e status=failed`. Three parts are printed: what was refused; what was
absent from the folders of devices and of the kernel; the lines of what was refused, as they came.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_CALL = re.compile(r"\d+\s+(?P<call>\w+)\((?P<arguments>.*)\)\s+= (-1|\?) (?P<error>E\w+)")
_REFUSALS = {"EPERM", "EACCES", "ENOSYS", "EFBIG", "EMFILE", "ENOMEM", "ENODEV", "ENXIO"}
_FOLDERS = ("/dev", "/proc", "/sys", "/run", "/var/run", "/etc/nv", "/tmp/nvidia", "/usr/bin/nv")  # noqa: S108  # named, not used
_KINDS, _LINES, _TIMES = 150, 300, 3


@dataclass
class Refusals:
    """What was refused, and what was not there, each with its number.

    Attributes:
        refused: By error, call and path.
        absent: Likewise.
        lines: Of what was refused, the first few of each kind.
    """

    refused: Counter[str] = field(default_factory=Counter)
    absent: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)

    def note(self, line: str) -> None:
        """Take note of a line of strace."""
        if not (found := _CALL.match(line)):
            return
        error, what = found["error"], _what(found["arguments"])
        kind = f"{error:7} {found['call']}({what}{_flags(found['arguments'])})"
        if error in _REFUSALS:
            self.refused[kind] += 1
            if self.refused[kind] <= _TIMES:
                self.lines.append(line[:260])
        elif error == "ENOENT" and what.startswith(_FOLDERS):
            self.absent[kind] += 1

    def told(self) -> Iterator[str]:
        """Give all of it, as lines."""
        for title, counts in (("refused", self.refused), ("absent", self.absent)):
            yield f"== {title}"
            yield from (f"{number:6} {kind}" for kind, number in counts.most_common(_KINDS))
        yield f"== refused, as it came, the first {_TIMES} of each"
        yield from self.lines[:_LINES]


def refusals_in(lines: Iterable[str]) -> Refusals:
    """Sum up what strace saw."""
    found = Refusals()
    for line in lines:
        found.note(line)
    return found


def _what(arguments: str) -> str:
    """Return the path that a call was about, without numbers of processes, or its arguments."""
    path = re.search(r'"([^"]*)"', arguments)
    what = path[1] if path else arguments[:90]
    return re.sub(r"/(proc|task)/\d+", r"/\1/N", what)


def _flags(arguments: str) -> str:
    flags = re.search(r"O_[A-Z_|]+", arguments)
    return f", {flags[0]}" if flags else ""


if __name__ == "__main__":
    print("\n".join(refusals_in(Path(sys.argv[1]).read_text(errors="replace").splitlines()).told()))
