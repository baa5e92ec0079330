"""What a program finds: a line of JSON each, written at once, so that a hang loses none of them."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable
from pathlib import Path

_SHOWN = 400
"""Characters of a finding that are printed."""


class Findings:
    """A file of findings, and a short copy of each on the terminal.

    Each line is an object: `at_s`, the seconds since the first; `section`, what was looked at; and
    `found`.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._began_s = time.monotonic()

    def note(self, section: str, found: object) -> None:
        """Write one finding."""
        at_s = round(time.monotonic() - self._began_s, 2)
        line = json.dumps({"at_s": at_s, "section": section, "found": found}, default=str)
        with self._path.open("a") as file:
            file.write(f"{line}\n")
        print(line[:_SHOWN], flush=True)

    def run(self, section: str, look: Callable[[], object]) -> bool:
        """Look at something, and write what was found or the error; say whether it was found."""
        try:
            found = look()
        except Exception as error:
            self.note(section, error_of(error))
            return False
        self.note(section, found)
        return True


def error_of(error: Exception) -> dict[str, str]:
    """Return an error as a finding."""
    trace = "".join(traceback.format_exception(error))
    return {"error": f"{type(error).__name__}: {str(error)[:1500]}", "trace": trace[-2000:]}
