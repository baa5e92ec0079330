"""Follows a job to its end: by server-sent events, or by long polls if events do not arrive."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import httpx

from convlast.client import events
from convlast.client.answers import job_of, read_job
from convlast.client.connection import Ask, Connection
from convlast.client.patience import Patience, now, pause
from convlast.client.refusals import RefusedError, media_type_of
from convlast.jobs import JobStatus

_MOST_CUTS = 2
"""Streams that were cut without an event, after which the client polls."""

_NO_STREAM = {"timed-out", "too-many-requests"}
"""The codes of refusals of a stream after which the client tries to poll."""

_SILENCE_S = 45.0
"""The service sends a heartbeat every 15 s, so three were lost."""

_LONGEST_POLL_S = 4.0
"""Shorter than the idle timeout of most gateways; halved after each poll that fails."""

_BETWEEN_POLLS_S = 1.0


class Following:
    """The statuses of a job, each once."""

    def __init__(self, connection: Connection, path: str, patience: Patience) -> None:
        self._connection, self._path, self._patience = connection, path, patience
        self._seen: JobStatus | None = None
        self._event_id = ""
        self._cuts = 0
        self._poll_s = _LONGEST_POLL_S

    async def statuses(self) -> AsyncGenerator[JobStatus]:
        """Yield the latest status and then each change; the last one is that of the end.

        Raises:
            RemoteError: If there is no such job, or the service does not answer for too long.
        """
        while True:
            source = self._streamed() if self._cuts < _MOST_CUTS else self._polled()
            async with aclosing(source):
                async for status in source:
                    self._patience.reset()
                    if self._seen is None or status.progress.seq != self._seen.progress.seq:
                        self._seen = status
                        yield status
                        if status.is_finished:
                            return

    async def _streamed(self) -> AsyncGenerator[JobStatus]:
        """Yield the statuses of one stream of events, until it ends or is cut."""
        stream, is_open, has_events = events.Events(), False, False
        try:
            async with self._connection.opened(self._ask_for_events()) as response:
                if media_type_of(response) != events.MEDIA_TYPE:
                    self._cuts = _MOST_CUTS
                    return
                is_open = True
                async with aclosing(stream.read(response.aiter_bytes())) as found:
                    async for event in found:
                        self._event_id, has_events = event.id or self._event_id, True
                        yield job_of(event.data)
        except events.NotEventsError:
            self._cuts = _MOST_CUTS
            return
        except RefusedError as refused:
            if not is_open and refused.refusal.error.code not in _NO_STREAM:
                await self._patience.endure(refused.refusal)
                return
        self._cuts = 0 if has_events else self._cuts + 1
        if self._cuts < _MOST_CUTS:
            await pause(stream.retry_s)

    def _ask_for_events(self) -> Ask:
        headers = {"Accept": events.MEDIA_TYPE, "Cache-Control": "no-store"}
        if self._event_id:
            headers["Last-Event-ID"] = self._event_id
        return Ask(
            "GET",
            f"{self._path}/events",
            headers=headers,
            expected=frozenset({200, 204}),
            silence_s=_SILENCE_S,
        )

    async def _polled(self) -> AsyncGenerator[JobStatus]:
        """Yield the status if it has changed before the poll ends."""
        began_s, seen = now(), self._seen
        ask = Ask(
            "GET",
            self._path,
            params={"wait": f"{self._poll_s:g}"},
            headers={"If-None-Match": f'"{seen.progress.seq}"'} if seen else {},
            expected=frozenset({200, 304}),
            silence_s=self._poll_s + _SILENCE_S,
        )
        try:
            status = await self._connection.once(ask, _read_change)
        except RefusedError as refused:
            self._poll_s = self._poll_s / 2 if self._poll_s > 1 else 0
            await self._patience.endure(refused.refusal)
            return
        self._patience.reset()
        if status is not None:
            yield status
        if status is None or not status.is_finished:
            await pause(max(0.0, _BETWEEN_POLLS_S - (now() - began_s)))


async def _read_change(response: httpx.Response) -> JobStatus | None:
    return None if response.status_code == httpx.codes.NOT_MODIFIED else await read_job(response)
