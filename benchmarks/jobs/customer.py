"""A client that gets one order done, whatever happens to the service and to its own connections."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx

from benchmarks.jobs.ledger import Ledger
from benchmarks.jobs.orders import Order
from service.problems import JOB_FIELD

WITHIN_S = 240.0
"""A client that has not got its result by then says so."""

PAUSE_S = 0.2
_BUSY = {429, 503}


class Customer:
    """Sends one order, follows its job to the end, and fetches the artifact."""

    def __init__(
        self, url: str, key: str, order: Order, ledger: Ledger, lot: random.Random
    ) -> None:
        self._order, self._ledger, self._lot = order, ledger, lot
        self._headers = {"Authorization": f"Bearer {key}"}
        self._http = httpx.AsyncClient(
            base_url=url, headers=self._headers, timeout=30, trust_env=False
        )
        self._id = ""

    async def run(self) -> None:
        """Get the order done, and note all answers."""
        try:
            async with self._http, asyncio.timeout(WITHIN_S):
                await self._leave_uploads()
                await self._submit()
                if self._order.is_deleted:
                    await self._delete()
                await self._follow()
                await self._fetch()
        except Exception as error:
            told = f"order {self._order.number}: {type(error).__name__}: {error}"
            self._ledger.wrong.append(told)

    def _count(self, what: str) -> None:
        self._ledger.counts[what] += 1

    async def _leave_uploads(self) -> None:
        """Begin some uploads, and disconnect before or after the last byte."""
        while self._lot.random() < 0.3:
            content, port = self._order.content, self._http.base_url.port
            is_whole = self._lot.random() < 0.3
            sent = content if is_whole else content[: self._lot.randrange(len(content))]
            head = (
                f"POST /{self._order.verb}?filename={self._order.filename} HTTP/1.1\r\nHost: x\r\n"
                f"Content-Type: application/octet-stream\r\nPrefer: respond-async\r\n"
                f"Authorization: {self._headers['Authorization']}\r\n"
                f"Content-Length: {len(content)}\r\n\r\n"
            )
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(head.encode() + sent)
                await writer.drain()
                await asyncio.sleep(self._lot.uniform(0, 0.1))
                writer.transport.abort()
                self._count("left an upload")

    async def _submit(self) -> None:
        """Send the order until a job is the answer; a retry first names the bytes."""
        is_retry = False
        while not self._id:
            answer = await self._tried(self._name_bytes if is_retry else self._upload)
            if answer is not None and answer.status_code == httpx.codes.NOT_FOUND:
                answer = await self._tried(self._upload)
            is_retry = True
            if answer is None or answer.status_code in _BUSY:
                await self._pause(answer)
                continue
            job_id = answer.headers.get(JOB_FIELD)
            if job_id is None:
                raise RuntimeError(f"{answer.status_code} {answer.text[:200]}")
            self._id = job_id
            self._ledger.accepted(job_id, self._order)
            if answer.status_code == httpx.codes.ACCEPTED:
                self._ledger.told(answer.json())

    async def _upload(self) -> httpx.Response:
        prefer = self._lot.choice(["respond-async", "respond-async", "wait=1"])
        if self._lot.random() < 0.5:
            files = {"checkpoint": (self._order.filename, self._order.content)}
            return await self._http.post(
                f"/{self._order.verb}", files=files, headers={"Prefer": prefer}
            )
        return await self._http.post(
            f"/{self._order.verb}",
            params={"filename": self._order.filename},
            content=self._order.content,
            headers={"Prefer": prefer, "Content-Type": "application/octet-stream"},
        )

    async def _name_bytes(self) -> httpx.Response:
        self._count("named bytes")
        named = {"source": f"sha256:{self._order.sha256}", "filename": self._order.filename}
        return await self._http.post(
            f"/{self._order.verb}", json=named, headers={"Prefer": "respond-async"}
        )

    async def _delete(self) -> None:
        """Cancel or remove the job; if the answer is lost, following it tells what has happened."""
        await asyncio.sleep(self._lot.uniform(0, 2))
        known = self._ledger.jobs[self._id]
        known.is_delete_sent = True
        answer = await self._tried(lambda: self._http.delete(f"/jobs/{self._id}"))
        if answer is None or answer.status_code in _BUSY:
            return
        self._count(f"DELETE: {answer.status_code}")
        if answer.status_code == httpx.codes.OK:
            self._ledger.told(answer.json())

    async def _follow(self) -> None:
        """Poll, wait or listen, and leave in between, until the job has ended."""
        ways = [self._read, self._wait, self._wait, self._listen, self._listen]
        while True:
            try:
                async with asyncio.timeout(self._lot.choice([0.05, 0.3, 2, 20])):
                    is_end = await self._lot.choice(ways)()
            except TimeoutError:
                self._count("left while it waited")
                continue
            except httpx.TransportError:
                self._count("was cut off")
                await asyncio.sleep(PAUSE_S)
                continue
            if is_end:
                return

    async def _read(self) -> bool:
        return await self._looked("")

    async def _wait(self) -> bool:
        return await self._looked(f"?wait={self._lot.choice([1, 5, 25])}")

    async def _looked(self, query: str) -> bool:
        answer = await self._http.get(f"/jobs/{self._id}{query}")
        if answer.status_code != httpx.codes.OK:
            return await self._is_gone(answer)
        is_end = self._ledger.told(answer.json())
        if not is_end and not query:
            await asyncio.sleep(PAUSE_S)
        return is_end

    async def _listen(self) -> bool:
        async with self._http.stream("GET", f"/jobs/{self._id}/events") as answer:
            if answer.status_code != httpx.codes.OK:
                return await self._is_gone(answer)
            async for line in answer.aiter_lines():
                is_status = line.startswith("data: ")
                if is_status and self._ledger.told(json.loads(line.removeprefix("data: "))):
                    return True
        return False

    async def _is_gone(self, answer: httpx.Response) -> bool:
        """Return whether a refusal means that there is nothing to follow."""
        if answer.status_code in {404, 410}:
            self._ledger.jobs[self._id].is_gone = True
            return True
        if answer.status_code not in _BUSY:
            await answer.aread()
            raise RuntimeError(f"{answer.status_code} {answer.text[:200]}")
        await self._pause(answer)
        return False

    async def _fetch(self) -> None:
        """Download the artifact of a job that has succeeded: it has the right bytes."""
        known = self._ledger.jobs[self._id]
        if self._order.verb == "inspect" or not known.ends or known.is_removed:
            return
        while known.ends[-1]["state"] == "succeeded":
            answer = await self._tried(lambda: self._http.get(f"/jobs/{self._id}/artifact"))
            if answer is None or answer.status_code in _BUSY:
                await self._pause(answer)
                continue
            if answer.status_code != httpx.codes.OK:
                raise RuntimeError(f"its artifact: {answer.status_code} {answer.text[:200]}")
            if hashlib.sha256(answer.content).hexdigest() != self._order.sha256:
                raise RuntimeError("its artifact has other bytes")
            self._count("fetched an artifact")
            return

    async def _tried(self, call: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response | None:
        """Return an answer, or none if the service was killed meanwhile."""
        try:
            return await call()
        except httpx.TransportError:
            self._count("was cut off")
            return None

    async def _pause(self, answer: httpx.Response | None) -> None:
        """Wait as long as the service says, but not for long."""
        told: Any = answer.headers.get("Retry-After") if answer is not None else None
        await asyncio.sleep(min(float(told or PAUSE_S), 1.0))
