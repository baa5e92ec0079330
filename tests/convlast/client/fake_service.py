"""A service of a few lines: jobs in memory, over a transport of httpx or over a socket.

Tests give it the history of its one job, and what goes wrong.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

import httpx
from anyio.lowlevel import checkpoint

from convlast.client import Client
from convlast.jobs import JobInput, JobProgress, JobState, JobStatus
from convlast.provenance.envelope import STATEMENT
from convlast.provenance.statement import text_of
from convlast.report import Report
from tests.convlast.client.answering import ARTIFACT, report
from tests.convlast.provenance.statements import on_report

ID = "ab" * 32
ETAG = '"one"'
JSON, BYTES = "application/json", "application/octet-stream"
_HOLD_S = 30.0


@dataclass(frozen=True)
class Seen:
    """A request that came in."""

    kind: str
    method: str
    path: str
    params: list[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """An answer; its pieces may raise an error, which cuts the connection."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    pieces: Iterable[bytes] = ()


Fault: TypeAlias = httpx.Response | Exception | Callable[[Answer], Answer] | None


def cut(nbytes: int, error: Exception | None = None) -> Callable[[Answer], Answer]:
    """Return a fault: the answer is cut after so many bytes."""

    def pieces(whole: Iterable[bytes]) -> Iterator[bytes]:
        left = nbytes
        for piece in whole:
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                break
        raise error or httpx.ReadError("connection reset")

    return lambda answer: replace(answer, pieces=pieces(answer.pieces))


def status(
    state: JobState = "succeeded",
    seq: int = 100,
    stage: str = "",
    done: int = 0,
    total: int = 0,
    **values: Any,
) -> JobStatus:
    """Return the status of the job."""
    told = stage or {"queued": "queue", "running": "write"}.get(state, "end")
    return JobStatus(
        **{
            "id": ID,
            "verb": "convert",
            "state": state,
            "created_at": datetime(2026, 11, 26, tzinfo=UTC),
            "input": JobInput(filename="model.pt", sha256="0" * 64, bytes=12),
            "progress": JobProgress(stage=told, done=done, total=total, seq=seq),
            **values,
        }
    )


def problem_of(code: str, detail: str = "No.") -> dict[str, Any]:
    """Return a problem document."""
    return {"type": f"urn:convlast:problem:{code}", "code": code, "detail": detail}


