from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from convlast.client import Client
from convlast.errors import OptionError, RemoteError, StorageFullError, VerificationError
from convlast.options import Options
from tests.convlast.client.answering import (
    ARTIFACT,
    ZIP,
    answer_zip,
    client_of,
    converted,
    inspected,
    problem,
    report,
)

BROKEN = [
    httpx.ReadError("connection reset"),
    httpx.RemoteProtocolError("peer closed connection"),
    httpx.WriteError("broken pipe"),
]


def names_in(folder: Path) -> list[str]:
    """Return what is in a folder, hidden things too."""
    return sorted(path.name for path in folder.iterdir())


def cut_off(content: bytes, error: Exception | None = None) -> Iterator[bytes]:
    """Yield half of a zip, and then nothing more, or an error."""
    yield content[: len(content) // 2]
    if error is not None:
        raise error


def test_one_answer_brings_the_artifact_and_the_report(source: Path, tmp_path: Path) -> None:
    """The file is sent with its digest and name; there is no second request."""
    seen: list[httpx.Request] = []
    stages: list[tuple[str, int, int]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        assert request.read() == b"a checkpoint"
        return converted()

    with client_of(answer, key="secret") as client:
        made = client.convert(
            source,
            tmp_path / "out.pt",
            Options(memory_format="contiguous_format", input_shape=(1, 2, 3, 4, 5)),
            progress=lambda *stage: stages.append(stage),
        )

    digest = base64.b64encode(hashlib.sha256(b"a checkpoint").digest()).decode()
    expected = report(filename="out.pt")
    assert made == expected
    assert (tmp_path / "out.pt").read_bytes() == ARTIFACT
    assert names_in(tmp_path) == ["model.pt", "out.pt"]
    (request,) = seen
    assert request.method == "POST"
    assert request.headers["accept"] == "application/zip"
    assert request.headers["content-digest"] == f"sha-256=:{digest}:"
    assert request.headers["authorization"] == "Bearer secret"
    assert request.headers["content-length"] == "12"
    assert dict(request.url.params) == {
        "filename": "model.pt",
        "memory_format": "contiguous_format",
        "input_shape": "1,2,3,4,5",
    }
    assert stages[0] == ("upload", 12, 12)
    assert stages[-1] == ("download", len(ARTIFACT), len(ARTIFACT))


def test_an_inspection_sends_the_options_that_it_takes(source: Path) -> None:
    """Those of a conversion alone stay here, since the service would refuse them."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return inspected()

    options = Options(
        memory_format="contiguous_format", select=("a.*", "b"), on_unreadable="reject", smoke="none"
    )
    found = client_of(answer).inspect(source, options)

    assert found.artifact is None
    assert seen[0].headers["accept"] == "application/json"
    assert seen[0].url.params.multi_items() == [
        ("memory_format", "contiguous_format"),
        ("select", "a.*"),
        ("select", "b"),
        ("on_unreadable", "reject"),
        ("filename", "model.pt"),
    ]


def test_a_folder_gets_the_artifact_under_its_own_name(source: Path, tmp_path: Path) -> None:
    """A target that is a folder receives `<stem>.<memory_format>.<ext>`, whatever is in it."""
    folder = tmp_path / "out"
    (folder / "artifact").mkdir(parents=True)

    client_of(lambda _: converted(report(filename="../../evil.bin"))).convert(source, folder)

    assert names_in(folder) == ["artifact", "model.channels_last_3d.bin"]
    assert names_in(tmp_path) == ["model.pt", "out"]


def test_a_folder_with_the_artifacts_name_is_not_replaced(source: Path, tmp_path: Path) -> None:
    """It is refused as a target, as it is locally."""
    folder = tmp_path / "out"
    (folder / "model.channels_last_3d.pt").mkdir(parents=True)

    with pytest.raises(OptionError, match="is a folder"):
        client_of(lambda _: converted()).convert(source, folder)

    assert names_in(folder) == ["model.channels_last_3d.pt"]


def test_the_checkpoint_is_never_replaced(tmp_path: Path) -> None:
    """The checkpoint is replaced neither as the target nor by a same name in a folder."""
    source = tmp_path / "model.channels_last_3d.pt"
    source.write_bytes(b"a checkpoint")
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return converted()

    with client_of(answer) as client:
        with pytest.raises(OptionError, match="replace the input"):
            client.convert(source, source)
        assert not sent
        with pytest.raises(OptionError, match="replace the input"):
            client.convert(source, tmp_path)

    assert names_in(tmp_path) == [source.name]
    assert source.read_bytes() == b"a checkpoint"


def test_an_artifact_can_be_read_by_whom_the_umask_lets(source: Path, tmp_path: Path) -> None:
    """An artifact has the permissions of the umask, as one that was converted locally."""
    plain = tmp_path / "plain"
    plain.touch()

    client_of(lambda _: converted()).convert(source, tmp_path / "out.pt")

    assert (tmp_path / "out.pt").stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("error", [None, *BROKEN], ids=repr)
def test_a_download_that_breaks_off_is_asked_for_again(
    source: Path, tmp_path: Path, error: Exception | None, no_waiting: list[float]
) -> None:
    """The whole request is repeated, and what had come is written over."""
    long = answer_zip(report(ARTIFACT * 2), ARTIFACT * 2)
    answers = [
        httpx.Response(200, headers=ZIP, content=cut_off(long, error)),
        converted(),
    ]

    client_of(lambda _: answers.pop(0)).convert(source, tmp_path / "out.pt")

    assert len(no_waiting) == 1
    assert (tmp_path / "out.pt").read_bytes() == ARTIFACT
    assert names_in(tmp_path) == ["model.pt", "out.pt"]


def test_a_download_that_always_breaks_off_leaves_nothing(source: Path, tmp_path: Path) -> None:
    """It is tried as often as the caller allows, and the file that was there stays."""
    (tmp_path / "out.pt").write_bytes(b"an earlier one")
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, headers=ZIP, content=cut_off(answer_zip(), BROKEN[0]))

    with pytest.raises(RemoteError, match=r"broke off: connection reset.*tried 3 times") as caught:
        client_of(answer, attempts=3).convert(source, tmp_path / "out.pt")

    assert caught.value.code == "not-ready"
    assert len(requests) == 3
    assert names_in(tmp_path) == ["model.pt", "out.pt"]
    assert (tmp_path / "out.pt").read_bytes() == b"an earlier one"


@pytest.mark.parametrize("error", [*BROKEN, httpx.ConnectError("refused")], ids=repr)
def test_a_connection_that_breaks_before_the_answer_is_made_again(
    source: Path, error: Exception
) -> None:
    """A service that is replaced by another one meanwhile costs a repetition, not the result."""
    raised = [error]

    def answer(_: httpx.Request) -> httpx.Response:
        if raised:
            raise raised.pop()
        return inspected()

    assert client_of(answer).inspect(source).verdict == "passed"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (httpx.ReadTimeout("nothing came"), "timed-out"),
        (httpx.LocalProtocolError("Too little data"), "malformed-request"),
    ],
    ids=repr,
)
def test_what_would_fail_again_is_not_repeated(source: Path, error: Exception, code: str) -> None:
    """Neither a wait that was too long, nor a file that changes while it is sent."""
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        raise error

    with pytest.raises(RemoteError) as caught:
        client_of(answer).inspect(source)

    assert caught.value.code == code
    assert len(requests) == 1


def test_a_full_queue_is_asked_again_when_it_says(
    source: Path, tmp_path: Path, no_waiting: list[float]
) -> None:
    """After a 503 the client waits as long as Retry-After says, and sends the request again."""
    full = problem(503, "queue-full")
    full.headers["Retry-After"] = "7"
    answers = [full, converted()]

    client_of(lambda _: answers.pop(0)).convert(source, tmp_path / "out.pt")

    assert no_waiting == [7.0]


def test_a_damaged_artifact_is_refused(source: Path, tmp_path: Path) -> None:
    """An artifact that does not have the report's digest is not kept."""
    damaged = httpx.Response(200, headers=ZIP, content=answer_zip(report(), b"another"))

    with pytest.raises(RemoteError, match="damaged") as caught:
        client_of(lambda _: damaged).convert(source, tmp_path / "out.pt")

    assert caught.value.code == "digest-mismatch"
    assert names_in(tmp_path) == ["model.pt"]


def test_a_full_disk_is_no_fault_of_the_service(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is that of a local conversion, and the request is not repeated."""
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return converted()

    def fill(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("convlast.client.zip_answer._write", fill)
    with pytest.raises(StorageFullError):
        client_of(answer).convert(source, tmp_path / "out.pt")

    assert len(requests) == 1
    assert names_in(tmp_path) == ["model.pt"]


def test_a_rejected_conversion_brings_its_report(source: Path, tmp_path: Path) -> None:
    """A `verification-failed` problem becomes the error that the library raises."""
    told = report().model_dump(mode="json")
    rejected = problem(422, "verification-failed", report=told)

    with pytest.raises(VerificationError) as caught:
        client_of(lambda _: rejected).convert(source, tmp_path / "out.pt")

    assert caught.value.report == report()
    assert names_in(tmp_path) == ["model.pt"]


@pytest.mark.parametrize("url", ["localhost:8000", "http://", "http://[::1", "ftp://host/"])
def test_a_service_needs_an_address(url: str) -> None:
    """An address that is not one of HTTP is a wrong option."""
    with pytest.raises(OptionError, match="not the address"):
        Client(url)


def test_a_key_that_cannot_be_sent_is_not_shown() -> None:
    """A file with two lines is a wrong option, whose message does not have the key."""
    with pytest.raises(OptionError) as caught:
        client_of(lambda _: converted(), key="secret\nother")
    assert "secret" not in str(caught.value)
