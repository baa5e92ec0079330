from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from convlast.client import AsyncClient, Client
from convlast.errors import OptionError, RemoteError, StorageFullError, VerificationError
from convlast.options import Options
from tests.convlast.client.answering import ARTIFACT, report
from tests.convlast.client.fake_service import FakeService, problem_of, status


def names_in(folder: Path) -> list[str]:
    """Return what is in a folder, hidden things too."""
    return sorted(path.name for path in folder.iterdir())


def test_a_conversion_is_a_job_from_its_upload_to_its_artifact(
    service: FakeService, source: Path, tmp_path: Path
) -> None:
    """The file is sent once, with its digest and name; each stage ends at its total."""
    service.history = [
        status("queued", 1, place=2),
        status("running", 2, "write", 10, 200),
        status("running", 3, "prove", 0, 4),
        status("succeeded", 4),
    ]
    stages: list[tuple[str, int, int]] = []

    with service.client(key="secret") as client:
        made = client.convert(
            source,
            tmp_path / "out.pt",
            Options(memory_format="contiguous_format", input_shape=(1, 2, 3, 4, 5)),
            progress=lambda *stage: stages.append(stage),
        )

    assert made == report(filename="out.pt")
    assert (tmp_path / "out.pt").read_bytes() == ARTIFACT
    assert names_in(tmp_path) == ["model.pt", "out.pt"]
    assert service.kinds() == ["ask", "upload", "events", "report", "artifact"]
    assert {request.headers["authorization"] for request in service.seen} == {"Bearer secret"}
    (upload,) = service.of_kind("upload")
    digest = base64.b64encode(hashlib.sha256(b"a checkpoint").digest()).decode()
    assert (upload.path, upload.body) == ("/convert", b"a checkpoint")
    assert upload.headers["prefer"] == "respond-async"
    assert upload.headers["content-digest"] == f"sha-256=:{digest}:"
    assert upload.headers["content-length"] == "12"
    assert dict(upload.params) == {
        "filename": "model.pt",
        "memory_format": "contiguous_format",
        "input_shape": "1,2,3,4,5",
    }
    begun = list(dict.fromkeys(stage for stage, _, _ in stages))
    assert begun == ["upload", "queue", "write", "prove", "download"]
    for stage in begun:
        told = [(done, total) for name, done, total in stages if name == stage]
        assert told[0][0] < told[0][1]
        assert told[-1][0] == told[-1][1]


def test_the_service_is_asked_for_bytes_that_it_may_have(
    service: FakeService, source: Path, tmp_path: Path
) -> None:
    """If it has them nothing is uploaded, and no upload is told of."""
    service.has_bytes = True
    stages: list[str] = []
    with service.client() as client:
        client.convert(source, tmp_path / "out.pt", progress=lambda stage, *_: stages.append(stage))
    assert "upload" not in service.kinds()
    assert set(stages) == {"download"}
    assert service.kinds() == ["ask", "report", "artifact"]  # the job was finished already
    asked = service.seen[0]
    assert (asked.path, asked.headers["prefer"]) == ("/convert", "respond-async")
    assert json.loads(asked.body) == {
        "source": f"sha256:{hashlib.sha256(b'a checkpoint').hexdigest()}",
        "filename": "model.pt",
        "options": {},
    }


def test_an_inspection_sends_the_options_that_it_takes(service: FakeService, source: Path) -> None:
    """Those of a conversion alone stay here, since the service would refuse them."""
    service.told = report().model_copy(update={"artifact": None})
    options = Options(
        memory_format="contiguous_format", select=("a.*", "b"), on_unreadable="reject", smoke="none"
    )
    with service.client() as client:
        found = client.inspect(source, options)

    assert found.artifact is None
    asked, upload = service.seen[:2]
    assert asked.path == "/inspect"
    assert json.loads(asked.body)["options"] == {
        "memory_format": "contiguous_format",
        "select": ["a.*", "b"],
        "on_unreadable": "reject",
    }
    assert upload.params == [
        ("memory_format", "contiguous_format"),
        ("select", "a.*"),
        ("select", "b"),
        ("on_unreadable", "reject"),
        ("filename", "model.pt"),
    ]


def test_a_folder_gets_the_artifact_under_its_own_name(
    service: FakeService, source: Path, tmp_path: Path
) -> None:
    """A target that is a folder receives `<stem>.<memory_format>.<ext>`, whatever is in it."""
    folder = tmp_path / "out"
    (folder / "artifact").mkdir(parents=True)
    service.told = report(filename="../../evil.bin")
    service.history = [status(input={"filename": "../evil", "sha256": "0" * 64, "bytes": 1})]

    with service.client() as client:
        client.convert(source, folder)

    assert names_in(folder) == ["artifact", "model.channels_last_3d.bin"]
    assert names_in(tmp_path) == ["model.pt", "out"]


