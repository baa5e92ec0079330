"""A board whose jobs name addresses in a folder, and transfers that a test can hold up."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from convlast.options import Options
from convlast.progress import Progress
from service.jobs.submission import Source, Submission
from service.settings import Settings
from service.transfers import Transfers
from service.transfers.access import StoreAccess
from service.transfers.delivering import Delivering
from service.transfers.fetching import Fetching, Found
from service.transfers.unpacked_folder import UnpackedFolder
from tests.service.jobs.boards import Board

CONTENT = b"checkpoint in a store"


class Store:
    """A folder with a checkpoint, and one for results, as addresses.

    Attributes:
        checkpoint: The file of the checkpoint.
        results: The folder for results.
    """

    def __init__(self, folder: Path) -> None:
        self.checkpoint = folder / "in" / "m.pt"
        self.results = folder / "out"
        self.checkpoint.parent.mkdir(parents=True)
        self.checkpoint.write_bytes(CONTENT)

    @property
    def source(self) -> str:
        """The address of the checkpoint."""
        return f"file://{self.checkpoint}"

    @property
    def target(self) -> str:
        """The address for results."""
        return f"file://{self.results}/"

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that allow both."""
        return {"sources": (f"file://{self.checkpoint.parent}/",), "targets": (self.target,)}

    @property
    def delivered(self) -> set[str]:
        """The names of the results."""
        if not self.results.exists():
            return set()
        return {path.name for path in self.results.iterdir()}

    def change(self) -> None:
        """Replace the checkpoint by one of the same size."""
        other = self.checkpoint.with_name("other")
        other.write_bytes(CONTENT[::-1])
        other.rename(self.checkpoint)

    def wanted(
        self, board: Board, found: Found, *, target: bool = False, durable: bool = True
    ) -> Submission:
        """Return a request for the checkpoint."""
        folder = board.workspace.new_job()
        folder.take(found.bytes)
        return Submission(
            owner="alice",
            share="alice",
            verb="convert",
            source=Source(
                filename="m.pt",
                sha256="",
                bytes=found.bytes,
                options=Options(),
                found=found,
                target=self.target if target else None,
            ),
            folder=folder,
            upload_s=0.0,
            is_durable=durable,
        )


class Gate:
    """Holds something up, until it is opened.

    Attributes:
        reached: Set when something waits.
        open: Set to let all go on.
        is_left: Whether one that waited was cancelled.
    """

    def __init__(self) -> None:
        self.reached, self.open = asyncio.Event(), asyncio.Event()
        self.is_left = False

    async def pass_through(self) -> None:
        """Wait until it is open."""
        self.reached.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.is_left = True
            raise


class HeldFetching(Fetching):
    """Fetches when a gate is open."""

    gate: Gate

    async def fetch(self, found: Found, path: Path, progress: Progress, *, share: str) -> str:
        """Wait, and fetch."""
        progress("download", 1, found.bytes)
        await self.gate.pass_through()
        return await super().fetch(found, path, progress, share=share)


class HeldDelivering(Delivering):
    """Delivers when a gate is open."""

    gate: Gate

    async def deliver(
        self,
        files: Mapping[str, Path],
        target: str,
        progress: Progress,
        *,
        share: str,
        stale: Collection[str] = (),
    ) -> None:
        """Wait, and deliver."""
        progress("deliver", 1, 100)
        await self.gate.pass_through()
        await super().deliver(files, target, progress, share=share, stale=stale)

    async def deliver_folder(
        self, made: UnpackedFolder, source: str, target: str, progress: Progress, *, share: str
    ) -> None:
        """Wait, and deliver."""
        progress("deliver", 1, 100)
        await self.gate.pass_through()
        await super().deliver_folder(made, source, target, progress, share=share)


def held_up(
    store: Store, *, fetching: Gate | None = None, delivering: Gate | None = None
) -> Transfers:
    """Return transfers that wait at gates."""
    settings = Settings.model_validate(store.settings)
    plain = Transfers.of(settings, StoreAccess())
    options = partial(StoreAccess().options, settings)

    fetches: Fetching = plain.fetching
    delivers: Delivering = plain.delivering
    if fetching is not None:
        fetches = HeldFetching(settings, options)
        fetches.gate = fetching
    if delivering is not None:
        delivers = HeldDelivering(settings, options)
        delivers.gate = delivering
    return Transfers(fetches, delivers)
