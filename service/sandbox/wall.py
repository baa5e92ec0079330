"""One wall of the sandbox, and whether it is in place."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Name = Literal[
    "environment",
    "descriptors",
    "privileges",
    "limits",
    "files",
    "truncation",
    "dumps",
    "calls",
]


class Wall(BaseModel):
    """One wall of the sandbox."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    name: Name
    """The name of the wall."""

    held: bool
    """Whether it is in place."""

    detail: str
    """What it forbids, or why it is missing."""

    @classmethod
    def missing(cls, name: Name, what: str, error: OSError | None = None) -> Wall:
        """Return a wall that could not be put up.

        >>> Wall.missing("calls", "The kernel refuses a filter", OSError(22, "Invalid argument"))
        Wall(name='calls', held=False, detail='The kernel refuses a filter: Invalid argument.')
        """
        why = f": {error.strerror or error}" if error is not None else ""
        return cls(name=name, held=False, detail=f"{what}{why}.")