def test_a_folder_with_the_artifacts_name_is_not_replaced(
    service: FakeService, source: Path, tmp_path: Path
) -> None:
    """It is refused as a target, as it is locally."""
    folder = tmp_path / "out"
    (folder / "model.channels_last_3d.pt").mkdir(parents=True)

    with service.client() as client, pytest.raises(OptionError, match="is a folder"):
        client.convert(source, folder)

    assert names_in(folder) == ["model.channels_last_3d.pt"]


def test_the_checkpoint_is_never_replaced(service: FakeService, tmp_path: Path) -> None:
    """The checkpoint is replaced neither as the target nor by a same name in a folder."""
    source = tmp_path / "model.channels_last_3d.pt"
    source.write_bytes(b"a checkpoint")

    with service.client() as client:
        with pytest.raises(OptionError, match="replace the input"):
            client.convert(source, source)
        assert not service.seen
        with pytest.raises(OptionError, match="replace the input"):
            client.convert(source, tmp_path)

    assert names_in(tmp_path) == [source.name]
    assert source.read_bytes() == b"a checkpoint"


def test_an_artifact_can_be_read_by_whom_the_umask_lets(
    service: FakeService, source: Path, tmp_path: Path
) -> None:
    """An artifact has the permissions of the umask, as one that was converted locally."""
    plain = tmp_path / "plain"
    plain.touch()
    with service.client() as client:
        client.convert(source, tmp_path / "out.pt")
    assert (tmp_path / "out.pt").stat().st_mode == plain.stat().st_mode


