"""Model folders through the service, in its sandbox and within its quota."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import convlast
from convlast.options import Options
from service.storage.quota import Quota
from service.storage.workspace import JobFolder
from tests.convlast.folders import building
from tests.hostile import packs_a_folder as attack
from tests.service.running import REAL, Running, start

WORK_BYTES = 64 << 20


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run the service with convlast itself in its workers, and a small quota."""
    running = start(tmp_path_factory.mktemp("service"), REAL, device="cpu", work_bytes=WORK_BYTES)
    running.wait_until_ready()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a model folder."""
    return building.model_folder(tmp_path_factory.mktemp("folder") / "model")


def post(
    service: Running, path: Path | bytes, verb: str = "convert", **more: Any
) -> httpx.Response:
    """Send an archive, without the smoke."""
    content = path if isinstance(path, bytes) else path.read_bytes()
    name = "model.zip" if isinstance(path, bytes) else path.name
    data = {"smoke": "none"} if verb == "convert" else {}
    with service.client() as client:
        return client.post(
            f"/{verb}", files={"checkpoint": (name, content)}, data={**data, **more}, timeout=60
        )


@pytest.mark.parametrize("kind", building.PACKED)
def test_an_archive_is_converted(kind: str, service: Running, folder: Path, tmp_path: Path) -> None:
    """The answer is byte for byte the library's, with its report."""
    archive = building.PACKED[kind](folder)
    answer = post(service, archive)
    assert answer.status_code == 200, answer.text
    name = f"model.channels_last_3d.{'zip' if kind == 'zip' else 'tar'}"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as whole:
        assert whole.testzip() is None
        artifact, report = whole.read(name), json.loads(whole.read("report.json"))
        assert b"checkpoint_final.pth" in whole.read("report.html")
    expected = convlast.convert(archive, tmp_path / name, Options(smoke="none"), device="cpu")
    assert artifact == (tmp_path / name).read_bytes()
    assert [each["path"] for each in report["files"]] == [each.path for each in expected.files]
    assert report["artifact"]["sha256"] == (expected.artifact and expected.artifact.sha256)
    assert convlast.verify(archive, tmp_path / name).verdict == "passed"


def test_an_archive_is_inspected(service: Running, folder: Path) -> None:
    """The report has a section for each file, and nothing is stored."""
    report = post(service, building.packed_tar_gz(folder), "inspect").json()
    assert {layer["status"] for layer in report["layers"]} == {"convertible"}
    assert len(report["files"]) == 9


REFUSED: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "a name that leads elsewhere": (
        lambda: attack.zipped(("../a", b"x")), "malformed-checkpoint", "'../a'",
    ),
    "a link": (
        lambda: attack.tarred(attack.entry("a", tarfile.SYMTYPE, linkname="/etc/passwd")),
        "malformed-checkpoint", "'a' is a link",
    ),
    "no checkpoint": (
        lambda: attack.zipped(("a", b"1"), sound_too=False), "not-a-checkpoint", "1 files",
    ),
    "a zip bomb": (lambda: attack.zip_bomb(200 << 20), "storage-full", "CONVLAST_WORK_BYTES"),
    "a tar bomb": (lambda: attack.tar_gz_bomb(200 << 20), "storage-full", "CONVLAST_WORK_BYTES"),
    "an index of itself": (
        lambda: b'{"weight_map": {"a": "upload"}}', "malformed-checkpoint", "is no shard",
    ),
    "an index alone": (
        lambda: b'{"weight_map": {"a": "b.bin"}}', "malformed-checkpoint", "archive",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, service: Running) -> None:
    """The archive is refused with its code, and no file and no quota stays taken."""
    build, code, words = REFUSED[case]
    for verb in ("convert", "inspect"):
        answer = post(service, build(), verb)
        assert answer.json()["code"] == code, answer.text
        assert words in answer.json()["detail"]
    assert service.settled_files() == set()


def test_a_file_in_the_archive_is_named(service: Running, folder: Path) -> None:
    """The detail and a member of the problem name the file."""
    path = building.packed_zip(folder)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("vae/bad.pt", b"PK\3\4 and no more")
    problem = post(service, path, on_unreadable="reject").json()
    assert problem["code"] == "malformed-checkpoint"
    assert problem["file"] == "vae/bad.pt"
    assert problem["detail"].startswith("'vae/bad.pt': ")


def test_a_file_that_cannot_be_opened_is_passed_on(service: Running, folder: Path) -> None:
    """The report of a conversion and of an inspection warns of it, unless that is to be refused."""
    path = building.packed_zip(folder)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("vae/bad.pt", b"PK\3\4 and no more")
    with zipfile.ZipFile(io.BytesIO(post(service, path).content)) as whole:
        converted = json.loads(whole.read("report.json"))
        with zipfile.ZipFile(io.BytesIO(whole.read("model.channels_last_3d.zip"))) as made:
            assert made.read("vae/bad.pt") == b"PK\3\4 and no more"
    for report in (converted, post(service, path, "inspect").json()):
        named = [f["file"] for f in report["findings"] if f["code"] == "checkpoint-not-opened"]
        assert named == ["vae/bad.pt"]
    refused = post(service, path, "inspect", on_unreadable="reject")
    assert refused.json()["code"] == "malformed-checkpoint"


def test_the_quota_is_taken_once_for_what_is_in_an_archive(tmp_path: Path) -> None:
    """Repeated reports of a total count once, and all bytes are given back."""
    quota = Quota(100)
    folder = JobFolder(tmp_path, quota)
    folder.take(10)
    for told in (5, 20, 20, 15):
        folder.take_unpacked(told)
    assert quota.taken_bytes == 60
    folder.give_back()
    assert quota.taken_bytes == 0
