"""The names in a model folder: they must be safe as file names when it is copied or unpacked."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TypeAlias

from convlast.errors import LimitExceededError, MalformedCheckpointError
from convlast.options import Limits

_MAX_PART_BYTES, _MAX_BYTES, _MAX_PARTS = 255, 1024, 32
"""The longest part of a path that file systems accept, the longest path, and the most parts."""

_DRIVE = re.compile(r"[A-Za-z]:")


_Level: TypeAlias = dict[str, "_Node"]
"""The entries of a folder, by their names without distinctions of case or accents' encoding."""


@dataclass(frozen=True)
class _Node:
    """A name in a folder.

    Attributes:
        spelling: The name as it is written.
        inside: The entries in it; None for a file.
    """

    spelling: str
    inside: _Level | None


class Names:
    """The names so far, as a tree of their parts; each name is checked when it is added."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._number = 0
        self._root: _Level = {}

    def take(self, name: str, *, is_folder: bool) -> str:
        """Add one name, and return it without a leading `./` or a trailing `/`.

        Raises:
            MalformedCheckpointError: If it leads elsewhere, cannot be the name of a file, or is
                there already, perhaps in another case or with accents encoded in another way.
            LimitExceededError: If there are more names than `max_files`.
        """
        self._number += 1
        refuse_number(self._number, self._limits)
        path = _bare(name, is_folder=is_folder)
        if is_folder and path in {"", "."}:
            return ""
        _refuse_unusable(name, path)
        self.note(path, is_folder=is_folder)
        return path

    def note(self, path: str, *, is_folder: bool) -> None:
        """Add a path, and the folders that lead to it.

        Raises:
            MalformedCheckpointError: If it, or a path that a file system may take for it, is there.
        """
        level, above = self._root, ""
        *folders, last = path.split("/")
        for part in folders:
            level = _entered(level, above, part, is_folder=True)
            above += f"{part}/"
        _entered(level, above, last, is_folder=is_folder)


def _entered(level: _Level, above: str, part: str, *, is_folder: bool) -> _Level:
    """Add a name to the folder at `above`, and return the entries below the name."""
    known = level.setdefault(_folded(part), new := _Node(part, {} if is_folder else None))
    if known.spelling != part:
        raise MalformedCheckpointError(
            f"Members {shown(above + known.spelling)} and {shown(above + part)} are one where case "
            "does not count, or in how many letters an accent is written.",
            remedy="Give them names that differ in more, and pack it anew.",
        )
    if known is not new and (known.inside is None or not is_folder):
        raise MalformedCheckpointError(f"Member {shown(above + part)} is there twice.")
    return {} if known.inside is None else known.inside


def _folded(part: str) -> str:
    r"""Normalize a name, so that two names are equal if some file system takes them for the same.

    Source: the Unicode Standard, section 3.13, D145 (canonical caseless matching).

    >>> _folded("\N{LATIN CAPITAL LETTER E WITH ACUTE}") == _folded("e\N{COMBINING ACUTE ACCENT}")
    True
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", part).casefold())


def _bare(name: str, *, is_folder: bool) -> str:
    """Remove leading `./` from a name, and the trailing `/` of a folder."""
    path = name.removesuffix("/") if is_folder else name
    start = re.match(r"(?:\./)*+", path)
    return path[start.end() :] if start else path


def shown(name: str) -> str:
    r"""Write a name for a message: quoted, and cut if it is long.

    >>> shown("../a" + 300 * "b" + "\n")[:10]
    "'../abbbbb"
    """
    return repr(name if len(name) <= 200 else f"{name[:200]}...")


def refuse_number(number: int, limits: Limits) -> None:
    """Refuse too many files.

    Raises:
        LimitExceededError: If there are more than `max_files`.
    """
    if number > limits.max_files:
        raise LimitExceededError(
            "There are many files", limit="max_files", allowed=limits.max_files, found=number
        )


def refuse_depth(path: str) -> None:
    """Refuse a path of too many parts.

    Raises:
        MalformedCheckpointError: If it has too many.
    """
    if path.count("/") >= _MAX_PARTS:
        raise MalformedCheckpointError(
            f"{shown(path)} lies deeper than {_MAX_PARTS} folders in each other.",
            remedy="Name the folder of the model itself.",
        )


def _refuse_unusable(name: str, path: str) -> None:
    parts = path.split("/")
    is_outside = path.startswith("/") or "\\" in path or _DRIVE.match(path) is not None
    if is_outside or not {"", ".", ".."}.isdisjoint(parts):
        raise MalformedCheckpointError(f"Member {shown(name)} has a name that leads elsewhere.")
    encoded = path.encode("utf-8", "surrogatepass")
    is_text = path.isprintable() and not any("\ud800" <= letter <= "\udfff" for letter in path)
    longest = max(len(part.encode("utf-8", "surrogatepass")) for part in parts)
    is_short = len(encoded) <= _MAX_BYTES and longest <= _MAX_PART_BYTES
    if not (is_text and is_short and len(parts) <= _MAX_PARTS):
        raise MalformedCheckpointError(
            f"Member {shown(name)} has a name that no file can have everywhere.",
            remedy="Give it a shorter one, of letters that can be printed, and pack it anew.",
        )
