"""The status of a job as an answer, and its changes as a stream of events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.types import Message

from service.access.admission import Admission
from service.answers import statuses
from service.answers.statuses import EventStream, etag_of, status_of
from service.errors import QueueFullError
from service.jobs.entry import JobEntry
from service.jobs.records import Outcome
from tests.service.jobs.boards import in_loop
from tests.service.jobs.sending import Sender
from tests.service.jobs.test_journal import accepted


def context(**settings: float) -> Any:
    """Make the parts of a service that a stream needs."""
    fixed = {"store_age_s": 60.0, "client_idle_s": 5.0, **settings}
    return SimpleNamespace(settings=SimpleNamespace(**fixed), estimated_s=lambda _: 7)


def end(entry: JobEntry) -> None:
    """Let a job succeed."""
    entry.ends(Outcome(state="succeeded", finished_at=2.0, seq=entry.next_seq()))


class Stream:
    """A stream of events and its client."""

    def __init__(self, entry: JobEntry, *, last_seq: int | None = None, **more: Any) -> None:
        self.sender = Sender(b"", root_path="/prefix")
        self.sent: list[Message] = []
        self.is_read = asyncio.Event()
        self.is_read.set()
        self.places = Admission(1, setting="CONVLAST_MAX_FOLLOWERS")
        self.response = EventStream(
            entry,
            self.sender.request,
            context(**more),
            place=self.places.take("alice"),
            last_seq=last_seq,
        )

    async def send(self, message: Message) -> None:
        """Receive a message, unless the client does not read."""
        await self.is_read.wait()
        self.sent.append(message)

    def start(self, method: str = "GET") -> asyncio.Task[None]:
        """Start to send."""
        scope = {**self.sender.scope, "method": method}
        return asyncio.create_task(self.response(scope, self.sender.receive, self.send))

    @property
    def text(self) -> str:
        """What has come so far."""
        return b"".join(message.get("body", b"") for message in self.sent).decode()

    @property
    def events(self) -> list[tuple[int, dict[str, Any]]]:
        """The events that have come so far: their ids and data."""
        found = []
        for block in self.text.split("\n\n"):
            fields = dict(line.partition(": ")[::2] for line in block.split("\n") if line)
            if "data" in fields:
                found.append((int(fields["id"]), json.loads(fields["data"])))
        return found

    async def has(self, count: int) -> None:
        """Wait until this many events have come."""
        while len(self.events) < count:  # noqa: ASYNC110  # another task sends them
            await asyncio.sleep(0.002)


@pytest.fixture
def entry() -> JobEntry:
    """Make a job that waits."""
    return JobEntry(accepted())


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statuses, "PAUSE_S", 0.02)


@contextmanager
def unread(stream: Stream) -> Iterator[None]:
    """Let the client read nothing meanwhile."""
    stream.is_read.clear()
    yield
    stream.is_read.set()


@in_loop
async def test_the_latest_state_comes_first_and_the_end_last(entry: JobEntry) -> None:
    """Each event has the number and the document of the job, and the stream ends by itself."""
    entry.waits_at(1, 10.0)
    stream = Stream(entry)
    sending = stream.start()
    await stream.has(1)
    assert stream.places.taken_count == 1
    assert stream.text.startswith("retry: 1000\n\n")
    entry.begins_on("cpu")
    await stream.has(2)
    end(entry)
    await sending
    assert [data["state"] for _, data in stream.events] == ["queued", "running", "succeeded"]
    assert [number for number, _ in stream.events] == sorted({n for n, _ in stream.events})
    number, last = stream.events[-1]
    assert (number, last["progress"]["seq"]) == (entry.seq, entry.seq)
    assert last["links"]["self"].startswith("/prefix/jobs/")
    start, *_, final = stream.sent
    assert (start["type"], start["status"]) == ("http.response.start", 200)
    headers = dict(start["headers"])
    assert headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert (headers[b"cache-control"], headers[b"x-accel-buffering"]) == (b"no-cache", b"no")
    assert b"content-length" not in headers
    assert not final.get("more_body")
    assert stream.places.taken_count == 0


@in_loop
async def test_a_finished_job_is_one_event(entry: JobEntry) -> None:
    """A client that comes late gets the end at once."""
    end(entry)
    stream = Stream(entry)
    await stream.start()
    assert [data["state"] for _, data in stream.events] == ["succeeded"]


@in_loop
async def test_a_client_that_comes_back_is_not_told_again(entry: JobEntry) -> None:
    """The last event that it has got is not repeated; an older one is followed by the latest."""
    entry.begins_on("cpu")
    stream, behind = Stream(entry, last_seq=entry.seq), Stream(entry, last_seq=entry.seq - 1)
    sending = [stream.start(), behind.start()]
    await behind.has(1)
    await asyncio.sleep(0.05)
    assert stream.events == []
    end(entry)
    await asyncio.gather(*sending)
    assert [data["state"] for _, data in stream.events] == ["succeeded"]
    assert [data["state"] for _, data in behind.events] == ["running", "succeeded"]


@in_loop
async def test_many_changes_are_few_events(
    entry: JobEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two events there is a pause, and then the latest state comes."""
    monkeypatch.setattr(statuses, "PAUSE_S", 0.5)
    stream = Stream(entry)
    sending = stream.start()
    await stream.has(1)
    for done in range(1000):
        entry.goes_on("write", done, 1000)
        if not done % 100:
            await asyncio.sleep(0)
    await stream.has(2)
    assert stream.events[1][1]["progress"]["done"] == 999
    end(entry)
    await sending
    assert len(stream.events) == 3


