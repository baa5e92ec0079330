"""The page of recipes, `docs/loading.md`, taken apart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "loading.md"
BESIDE_A_CPU_BUILD = "Beside a CPU build of torch"

_BLOCK_OR_HEADING = re.compile(r"^```(\w+)\n(.*?)^```|^#+ (.+?)$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of code, in a language."""

    language: str
    code: str


def sections() -> dict[str, list[Block]]:
    """Return the blocks below each heading, in order."""
    found: dict[str, list[Block]] = {}
    heading = ""
    for match in _BLOCK_OR_HEADING.finditer(PAGE.read_text()):
        language, code, text = match.groups()
        if text is not None:
            heading = text
            found[heading] = []
        else:
            found[heading].append(Block(language, code))
    return found
