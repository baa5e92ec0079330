from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from convlast.errors import RemoteError
from tests.convlast.client.answering import problem
from tests.convlast.client.fake_service import ID, Answer, FakeService, status


def test_a_job_is_accepted_and_not_waited_for(service: FakeService, source: Path) -> None:
    """It comes back as the service tells it, and an upload is told of."""
    service.history = [status("queued", 1, place=3)]
    told: list[tuple[str, int, int]] = []
    with service.client() as client:
        job = client.submit(source, verb="inspect", progress=lambda *each: told.append(each))
    assert (job.id, job.state, job.place) == (ID, "queued", 3)
    assert [each.path for each in service.seen] == ["/inspect", "/inspect"]
    assert told[0] == ("upload", 0, 12)
    assert told[-1] == ("upload", 12, 12)


def test_an_upload_whose_answer_is_lost_is_not_repeated(
    service: FakeService, source: Path, no_waiting: list[float]
) -> None:
    """The service is asked first, and has the bytes."""

    def lose(_: Answer) -> Answer:
        raise httpx.ReadError("connection reset")

    service.faults["upload"] = [lose]
    with service.client() as client:
        assert client.submit(source).id == ID
    assert service.kinds() == ["ask", "upload", "ask"]
    assert len(no_waiting) == 1


@pytest.mark.parametrize(
    "fault",
    [
        httpx.ReadError("connection reset"),
        httpx.RemoteProtocolError("peer closed connection"),
        httpx.WriteError("broken pipe"),
        httpx.ReadTimeout("nothing came"),
        httpx.ConnectError("refused"),
        httpx.Response(502),
        httpx.Response(503),
        httpx.Response(504),
        problem(503, "queue-full"),
        problem(429, "too-many-requests"),
    ],
    ids=lambda fault: repr(fault) + getattr(fault, "text", "")[:60],
)
@pytest.mark.parametrize("kind", ["ask", "upload"])
def test_what_may_pass_is_tried_again(
    service: FakeService, source: Path, kind: str, fault: Any
) -> None:
    """The same request gives the same job, so it is safe to send it twice."""
    service.faults[kind] = [fault]
    told: list[int] = []
    with service.client() as client:
        assert client.submit(source, progress=lambda _, done, total: told.append(done)).id == ID
    assert len(service.of_kind(kind)) == 2
    assert told[-1] == 12


def test_the_attempts_are_bounded(service: FakeService, source: Path) -> None:
    """A file is sent as often as the caller allows."""
    service.faults["upload"] = [httpx.ReadError("connection reset")] * 9
    with (
        service.client(attempts=3) as client,
        pytest.raises(RemoteError, match=r"broke off.*tried 3 times") as caught,
    ):
        client.submit(source)
    assert caught.value.code == "not-ready"
    assert len(service.of_kind("upload")) == 3


def test_a_full_queue_is_asked_again_when_it_says(
    service: FakeService, source: Path, no_waiting: list[float]
) -> None:
    """After a 503 the client waits as long as Retry-After says, at most a minute."""
    for seconds in ("7", "9999"):
        full = problem(503, "queue-full")
        full.headers["Retry-After"] = seconds
        service.faults["ask"].append(full)
    with service.client() as client:
        client.submit(source)
    assert no_waiting == [7.0, 60.0]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (httpx.LocalProtocolError("Too little data"), "malformed-request"),
        (problem(422, "invalid-option"), "invalid-option"),
        (httpx.Response(404), "not-found"),
    ],
    ids=repr,
)
def test_what_would_fail_again_is_not_repeated(
    service: FakeService, source: Path, fault: Any, code: str
) -> None:
    """Such as a file that changes while it is sent, or a gateway that knows no such path."""
    service.faults["ask"] = [fault]
    with service.client() as client, pytest.raises(RemoteError) as caught:
        client.submit(source)
    assert caught.value.code == code
    assert service.kinds() == ["ask"]


def test_a_service_without_jobs_is_told(service: FakeService, source: Path) -> None:
    """One that answers with the result does not know the request."""
    service.faults["ask"] = [httpx.Response(200, headers={"Content-Type": "application/zip"})]
    with service.client() as client, pytest.raises(RemoteError, match="answered 200"):
        client.submit(source)


def test_a_file_that_is_not_there_is_not_sent(service: FakeService, tmp_path: Path) -> None:
    """The error is that of the system."""
    with service.client() as client, pytest.raises(FileNotFoundError):
        client.submit(tmp_path / "absent.pt")
    assert not service.seen
