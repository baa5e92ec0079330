"""How long work says how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called as `progress(stage, done, total)`; the stages are read, write, prove and smoke."""


def silent(_stage: str, _done: int, _total: int) -> None:
    """Say nothing."""
