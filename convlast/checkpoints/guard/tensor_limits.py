"""Limits for a checkpoint's tensors: how many there are, and how long their names are together.

A few bytes can put one list of tensors into thousands of places, each below a key of a megabyte.
"""

from __future__ import annotations

from collections.abc import Iterable

from convlast.errors import LimitExceededError
from convlast.options import Limits


class TensorCount:
    """Counts the tensors that were found so far."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._number = self._characters = 0

    def take(self, path: Iterable[object]) -> None:
        """Count one more tensor, before its name is built.

        Args:
            path: The keys and indices that lead to it.

        Raises:
            LimitExceededError: If there are more than `max_tensors`, or if their full names
                together are longer than `max_pickle_bytes`.
        """
        self._number += 1
        if self._number > self._limits.max_tensors:
            raise LimitExceededError(
                "The checkpoint has tensors in many places",
                limit="max_tensors",
                allowed=self._limits.max_tensors,
                found=self._number,
            )
        for key in path:
            self._characters += len(key) if key.__class__ is str else len(str(key))
        if self._characters > self._limits.max_pickle_bytes:
            raise LimitExceededError(
                "The full names of the checkpoint's tensors are long",
                limit="max_pickle_bytes",
                allowed=self._limits.max_pickle_bytes,
                found=self._characters,
            )
