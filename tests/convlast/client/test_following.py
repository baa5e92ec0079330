from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from convlast.errors import RemoteError
from convlast.jobs import JobStatus
from tests.convlast.client.answering import problem
from tests.convlast.client.fake_service import ID, Answer, FakeService, status

HISTORY = [
    status("queued", 1, place=1),
    status("running", 2, "write", 1, 9),
    status("running", 3, "write", 5, 9),
    status("succeeded", 4),
]


@pytest.fixture
def service() -> FakeService:
    """Return a service whose job is queued, runs and succeeds."""
    return FakeService(*HISTORY)


def seqs(found: list[JobStatus]) -> list[int]:
    """Return the sequence numbers of statuses."""
    return [each.progress.seq for each in found]


def cut_after(events: int) -> Callable[[Answer], Answer]:
    """Return a fault: the connection breaks after so many events."""

    def fault(answer: Answer) -> Answer:
        def pieces() -> Any:
            source = iter(answer.pieces)
            yield next(source)
            for _ in range(events):
                yield next(source)
            yield b'id: 99\ndata: {"half'
            raise httpx.ReadError("connection reset")

        return Answer(answer.status, answer.headers, pieces())

    return fault


def ended_after(events: int) -> Callable[[Answer], Answer]:
    """Return a fault: the stream ends in good order after so many events."""

    def fault(answer: Answer) -> Answer:
        source = iter(answer.pieces)
        return Answer(answer.status, answer.headers, [next(source) for _ in range(events + 1)])

    return fault


def test_a_job_is_followed_by_one_stream_to_its_end(service: FakeService) -> None:
    """The latest status comes first, and the last one is finished."""
    with service.client() as client:
        found = list(client.follow(ID))
    assert found == HISTORY
    assert service.kinds() == ["events"]
    assert service.seen[0].headers["accept"] == "text/event-stream"
    assert "last-event-id" not in service.seen[0].headers


@pytest.mark.parametrize("fault", [cut_after(2), ended_after(2)], ids=["broken", "ended"])
def test_a_stream_that_is_cut_goes_on_after_its_last_event(
    service: FakeService, fault: Any, no_waiting: list[float]
) -> None:
    """Nothing is told twice, half an event is none, and the wait is the one of `retry`."""
    service.faults["events"] = [fault]
    with service.client() as client:
        assert seqs(list(client.follow(ID))) == [1, 2, 3, 4]
    second = service.seen[1]
    assert second.headers["last-event-id"] == "2"
    assert no_waiting == [1.0]


def test_a_job_that_has_much_to_tell_is_always_streamed(service: FakeService) -> None:
    """Streams that bring events may be cut any number of times."""
    service.faults["events"] = [cut_after(1)] * 3
    with service.client() as client:
        assert seqs(list(client.follow(ID))) == [1, 2, 3, 4]
    assert service.kinds() == ["events"] * 4
    assert [each.headers.get("last-event-id") for each in service.seen] == [None, "1", "2", "3"]


@pytest.mark.parametrize(
    "fault",
    [
        cut_after(0),
        httpx.ReadTimeout("nothing came"),
        httpx.Response(504),
        problem(429, "too-many-requests"),
    ],
    ids=["cut", "silent", "gateway", "full"],
)
def test_after_two_streams_without_an_event_the_service_is_polled(
    service: FakeService, fault: Any
) -> None:
    """The polls are short, and ask for what has changed since the last one."""
    service.faults["events"] = [ended_after(1), fault, fault]
    with service.client() as client:
        assert seqs(list(client.follow(ID))) == [1, 2, 3, 4]
    polls = service.of_kind("job")
    assert service.kinds() == ["events"] * 3 + ["job"] * 3
    assert [each.params for each in polls] == [[("wait", "4")]] * 3
    assert [each.headers["if-none-match"] for each in polls] == ['"1"', '"2"', '"3"']


def test_a_gateway_that_turns_events_into_something_else_is_polled_through(
    service: FakeService,
) -> None:
    """What is no stream of events says nothing of the job."""
    service.faults["events"] = [httpx.Response(200, text="<html>")]
    with service.client() as client:
        assert seqs(list(client.follow(ID))) == [1, 2, 3, 4]
    assert service.kinds() == ["events", *["job"] * 4]


