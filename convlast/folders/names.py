"""The names of an archive's members, of which whoever unpacks it will make files."""

from __future__ import annotations

import re
import unicodedata

from convlast.errors import LimitExceededError, MalformedCheckpointError
from convlast.options import Limits

_MAX_PART_BYTES, _MAX_BYTES, _MAX_PARTS = 255, 1024, 32
"""Of one part, as file systems take them; of a whole path; and how many parts it may have."""

_DRIVE = re.compile(r"[A-Za-z]:")


class Names:
    """The names met so far, each judged as it comes."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._number = 0
        self._spellings: dict[str, str] = {}
        """How each path is written, by the path where case and accents do not count."""
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def take(self, name: str, *, is_folder: bool) -> str:
        """Take one name, and return it without a leading `./` or a trailing `/`.

        Raises:
            MalformedCheckpointError: If it leads elsewhere, cannot be the name of a file, or is
                there already, also where only case or accents are written in another way.
            LimitExceededError: If there are more names than `max_files`.
        """
        self._number += 1
        refuse_number(self._number, self._limits)
        path = name.removesuffix("/") if is_folder else name
        while path.startswith("./"):
            path = path.removeprefix("./")
        if is_folder and path in {"", "."}:
            return ""
        _refuse_unusable(name, path)
        parts = path.split("/")
        for end in range(1, len(parts)):
            self._note("/".join(parts[:end]), is_folder=True)
        self._note(path, is_folder=is_folder)
        return path

    def _note(self, path: str, *, is_folder: bool) -> None:
        folded = unicodedata.normalize("NFC", path).casefold()
        if (known := self._spellings.setdefault(folded, path)) != path:
            raise MalformedCheckpointError(
                f"Members {shown(known)} and {shown(path)} are one where case does not count.",
                remedy="Give them names that differ in more, and pack it anew.",
            )
        if folded in self._files or (not is_folder and folded in self._folders):
            raise MalformedCheckpointError(f"Member {shown(path)} is there twice.")
        (self._folders if is_folder else self._files).add(folded)


def shown(name: str) -> str:
    r"""Write a name in a message: quoted, and not at any length.

    >>> shown("../a" + 300 * "b" + "\n")[:10]
    "'../abbbbb"
    """
    return repr(name if len(name) <= 200 else f"{name[:200]}...")


def refuse_number(number: int, limits: Limits) -> None:
    """Refuse more files than there may be.

    Raises:
        LimitExceededError: If there are more than `max_files`.
    """
    if number > limits.max_files:
        raise LimitExceededError(
            "There are many files", limit="max_files", allowed=limits.max_files, found=number
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
