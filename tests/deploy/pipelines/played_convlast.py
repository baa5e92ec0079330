"""Plays `convlast convert`: does what the words of the checkpoint say, and tells how it was called.

`advises DECISION` is a conversion with this advice. `says N` ends with N bytes on stderr, `spoils`
leaves reports that are none. Of a model folder it reads the one file that is there.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main() -> int:
    """Write what a conversion writes, and `called.json` into the working folder."""
    options = [each for each in sys.argv[1:] if each.startswith("--")]
    given = [each.partition("=")[::2] for each in options]
    named = dict(given)
    keys = [Path(named[each]) for each in ("--key-file", "--signing-key") if each in named]
    key = keys[0] if keys else None
    called = {
        "arguments": sys.argv[1:],
        "environment": dict(os.environ),
        "key": key.read_text() if key else None,
        "mode": oct(key.stat().st_mode & 0o777) if key else None,
    }
    Path("called.json").write_text(json.dumps(called))
    checkpoint = Path(sys.argv[-1])
    read = next(filter(Path.is_file, checkpoint.iterdir())) if checkpoint.is_dir() else checkpoint
    verb, *words = read.read_text().split()
    if verb == "says":
        sys.stderr.write(f"convlast: verification-failed: {'n' * int(words[0])}\n")
        return 1
    report = {
        "advice": {"decision": words[0]} if words else None,
        "options": {"select": [named.get("--select", "all")]},
    }
    for name, value in given:
        if name == "--report":
            Path(value).write_text("" if verb == "spoils" else json.dumps(report))
    Path(named["--statement"]).write_text("{}")
    Path(named["--output"], f"{checkpoint.stem}.channels_last_3d.pt").write_text("converted")
    sys.stderr.write("convlast: passed: The verdict is passed.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
