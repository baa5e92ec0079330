from __future__ import annotations

from typing import Any

import httpx
import pytest

from convlast.errors import OptionError, RemoteError
from convlast.provenance.envelope import ENVELOPE, STATEMENT, Envelope, Signature
from convlast.provenance.statement import text_of
from tests.convlast.client.answering import problem
from tests.convlast.client.fake_service import ID, Answer, FakeService, status
from tests.convlast.provenance.statements import on_report


def test_all_pages_of_jobs_are_read(service: FakeService) -> None:
    """They come one by one, and a page is asked for when it is needed."""
    service.history = [status("running", seq) for seq in (3, 2, 1)]
    with service.client() as client:
        found = client.jobs("running")
        assert next(found).progress.seq == 3
        assert len(service.seen) == 1
        assert [each.progress.seq for each in found] == [2, 1]
    assert [each.params for each in service.seen] == [
        [("state", "running")],
        [("after", "1"), ("limit", "1"), ("state", "running")],
        [("after", "2"), ("limit", "1"), ("state", "running")],
    ]


def test_a_list_that_leads_to_itself_ends(service: FakeService) -> None:
    """A service cannot keep a client busy for ever."""
    service.history = [status("running", 1), status("running", 2)]
    page = b'{"jobs": [%s], "next": "/jobs?after=1&limit=1"}'
    again = Answer(
        200,
        {"Content-Type": "application/json"},
        [page % service.history[1].model_dump_json().encode()],
    )
    service.faults["list"] = [None, lambda _: again, lambda _: again]
    with service.client() as client:
        assert len(list(client.jobs())) == 2


def test_an_empty_page_leads_on(service: FakeService) -> None:
    """A service that looks for jobs in a state may find none on a page, and some on the next."""
    service.history = [status("running", 1)]
    fields = {"Content-Type": "application/json"}
    empty = Answer(200, fields, [b'{"jobs": [], "next": "/jobs?after=0"}'])
    service.faults["list"] = [lambda _: empty]
    with service.client() as client:
        assert len(list(client.jobs("running"))) == 1


@pytest.mark.parametrize("body", [b"[]", b'{"jobs": 1}', b'{"jobs": [{}], "next": null}'])
def test_a_list_of_another_version_is_told(service: FakeService, body: bytes) -> None:
    """The message says what to do."""
    headers = {"Content-Type": "application/json"}
    service.faults["list"] = [httpx.Response(200, headers=headers, content=body)]
    with service.client() as client, pytest.raises(RemoteError, match="same version"):
        list(client.jobs())


@pytest.mark.parametrize("verb", ["job", "report", "jobs"])
def test_a_question_is_repeated(service: FakeService, verb: str) -> None:
    """It changes nothing; after some attempts it ends."""
    kind = "list" if verb == "jobs" else verb
    away = httpx.ConnectError("refused")

    def ask() -> object:
        return list(client.jobs()) if verb == "jobs" else getattr(client, verb)(ID)

    with service.client(attempts=3) as client:
        service.faults[kind] = [away, httpx.Response(502)]
        assert ask()
        service.faults[kind] = [away] * 9
        with pytest.raises(RemoteError, match="tried 3 times"):
            ask()


def test_a_statement_comes_as_it_was_written(service: FakeService) -> None:
    """Byte for byte, signed or not."""
    bare = text_of(on_report(service.told))
    signed = Envelope(bare, (Signature("key", b"signature"),)).text()
    answers = [Answer(200, {"Content-Type": STATEMENT}, [bare])]
    answers += [Answer(200, {"Content-Type": ENVELOPE}, [signed])]
    service.faults["provenance"] = [lambda _: answers.pop(0)] * 2
    with service.client() as client:
        assert [client.provenance(ID) for _ in range(2)] == [bare, signed]


@pytest.mark.parametrize("kind", [STATEMENT, ENVELOPE, "text/html"])
@pytest.mark.parametrize("content", [b"", b"{}", b"<html>login</html>", b'{"payload": ""}'])
def test_what_is_no_statement_is_not_the_services(
    service: FakeService, kind: str, content: bytes
) -> None:
    """Whatever the answer calls itself, as a proxy may give any answer any name."""
    service.faults["provenance"] = [lambda _: Answer(200, {"Content-Type": kind}, [content])]
    with service.client() as client, pytest.raises(RemoteError, match="and not the service"):
        client.provenance(ID)


def test_a_job_that_runs_is_cancelled(service: FakeService) -> None:
    """The service says how it ended."""
    service.history = [status("running", 1), status("succeeded", 2)]
    with service.client() as client:
        assert client.cancel(ID).state == "cancelled"
    assert service.kinds() == ["job", "delete"]


def test_a_finished_job_is_not_removed_by_cancelling_it(service: FakeService) -> None:
    """The same request would remove it, so it is not sent."""
    with service.client() as client:
        assert client.cancel(ID).state == "succeeded"
    assert service.kinds() == ["job"]


def test_a_cancellation_whose_answer_is_lost_is_not_blindly_repeated(service: FakeService) -> None:
    """The job is asked for first: a second deletion would remove it."""
    service.history = [status("running", 1), status("succeeded", 2)]

    def lose(_: Answer) -> Answer:
        raise httpx.ReadError("connection reset")

    service.faults["delete"] = [httpx.ConnectError("refused"), lose]
    with service.client() as client:
        assert client.cancel(ID).state == "cancelled"
    assert service.kinds() == ["job", "delete", "job", "delete", "job"]
    assert not service.is_removed


def test_a_job_that_ends_while_it_is_cancelled_is_gone(service: FakeService) -> None:
    """The error says that there is nothing to fetch."""
    service.history = [status("running", 1)]
    service.faults["delete"] = [httpx.Response(204)]
    with service.client() as client, pytest.raises(RemoteError, match="ended before") as caught:
        client.cancel(ID)
    assert caught.value.code == "gone"


def test_a_finished_job_is_removed(service: FakeService) -> None:
    """It is gone afterwards."""
    with service.client() as client:
        client.remove(ID)
        with pytest.raises(RemoteError) as caught:
            client.job(ID)
    assert caught.value.code == "gone"


@pytest.mark.parametrize("fault", [httpx.ReadError("cut"), problem(503, "not-ready")], ids=repr)
def test_a_removal_is_never_repeated(service: FakeService, fault: Any) -> None:
    """Somebody may have begun the same job anew, which a second one would stop."""
    service.faults["delete"] = [fault]
    with service.client() as client, pytest.raises(RemoteError):
        client.remove(ID)
    assert service.kinds() == ["job", "delete"]


def test_a_job_that_runs_is_not_removed(service: FakeService) -> None:
    """It is to be cancelled first."""
    service.history = [status("running", 1)]
    with service.client() as client, pytest.raises(RemoteError, match="Cancel it first") as caught:
        client.remove(ID)
    assert caught.value.code == "conflict"
    assert service.kinds() == ["job"]


@pytest.mark.parametrize("verb", ["job", "wait", "report", "cancel", "remove"])
def test_an_id_is_no_path(service: FakeService, verb: str) -> None:
    """What is no id is asked of nobody."""
    with service.client() as client, pytest.raises(OptionError, match="id of a job"):
        getattr(client, verb)("../convert")
    assert not service.seen
