"""A slot: one GPU, or a part of a CPU, somewhere in the cluster, and the workers that it has.

This side of the engine knows nothing of Ray; `actor` makes an actor of it.
"""

from __future__ import annotations

import asyncio
import secrets
from functools import partial
from pathlib import Path

import structlog

from convlast.errors import ConvlastError, DeviceLostError
from convlast.places.removal import remove_tree
from convlast.stores.opening import StoreOptions
from convlast.stores.reading import fetch
from convlast.version import __version__
from service.cancellation import Aside
from service.errors import InternalError
from service.problems import Problem, ProblemError
from service.ray_engine.carrying import clear, put_results
from service.ray_engine.messages import Ended, News, Order, SlotHealth
from service.ray_engine.running import Run
from service.storage.discretion import as_own_store
from service.threads import REMOVING
from service.workers import JobFiles, Listener, Workers

GONE = "The node that ran the job is gone."

_log = structlog.get_logger()


class Slot:
    """Runs jobs for replicas of the service. All that crosses is JSON.

    Attributes:
        version: The version of the service in this process.
    """

    def __init__(self, workers: Workers, options: StoreOptions, folder: Path) -> None:
        """Set up without starting a worker.

        Args:
            workers: Run the jobs here.
            options: How the store is asked that their files go through.
            folder: Where these are meanwhile.
        """
        self.version = __version__
        self._workers, self._options, self._folder = workers, options, folder
        self._runs: dict[str, Run] = {}
        self._starting: asyncio.Task[None] | None = None
        self._aside = Aside()

    async def begin(self, order: str) -> str:
        """Begin an `Order`, and return the first `News` of its run."""
        asked = Order.model_validate_json(order)
        if asked.id not in self._runs:
            self._runs[asked.id] = Run(partial(self._work, asked), partial(self._forsake, asked))
        return await self.news(asked.id, 0)

    async def news(self, run_id: str, seen: int) -> str:
        """Return the `News` of a run after a number, as soon as there is some.

        A run that has ended is forgotten when that is told.
        """
        run = self._runs.get(run_id)
        if run is None:  # this actor has been started again
            ended = Ended(problem=Problem.of(DeviceLostError(GONE)))
            return News(number=seen + 1, ended=ended).model_dump_json()
        news = await run.after(seen)
        if news.ended is not None:
            await self.end(run_id)
        return news.model_dump_json()

    async def end(self, run_id: str) -> None:
        """Stop a run, if it has not ended, and forget it; its process is gone then."""
        run = self._runs.pop(run_id, None)
        if run is not None:
            await run.stop()

    async def health(self) -> str:
        """Return the `SlotHealth`; the first call starts the workers."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._workers.start())
        await self._starting
        health = self._workers.health().model_dump()
        return SlotHealth(version=self.version, **health).model_dump_json()

    async def stop(self) -> None:
        """Stop all runs and workers."""
        await asyncio.gather(*map(self.end, list(self._runs)))
        await self._aside.done()
        await self._workers.stop()

    async def _work(self, order: Order, listener: Listener) -> Ended:
        """Fetch the checkpoint, run the job, and put the results."""
        # Not that of an earlier run of the job here, which may still be removed.
        folder = self._folder / secrets.token_hex(8)
        source, made = folder / "source", folder / "made"
        try:
            made.mkdir(mode=0o700, parents=True)
            with as_own_store():
                await fetch(order.source, source, self._options)
            finished = await self._workers.run(
                order.job, JobFiles(source, made), listener, share=order.share
            )
            small = await put_results(order, finished, made, self._options)
            return Ended(finished=finished, small=small)
        except ProblemError as error:
            return Ended(problem=error.problem)
        except ConvlastError as error:
            return Ended(problem=Problem.of(error))
        except Exception as error:
            _log.error("job failed", exc_info=error)
            return Ended(problem=Problem.of(InternalError("The job failed.")))
        finally:
            self._aside.do(REMOVING.run(remove_tree, folder))

    def _forsake(self, order: Order) -> None:
        """Stop a run whose replica is gone, and remove what it would have removed."""
        _log.warning("nobody asks for a job any more; it is stopped", job_id=order.job.id)

        async def clear_away() -> None:
            await self.end(order.id)
            await clear(order.folder, self._options)

        self._aside.do(clear_away())
