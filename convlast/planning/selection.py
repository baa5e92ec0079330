"""Which layers are converted, by patterns for their names.

A pattern without wildcards is a name, and is looked up; only the others are tried on each name.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from convlast.errors import OptionError
from convlast.options import has_wildcard


class Selection:
    """Which layers are chosen, in one file or over several."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = tuple(dict.fromkeys(patterns))
        self._wild = [pattern for pattern in self._patterns if has_wildcard(pattern)]
        self._exact = set(self._patterns) - set(self._wild)
        # What is fastest is chosen later, from all.
        self._takes_all = self._patterns in {("all",), ("fastest",)}
        self._matched: set[str] = set()
        self._names: list[str] = []

    def choose(self, names: Sequence[str]) -> set[str]:
        """Return those of these layers that are chosen."""
        if self._takes_all:
            return set(names)
        chosen = self._exact.intersection(names)
        self._matched |= chosen
        for pattern in self._wild:
            if matched := {name for name in names if fnmatchcase(name, pattern)}:
                self._matched.add(pattern)
                chosen |= matched
        self._names += names
        return chosen

    def refuse_unmatched(self) -> None:
        """Refuse a pattern that has matched no layer so far.

        Raises:
            OptionError: If there is one.
        """
        for pattern in self._patterns:
            if pattern not in self._matched and not self._takes_all:
                names = self._names
                raise OptionError(
                    "select",
                    f"The pattern {pattern!r} matches none of the {len(names)} convolution "
                    "weights.",
                    remedy=f"They are {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}.",
                )
