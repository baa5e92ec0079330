"""Writes a job down with its checkpoint, so that it is finished whatever happens."""

from __future__ import annotations

from dataclasses import dataclass

from service.jobs.entry import JobEntry
from service.jobs.others import Others, TakenError
from service.jobs.table import JobTable
from service.storage.inputs import Inputs
from service.storage.workspace import JobFolder
from service.threads import RECORDING, STORING


@dataclass(frozen=True)
class Durability:
    """Makes jobs durable.

    Attributes:
        table: All jobs.
        inputs: Their checkpoints.
        others: Other services, which may have the same job.
    """

    table: JobTable
    inputs: Inputs
    others: Others

    async def begin(self, entry: JobEntry, folder: JobFolder) -> None:
        """Write a job down with its checkpoint.

        Args:
            entry: The job.
            folder: The folder with the checkpoint.

        Raises:
            TakenError: If another service has written it down.
            OSError: If it cannot be written; then nothing is, and the job is as it was.
            StoreError: If a store cannot be used; the job is as it was.
        """
        was_kept, was_held = entry.is_kept, entry.holds_input
        # Durable from here on: the job may run already, and end before all is written.
        entry.is_durable = entry.is_kept = True
        self.table.hold_input(entry)
        try:
            checkpoint = None
            if entry.holds_input:
                checkpoint = self.inputs.path(entry.input_key)
                await RECORDING.run(self.inputs.keep, entry.input_key, folder.upload)
            await self.others.accept(entry.accepted, checkpoint)
            if entry.attempts:
                await self._claim(entry)
        except BaseException:
            if not entry.is_ending:
                entry.is_durable, entry.is_kept = False, was_kept
                await self.others.abandon(entry.accepted)
                if not was_held:
                    await self.table.let_input_go(entry)
            raise
        if checkpoint is not None:
            entry.source = checkpoint

    async def _claim(self, entry: JobEntry) -> None:
        """Write down that it runs already."""
        if not await STORING.run(self.others.journal.claim, entry.accepted.name, entry.attempts):
            raise TakenError