@in_loop
async def test_a_slow_client_gets_the_latest_state(entry: JobEntry) -> None:
    """What changes while it does not read is not queued up for it."""
    stream = Stream(entry)
    sending = stream.start()
    await stream.has(1)
    with unread(stream):
        for done in range(50):
            entry.goes_on("write", done, 50)
            await asyncio.sleep(0.002)
        end(entry)
    await sending
    assert len(stream.events) <= 3
    assert stream.events[-1][1]["state"] == "succeeded"


@in_loop
async def test_a_client_that_never_reads_is_given_up(entry: JobEntry) -> None:
    """Its place is free again after the idle timeout."""
    stream = Stream(entry, client_idle_s=0.05)
    sending = stream.start()
    await stream.has(1)
    with unread(stream):
        entry.begins_on("cpu")
        with pytest.raises(TimeoutError):
            await sending
    assert stream.places.taken_count == 0


@in_loop
async def test_a_quiet_stream_has_a_heartbeat(
    entry: JobEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Comments keep gateways from closing the connection, and are no events."""
    monkeypatch.setattr(statuses, "HEARTBEAT_S", 0.02)
    stream = Stream(entry)
    sending = stream.start()
    await stream.has(1)
    while stream.text.count(": heartbeat\n\n") < 3:  # noqa: ASYNC110  # another task sends them
        await asyncio.sleep(0.005)
    assert len(stream.events) == 1
    end(entry)
    await sending
    assert len(stream.events) == 2


@in_loop
async def test_a_client_that_leaves_ends_its_stream(entry: JobEntry) -> None:
    """Its place is given back at once, and the job is not touched."""
    stream = Stream(entry)
    sending = stream.start()
    await stream.has(1)
    stream.sender.leave()
    await sending
    assert (stream.places.taken_count, entry.has_ended) == (0, False)
    assert stream.sent[-1].get("more_body")


@in_loop
async def test_a_suspended_job_ends_its_streams(entry: JobEntry) -> None:
    """Clients come back by themselves, to the service that goes on with the job."""
    stream = Stream(entry)
    sending = stream.start()
    await stream.has(1)
    entry.suspend()
    await sending
    assert len(stream.events) == 1
    assert not stream.sent[-1].get("more_body")


@in_loop
async def test_a_head_has_no_body(entry: JobEntry) -> None:
    """It ends at once, though the job goes on."""
    stream = Stream(entry)
    await stream.start("HEAD")
    assert (stream.text, len(stream.sent)) == ("", 2)


@in_loop
async def test_without_a_place_nothing_is_sent(entry: JobEntry) -> None:
    """So the refusal can still be an answer of its own."""
    stream = Stream(entry)
    with stream.places.hold("bob"), pytest.raises(QueueFullError):
        await stream.start()
    assert stream.sent == []


@in_loop
async def test_many_streams_are_all_told_of_the_end(entry: JobEntry) -> None:
    """One change wakes everybody who follows the job."""
    streams = [Stream(entry) for _ in range(100)]
    sending = [stream.start() for stream in streams]
    await asyncio.gather(*(stream.has(1) for stream in streams))
    end(entry)
    await asyncio.gather(*sending)
    assert all(stream.events[-1][1]["state"] == "succeeded" for stream in streams)


def test_a_status_tells_when_to_come_back(entry: JobEntry) -> None:
    """Until the end; its tag is the number of the document."""
    request = Sender(root_path="/prefix").request
    response = status_of(entry, request, context(), status_code=202, Location="/x")
    told = json.loads(bytes(response.body))
    assert (response.status_code, response.headers["Location"]) == (202, "/x")
    assert response.headers["ETag"] == etag_of(entry) == f'"{told["progress"]["seq"]}"'
    assert (response.headers["Retry-After"], response.headers["Cache-Control"]) == ("7", "no-cache")
    assert told["links"]["self"].startswith("/prefix/jobs/")
    end(entry)
    finished = status_of(entry, request, context())
    assert "Retry-After" not in finished.headers
    assert finished.headers["ETag"] != response.headers["ETag"]