class FakeService:
    """A service with one job."""

    def __init__(
        self, *history: JobStatus, told: Report | None = None, artifact: bytes = ARTIFACT
    ) -> None:
        """Begin with a job that has these statuses, one after the other."""
        self.history = list(history or (status(),))
        self.position = 0
        self.told = told or report(artifact)
        self.artifact = artifact
        self.has_bytes = self.is_removed = self.holds = False
        self.deleted = threading.Event()
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.seen: list[Seen] = []

    def kinds(self) -> list[str]:
        """Return the kinds of the requests that came in."""
        return [each.kind for each in self.seen]

    def of_kind(self, kind: str) -> list[Seen]:
        """Return the requests of a kind."""
        return [each for each in self.seen if each.kind == kind]

    def client(self, **values: Any) -> Client:
        """Return a client of this service."""
        return Client("http://service", transport=self.transport(), **values)

    def transport(self) -> httpx.MockTransport:
        """Return a transport that carries requests to this service."""

        async def handle(request: httpx.Request) -> httpx.Response:
            answer = self.answer(
                request.method, str(request.url), dict(request.headers), request.content
            )
            if isinstance(answer, httpx.Response):
                return answer
            return httpx.Response(
                answer.status, headers=answer.headers, content=_asynchronously(answer.pieces)
            )

        return httpx.MockTransport(handle)

    def answer(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> Answer | httpx.Response:
        """Answer a request; raise what goes wrong."""
        split = urlsplit(url)
        kind = _kind_of(method, split.path, headers)
        request = Seen(kind, method, split.path, parse_qsl(split.query), headers, body)
        self.seen.append(request)
        fault = self.faults[kind].pop(0) if self.faults[kind] else None
        if isinstance(fault, Exception):
            raise fault
        if isinstance(fault, httpx.Response):
            return fault
        usual: Answer = getattr(self, f"_answer_{kind}")(request)
        return usual if fault is None else fault(usual)

    def _answer_ask(self, request: Seen) -> Answer:
        source = json.loads(request.body)["source"]
        if not self.has_bytes and source.startswith("sha256:"):
            return _problem(404, "not-found")
        return self._accepted()

    def _answer_upload(self, request: Seen) -> Answer:
        self.has_bytes = True
        return self._accepted()

    def _accepted(self) -> Answer:
        headers = {"Preference-Applied": "respond-async", "Location": f"/jobs/{ID}"}
        return _json(self.history[self.position], status_code=202, **headers)

    def _answer_job(self, request: Seen) -> Answer:
        if self.is_removed:
            return _problem(410, "gone")
        wait = dict(request.params).get("wait")
        if wait is not None and request.headers.get("if-none-match") == self._etag():
            if self.position + 1 == len(self.history):
                return Answer(304, {"ETag": self._etag()})
            self.position += 1
        return _json(self.history[self.position], ETag=self._etag())

    def _etag(self) -> str:
        return f'"{self.history[self.position].progress.seq}"'

    def _answer_list(self, request: Seen) -> Answer:
        number = int(dict(request.params).get("after", "0"))
        following = f"/jobs?after={number + 1}&limit=1" if number + 1 < len(self.history) else None
        page = {
            "jobs": [self.history[number].model_dump(mode="json")],
            "next": following,
        }
        return Answer(200, {"Content-Type": JSON}, [json.dumps(page).encode()])

    def _answer_events(self, request: Seen) -> Answer:
        known = request.headers.get("last-event-id")
        if self.history[self.position].is_finished and known == self._etag().strip('"'):
            return Answer(204)
        return Answer(200, {"Content-Type": "text/event-stream"}, self._events(known))

    def _events(self, known: str | None) -> Iterator[bytes]:
        yield b"retry: 1000\n\n: heartbeat\n\n"
        if known == str(self.history[self.position].progress.seq):
            self.position += 1
        while True:
            while self.position < len(self.history):
                now = self.history[self.position]
                yield f"id: {now.progress.seq}\ndata: {now.model_dump_json()}\n\n".encode()
                if now.is_finished:
                    return
                self.position += 1
            self.position -= 1
            was_deleted = self.holds and self.deleted.wait(_HOLD_S)
            if not was_deleted or self.position + 1 == len(self.history):
                return
            self.position += 1

    def _answer_report(self, request: Seen) -> Answer:
        return _json(self.told)

    def _answer_artifact(self, request: Seen) -> Answer:
        digest = base64.b64encode(hashlib.sha256(self.artifact).digest()).decode()
        headers = {"Content-Type": BYTES, "ETag": ETAG, "Repr-Digest": f"sha-256=:{digest}:"}
        wanted, total = request.headers.get("range"), len(self.artifact)
        if wanted is None or request.headers.get("if-range") != ETAG:
            return Answer(200, {**headers, "Content-Length": str(total)}, _pieces(self.artifact))
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        headers["Content-Length"] = str(total - start)
        return Answer(206, headers, _pieces(self.artifact[start:]))

    def _answer_provenance(self, request: Seen) -> Answer:
        return Answer(200, {"Content-Type": STATEMENT}, [text_of(on_report(self.told))])

    def _answer_delete(self, request: Seen) -> Answer:
        latest = self.history[self.position]
        if latest.is_finished:
            self.is_removed = True
            return Answer(204)
        self.history[self.position + 1 :] = [status("cancelled", latest.progress.seq + 1)]
        self.deleted.set()
        if not self.holds:
            self.position += 1
        return _json(self.history[-1])


def _kind_of(method: str, path: str, headers: Mapping[str, str]) -> str:
    if method == "POST":
        return "ask" if headers["content-type"] == JSON else "upload"
    if method == "DELETE":
        return "delete"
    if path == "/jobs":
        return "list"
    return {"/jobs": "list", f"/jobs/{ID}": "job"}.get(path, path.rpartition("/")[2])


def _json(model: JobStatus | Report, *, status_code: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = model.model_dump_json().encode()
    return Answer(status_code, {"Content-Type": JSON, **named}, [body])


def _problem(status_code: int, code: str) -> Answer:
    body = json.dumps(problem_of(code)).encode()
    return Answer(status_code, {"Content-Type": "application/problem+json"}, [body])


def _pieces(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), 1 << 16):
        yield content[start : start + (1 << 16)]


async def _asynchronously(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        await checkpoint()  # as a network would, where a cancellation may arrive
        yield piece