def test_a_stream_without_an_end_of_line_is_given_up(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not fill the memory."""
    monkeypatch.setattr("convlast.client.events.MAX_EVENT_BYTES", 1 << 16)
    endless = Answer(200, {"Content-Type": "text/event-stream"}, [b"data: " + b"x" * 9999] * 99)
    service.faults["events"] = [lambda _: endless]
    with service.client() as client:
        assert seqs(list(client.follow(ID))) == [1, 2, 3, 4]
    assert service.kinds() == ["events", *["job"] * 4]


def test_polls_that_a_gateway_does_not_wait_for_become_shorter(
    service: FakeService, no_waiting: list[float]
) -> None:
    """In the end the service is asked once a second, without waiting there."""
    service.faults["events"] = [cut_after(0)] * 2
    service.faults["job"] = [httpx.Response(504), httpx.ReadError("cut"), httpx.Response(504)]
    with service.client() as client:
        assert seqs(list(client.follow(ID))) == [1, 2, 3, 4]
    waits = [dict(each.params)["wait"] for each in service.of_kind("job")]
    assert waits == ["4", "2", "1", "0", "0", "0", "0"]
    assert no_waiting == [1.0, 0.5, 1.0, 2.0, 1.0, 1.0, 1.0]


def test_a_poll_without_news_is_told_to_nobody(service: FakeService) -> None:
    """A 304 is followed by the next poll."""
    service.faults["events"] = [ended_after(1), cut_after(0), cut_after(0)]
    service.faults["job"] = [httpx.Response(304), httpx.Response(304)]
    with service.client() as client:
        assert seqs(list(client.follow(ID))) == [1, 2, 3, 4]
    assert len(service.of_kind("job")) == 5


@pytest.mark.parametrize(
    "error",
    [httpx.ConnectError("refused"), httpx.Response(502), problem(503, "not-ready")],
    ids=["refused", "gateway", "starting"],
)
def test_a_service_that_is_restarted_is_waited_for(
    service: FakeService, error: Any, no_waiting: list[float]
) -> None:
    """The stream goes on after its last event, however often the service was not there."""
    service.faults["events"] = [cut_after(2), *[error] * 20]
    with service.client() as client:
        assert seqs(list(client.follow(ID))) == [1, 2, 3, 4]
    assert service.kinds() == ["events"] * 22
    assert service.seen[-1].headers["last-event-id"] == "2"
    assert no_waiting[1:6] == [0.5, 1.0, 2.0, 4.0, 5.0]


def test_a_service_that_stays_away_ends_the_patience(
    service: FakeService, no_waiting: list[float]
) -> None:
    """The error says what happened last, and how often it was tried."""
    service.faults["events"] = [httpx.ConnectError("refused")] * 100
    with (
        service.client(patience_s=20) as client,
        pytest.raises(RemoteError, match=r"refused.*tried \d+ times") as caught,
    ):
        list(client.follow(ID))
    assert caught.value.code == "not-ready"
    assert 20 <= sum(no_waiting) < 26


@pytest.mark.parametrize(
    ("status_code", "code"), [(404, "not-found"), (410, "gone"), (401, "unauthorized")]
)
@pytest.mark.parametrize("kind", ["events", "job"])
def test_a_refusal_ends_it(service: FakeService, kind: str, status_code: int, code: str) -> None:
    """It is not asked again."""
    service.faults["events"] = [cut_after(0)] * 2
    service.faults[kind].insert(0, problem(status_code, code))
    with service.client() as client, pytest.raises(RemoteError) as caught:
        list(client.follow(ID))
    assert caught.value.code == code
    assert service.kinds()[-1] == kind


def test_the_end_may_be_known_already(service: FakeService) -> None:
    """Where a stream says that nothing is left, the status is asked for."""
    service.position = 3
    service.faults["events"] = [httpx.Response(204), httpx.Response(204)]
    with service.client() as client:
        assert seqs(list(client.follow(ID))) == [4]


def test_a_loop_may_be_left_early(service: FakeService) -> None:
    """The stream is closed, and the client can be used again."""
    with service.client() as client:
        for each in client.follow(ID):
            assert each.state == "queued"
            break
        assert client.job(ID).id == ID


def test_a_client_may_be_closed_before_its_loop_is_left(service: FakeService) -> None:
    """The stream ends with it, without a word."""
    with service.client() as client:
        found = client.follow(ID)
        assert next(found).state == "queued"
    found.close()  # type: ignore[attr-defined]  # it is a generator


def test_a_job_of_another_version_is_told(service: FakeService) -> None:
    """The message says what to do."""
    stream = Answer(200, {"Content-Type": "text/event-stream"}, [b'data: {"a": 1}\n\n'])
    service.faults["events"] = [lambda _: stream]
    with service.client() as client, pytest.raises(RemoteError, match="same version"):
        list(client.follow(ID))


def test_a_status_is_told_once(service: FakeService) -> None:
    """Though the service repeats it."""

    def stutter(answer: Answer) -> Answer:
        return Answer(
            answer.status,
            answer.headers,
            [piece for each in answer.pieces for piece in (each,) * 2],
        )

    service.faults["events"] = [stutter]
    with service.client() as client:
        assert seqs(list(client.follow(ID))) == [1, 2, 3, 4]


def test_waiting_returns_the_end(service: FakeService) -> None:
    """A job that failed is returned too."""
    service.history = [*HISTORY[:2], status("failed", 9)]
    with service.client() as client:
        assert client.wait(ID).state == "failed"