def test_a_full_disk_is_no_fault_of_the_service(
    service: FakeService, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is that of a local conversion, and the download is not repeated."""

    def fill(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("convlast.client.download.Received.take", fill)
    with service.client() as client, pytest.raises(StorageFullError):
        client.convert(source, tmp_path / "out.pt")

    assert len(service.of_kind("artifact")) == 1
    assert names_in(tmp_path) == ["model.pt"]


def test_a_rejected_conversion_brings_its_report(
    service: FakeService, source: Path, tmp_path: Path
) -> None:
    """A `verification-failed` job becomes the error that the library raises."""
    service.history = [status("failed", problem=problem_of("verification-failed", "It differs."))]
    with service.client() as client, pytest.raises(VerificationError, match="It differs") as caught:
        client.convert(source, tmp_path / "out.pt")

    assert caught.value.report == report()
    assert names_in(tmp_path) == ["model.pt"]


def test_a_rejected_conversion_without_a_report_still_has_its_reason(
    service: FakeService, source: Path, tmp_path: Path
) -> None:
    """The code and the words are the job's, though its report is gone."""
    service.history = [status("failed", problem=problem_of("verification-failed", "It differs."))]
    service.faults["report"] = [httpx.Response(410)]
    with service.client() as client, pytest.raises(RemoteError, match="It differs") as caught:
        client.convert(source, tmp_path / "out.pt")
    assert caught.value.code == "verification-failed"


@pytest.mark.parametrize(
    ("ended", "code", "words"),
    [
        (status("failed", problem=problem_of("timed-out", "Too long.")), "timed-out", "Too long."),
        (status("failed"), "internal", "does not say why"),
        (status("cancelled"), "gone", "was cancelled"),
    ],
    ids=["failed", "failed-without-reason", "cancelled"],
)
@pytest.mark.parametrize("verb", ["convert", "inspect"])
def test_a_job_that_did_not_succeed_raises_its_reason(
    service: FakeService, source: Path, verb: str, ended: Any, code: str, words: str
) -> None:
    """The error has the code of the job's problem, and the stages that ran do not end."""
    service.history = [status("running", 1, "write", 3, 9), ended]
    stages: list[tuple[str, int, int]] = []
    told: dict[str, Any] = {"progress": lambda *stage: stages.append(stage)}
    places = [source, source.with_name("out.pt")] if verb == "convert" else [source]
    with service.client() as client, pytest.raises(RemoteError, match=words) as caught:
        getattr(client, verb)(*places, **told)
    assert caught.value.code == code
    assert stages[-1] == ("write", 3, 9)
    assert names_in(source.parent) == ["model.pt"]
    assert "delete" not in service.kinds()


def test_a_conversion_whose_progress_fails_cancels_its_job(
    service: FakeService, source: Path, tmp_path: Path
) -> None:
    """The caller's own error comes through, and nothing goes on for nobody."""
    service.history = [status("running", 1, "write", 3, 9), status("succeeded", 2)]

    def fail(stage: str, *_: int) -> None:
        if stage == "write":
            raise RuntimeError("the caller's own")

    with service.client() as client, pytest.raises(RuntimeError, match="the caller's own"):
        client.convert(source, tmp_path / "out.pt", progress=fail)
    assert service.kinds()[-1] == "delete"
    assert names_in(tmp_path) == ["model.pt"]


def test_an_asynchronous_client_does_the_same(
    service: FakeService, source: Path, tmp_path: Path
) -> None:
    """It is what the other one runs."""

    async def work() -> None:
        async with AsyncClient("http://service", transport=service.transport()) as client:
            made = await client.convert(source, tmp_path / "out.pt")
            assert made == report(filename="out.pt")
            assert [job.id async for job in client.jobs()] == [status().id]
            assert [job.state async for job in client.follow(status().id)] == ["succeeded"]

    anyio.run(work)
    assert (tmp_path / "out.pt").read_bytes() == ARTIFACT


def test_a_cancelled_conversion_cancels_its_job(
    service: FakeService, source: Path, tmp_path: Path
) -> None:
    """The service is told before the cancellation goes on."""
    service.history = [status("running", seq, "write", seq, 9) for seq in (1, 2, 3)]

    async def work() -> None:
        async with AsyncClient("http://service", transport=service.transport()) as client:
            with anyio.CancelScope() as scope:

                def stop(stage: str, *_: int) -> None:
                    if stage == "write":
                        scope.cancel()

                await client.convert(source, tmp_path / "out.pt", progress=stop)
            assert scope.cancelled_caught

    anyio.run(work)
    assert service.kinds()[-1] == "delete"
    assert names_in(tmp_path) == ["model.pt"]


@pytest.mark.parametrize("url", ["localhost:8000", "http://", "http://[::1", "ftp://host/"])
def test_a_service_needs_an_address(url: str) -> None:
    """An address that is not one of HTTP is a wrong option."""
    with pytest.raises(OptionError, match="not the address"):
        Client(url)


def test_a_key_that_cannot_be_sent_is_not_shown(service: FakeService) -> None:
    """A file with two lines is a wrong option, whose message does not have the key."""
    with pytest.raises(OptionError) as caught:
        service.client(key="secret\nother")
    assert "secret" not in str(caught.value)


def test_a_conversion_that_loses_its_service_leaves_the_job(
    service: FakeService, source: Path, tmp_path: Path
) -> None:
    """It may end there, and the same call fetches it later."""
    service.history = [status("running", 1), status("succeeded", 2)]
    service.faults["events"] = [httpx.ConnectError("refused")] * 99
    with service.client(patience_s=9) as client:
        with pytest.raises(RemoteError, match="refused"):
            client.convert(source, tmp_path / "out.pt")
        assert "delete" not in service.kinds()
        service.faults.clear()
        client.convert(source, tmp_path / "out.pt")
    assert len(service.of_kind("upload")) == 1


def test_a_job_that_cannot_be_cancelled_does_not_hide_the_reason(
    service: FakeService, source: Path, tmp_path: Path
) -> None:
    """The caller learns what ended the call, not what came after it."""
    service.history = [status("running", 1, "write", 3, 9), status("succeeded", 2)]
    service.faults["delete"] = [httpx.Response(404)]

    def fail(stage: str, *_: int) -> None:
        if stage == "write":
            raise RuntimeError("the caller's own")

    with service.client() as client, pytest.raises(RuntimeError, match="the caller's own"):
        client.convert(source, tmp_path / "out.pt", progress=fail)


def test_options_of_an_architecture_are_sent_as_text(
    service: FakeService, source: Path, tmp_path: Path
) -> None:
    """In the query they are JSON, in the question for the bytes an object."""
    options = Options(architecture="a.b", architecture_options={"n": 1})
    with service.client() as client:
        client.convert(source, tmp_path / "out.pt", options)
    asked, upload = service.seen[:2]
    assert json.loads(asked.body)["options"]["architecture_options"] == {"n": 1}
    assert ("architecture_options", '{"n": 1}') in upload.params


def test_an_archive_of_a_folder_keeps_its_extension(service: FakeService, tmp_path: Path) -> None:
    """As locally."""
    source = tmp_path / "bundle.tar.gz"
    source.write_bytes(b"an archive")
    told = report(filename="evil.sh")
    service.told = told.model_copy(
        update={"input": told.input.model_copy(update={"container": "tar-folder"})}
    )
    with service.client() as client:
        client.convert(source, tmp_path)
    assert names_in(tmp_path) == ["bundle.channels_last_3d.tar", "bundle.tar.gz"]


@pytest.mark.parametrize(
    ("body", "words"), [(b"{", "answered with damaged JSON"), (b"{}", "another version")]
)
def test_a_report_that_cannot_be_read_is_told(
    service: FakeService, source: Path, body: bytes, words: str
) -> None:
    """By what is wrong with it."""
    headers = {"Content-Type": "application/json"}
    service.faults["report"] = [httpx.Response(200, headers=headers, content=body)]
    with service.client() as client, pytest.raises(RemoteError, match=words):
        client.inspect(source)
