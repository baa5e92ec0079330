from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from convlast.client import Client
from convlast.errors import OptionError, RemoteError, VerificationError
from convlast.options import Options
from convlast.report import Report

RECORDED = Path(__file__).parent / "rendering" / "report.json"
ARTIFACT = bytes(range(256)) * 5000
LINKS = {"artifact": "/jobs/1/artifact", "report": "/jobs/1/report", "html": "/jobs/1/report.html"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a file to send; the fake service does not read it."""
    path = tmp_path / "model.pt"
    path.write_bytes(b"a checkpoint")
    return path


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record each wait instead of waiting."""
    waits: list[float] = []
    monkeypatch.setattr("convlast.client.time.sleep", waits.append)
    return waits


def client_of(answer: Callable[[httpx.Request], httpx.Response], **values: object) -> Client:
    """Return a client whose service is a function."""
    transport = httpx.MockTransport(answer)
    return Client("http://service", transport=transport, **values)  # type: ignore[arg-type]  # passed on


def report() -> Report:
    """Return a report whose artifact is the one that the fake service has."""
    made = Report.model_validate_json(RECORDED.read_bytes())
    assert made.artifact is not None
    made.artifact.sha256 = hashlib.sha256(ARTIFACT).hexdigest()
    made.artifact.bytes = len(ARTIFACT)
    return made


def converted() -> httpx.Response:
    """Return the response to a successful conversion."""
    return httpx.Response(200, json={"links": LINKS, **report().model_dump(mode="json")})


def test_an_artifact_is_converted_elsewhere_and_fetched(source: Path, tmp_path: Path) -> None:
    """The file is sent with its digest and name, and the whole artifact is written."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if request.method == "POST":
            assert request.read() == b"a checkpoint"
            return converted()
        return httpx.Response(200, content=ARTIFACT)

    with client_of(answer, key="secret") as client:
        made = client.convert(
            source,
            tmp_path / "out.pt",
            Options(memory_format="contiguous_format", input_shape=(1, 2, 3, 4, 5)),
        )

    digest = base64.b64encode(hashlib.sha256(b"a checkpoint").digest()).decode()
    named = report()
    assert named.artifact is not None
    named.artifact.filename = "out.pt"
    assert made == named
    assert (tmp_path / "out.pt").read_bytes() == ARTIFACT
    assert seen[0].headers["content-digest"] == f"sha-256=:{digest}:"
    assert seen[0].headers["authorization"] == "Bearer secret"
    assert seen[0].headers["content-length"] == "12"
    assert dict(seen[0].url.params) == {
        "filename": "model.pt",
        "memory_format": "contiguous_format",
        "input_shape": "1,2,3,4,5",
    }


def test_a_folder_gets_the_artifact_under_its_own_name(source: Path, tmp_path: Path) -> None:
    """A target that is a folder receives `<stem>.<memory_format>.<ext>`."""
    folder = tmp_path / "out"
    folder.mkdir()

    def answer(request: httpx.Request) -> httpx.Response:
        return converted() if request.method == "POST" else httpx.Response(200, content=ARTIFACT)

    client_of(answer).convert(source, folder)

    assert [path.name for path in folder.iterdir()] == ["model.channels_last_3d.pt"]


def test_the_checkpoint_is_never_replaced(tmp_path: Path) -> None:
    """The checkpoint is replaced neither as the target nor by a same name in a folder."""
    source = tmp_path / "model.channels_last_3d.pt"
    source.write_bytes(b"a checkpoint")
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return converted() if request.method == "POST" else httpx.Response(200, content=ARTIFACT)

    with client_of(answer) as client:
        with pytest.raises(OptionError, match="replace the input"):
            client.convert(source, source)
        assert not sent
        with pytest.raises(OptionError, match="replace the input"):
            client.convert(source, tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == [source.name]
    assert source.read_bytes() == b"a checkpoint"


def test_an_artifact_can_be_read_by_whom_the_umask_lets(source: Path, tmp_path: Path) -> None:
    """An artifact has the permissions of the umask, as one that was converted locally."""
    plain = tmp_path / "plain"
    plain.touch()

    def answer(request: httpx.Request) -> httpx.Response:
        return converted() if request.method == "POST" else httpx.Response(200, content=ARTIFACT)

    client_of(answer).convert(source, tmp_path / "out.pt")

    assert (tmp_path / "out.pt").stat().st_mode == plain.stat().st_mode


def test_a_broken_download_goes_on_where_it_stopped(source: Path, tmp_path: Path) -> None:
    """After a lost connection only the rest is requested."""
    ranges: list[str | None] = []

    def broken() -> Iterator[bytes]:
        yield ARTIFACT[: 1 << 20]
        raise httpx.ReadError("connection reset")

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return converted()
        ranges.append(request.headers.get("range"))
        if len(ranges) == 1:
            return httpx.Response(200, content=broken())
        return httpx.Response(206, content=ARTIFACT[1 << 20 :])

    client_of(answer).convert(source, tmp_path / "out.pt")

    assert ranges == [None, f"bytes={1 << 20}-"]
    assert (tmp_path / "out.pt").read_bytes() == ARTIFACT


def test_a_full_queue_is_asked_again_when_it_says(
    source: Path, tmp_path: Path, no_waiting: list[float]
) -> None:
    """After a 503 the client waits as long as Retry-After says, and sends the request again."""
    answers = [
        httpx.Response(503, headers={"Retry-After": "7"}, json={"code": "queue-full"}),
        converted(),
        httpx.Response(200, content=ARTIFACT),
    ]

    client_of(lambda _: answers.pop(0)).convert(source, tmp_path / "out.pt")

    assert no_waiting == [7.0]


def test_a_connection_that_breaks_while_a_job_runs_is_not_tried_again(source: Path) -> None:
    """If the service may have begun the job, the request is not repeated."""
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        raise httpx.ReadTimeout("nothing came")

    with pytest.raises(RemoteError, match="does not answer"):
        client_of(answer).inspect(source)

    assert len(requests) == 1


def test_a_damaged_artifact_is_refused(source: Path, tmp_path: Path) -> None:
    """An artifact that does not have the report's digest is not kept."""

    def answer(request: httpx.Request) -> httpx.Response:
        return converted() if request.method == "POST" else httpx.Response(200, content=b"x")

    with pytest.raises(RemoteError) as caught:
        client_of(answer).convert(source, tmp_path / "out.pt")

    assert caught.value.code == "digest-mismatch"
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_a_problem_is_raised_under_its_own_code(source: Path) -> None:
    """The error has the code and the text of the problem document."""
    problem = {"code": "unsafe-checkpoint", "detail": "It asks for os.system.", "status": 422}

    with pytest.raises(RemoteError, match=r"os\.system") as caught:
        client_of(lambda _: httpx.Response(422, json=problem)).inspect(source)

    assert caught.value.code == "unsafe-checkpoint"


def test_a_rejected_conversion_brings_its_report(source: Path, tmp_path: Path) -> None:
    """A `verification-failed` problem becomes the error that the library raises."""
    problem = {
        "code": "verification-failed",
        "detail": "A value changed.",
        "report": report().model_dump(mode="json"),
    }

    with pytest.raises(VerificationError) as caught:
        client_of(lambda _: httpx.Response(422, json=problem)).convert(source, tmp_path / "out.pt")

    assert caught.value.report == report()


def test_an_answer_that_is_no_problem_document_is_still_an_error(source: Path) -> None:
    """A proxy's HTML page is reported by its status."""
    with pytest.raises(RemoteError, match="502"):
        client_of(lambda _: httpx.Response(502, text="<html>")).inspect(source)


def test_a_service_needs_an_address() -> None:
    """A name without a scheme is a wrong option."""
    with pytest.raises(OptionError, match="not the address"):
        Client("localhost:8000")


def test_an_inspection_sends_its_options(source: Path) -> None:
    """What a conversion would be asked for is in the query."""
    seen: list[httpx.QueryParams] = []

    def answer(request: httpx.Request) -> httpx.Response:
        request.read()
        seen.append(request.url.params)
        assert request.url.path == "/inspect"
        return httpx.Response(200, json=report().model_dump(mode="json"))

    options = Options(memory_format="contiguous_format", select=("a.*", "b"))
    with client_of(answer) as client:
        assert client.inspect(source, options) == report()
    assert seen[0].multi_items() == [
        ("memory_format", "contiguous_format"),
        ("select", "a.*"),
        ("select", "b"),
        ("filename", "model.pt"),
    ]
