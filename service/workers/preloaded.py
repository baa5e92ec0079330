"""The modules that the fork server imports, in order."""

from __future__ import annotations

from service.workers import child

CONVERSION = "service.workers.conversion"
"""The task of the service; tests have others."""

REHEARSAL = "service.workers.rehearsal"
FREEZING = "service.workers.freezing"
"""Imported by the fork server only, as its last module."""


def preloaded(task: str) -> list[str]:
    """Return what the fork server imports for a task.

    >>> preloaded("tests.service.fakes")
    ['tests.service.fakes', 'service.workers.child', 'service.workers.freezing']
    """
    rehearsals = [REHEARSAL] if task == CONVERSION else []
    return [task, child.__name__, *rehearsals, FREEZING]
