"""A slot: one GPU, or a part of a CPU, somewhere in the cluster, and the workers that it has.

This side of the engine knows nothing of Ray; `actor` makes an actor of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from pathlib import Path

import structlog

from convlast.errors import ConvlastError, DeviceLostError
from convlast.removal import remove_tree
from service.cancellation import completed
from service.errors import InternalError
from service.problems import Problem, ProblemError
from service.ray_engine.carrying import Carrier
from service.ray_engine.messages import Ended, News, Order, names_of
from service.ray_engine.running import Run
from service.threads import REMOVING
from service.workers import Finished, JobFiles, Listener, Workers
from service.workers.results import open_made

GONE = "The node that ran the job is gone."

_log = structlog.get_logger()


class Slot:
    """Runs jobs for replicas of the service. All that crosses is JSON."""

    def __init__(self, workers: Workers, carrier: Carrier, folder: Path) -> None:
        """Set up without starting a worker.

        Args:
            workers: Run the jobs here.
            carrier: Brings their files.
            folder: Where the files of jobs are meanwhile.
        """
        self._workers, self._carrier, self._folder = workers, carrier, folder
        self._runs: dict[str, Run] = {}
        self._starting: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def begin(self, order: str) -> None:
        """Begin an `Order`."""
        asked = Order.model_validate_json(order)
        if asked.id not in self._runs:
            self._runs[asked.id] = Run(partial(self._work, asked), partial(self._forsake, asked))

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
        """Return the `Health` of the workers; the first call starts them."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._workers.start())
        await self._starting
        return self._workers.health().model_dump_json()

    async def stop(self) -> None:
        """Stop all runs and workers."""
        await asyncio.gather(*map(self.end, list(self._runs)))
        await asyncio.gather(*self._ending)
        await self._workers.stop()

    async def _work(self, order: Order, listener: Listener) -> Ended:
        """Fetch the files, run the job, and put the results."""
        folder = self._folder / order.id
        source, made = folder / "source", folder / "made"
        try:
            made.mkdir(mode=0o700, parents=True)
            await self._carrier.fetch(order.source, source)
            finished = await self._workers.run(
                order.job, JobFiles(source, made), listener, share=order.share
            )
            await self._put(order, finished, made)
            return Ended(finished=finished)
        except ProblemError as error:
            return Ended(problem=error.problem)
        except ConvlastError as error:
            return Ended(problem=Problem.of(error))
        except Exception as error:
            _log.error("job failed", exc_info=error)
            return Ended(problem=Problem.of(InternalError("The job failed.")))
        finally:
            await completed(REMOVING.run(remove_tree, folder))

    async def _put(self, order: Order, finished: Finished, made: Path) -> None:
        """Put the results into the store.

        Raises:
            WorkerCrashedError: If one of them is no plain file.
        """
        names = names_of(finished)
        for name in names:
            open_made(made, name).file.close()  # it may be a link, and only its opening shows that
        await asyncio.gather(
            *(self._carrier.put(made / name, order.result(n)) for n, name in enumerate(names))
        )

    def _forsake(self, order: Order) -> None:
        """Stop a run whose replica is gone, and remove what it would have removed."""
        _log.warning("nobody asks for a job any more; it is stopped", job_id=order.job.id)

        async def clear_away() -> None:
            await self.end(order.id)
            with contextlib.suppress(ConvlastError):
                await self._carrier.clear(order.folder)

        task = asyncio.create_task(clear_away())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
