"""Model folders through the service, in its sandbox and within its quota."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

import convlast
from convlast import addressed
from convlast.cli import app
from convlast.options import Options
from convlast.report import Report
from service.storage.quota import Quota
from service.storage.workspace import JobFolder
from tests.convlast.folders import building
from tests.hostile import packs_a_folder as attack
from tests.service.running import REAL, Running, start

WORK_BYTES = 64 << 20


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run the service with convlast itself in its workers, and a small quota."""
    everywhere = tmp_path_factory.getbasetemp().as_uri()
    running = start(
        tmp_path_factory.mktemp("service"),
        REAL,
        device="cpu",
        work_bytes=WORK_BYTES,
        sources=f"{everywhere}/",
        targets=f"{everywhere}/",
    )
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


def asks(service: Running, members: Mapping[str, object], verb: str = "convert") -> httpx.Response:
    """Name a model folder in a store."""
    with service.client() as client:
        return client.post(f"/{verb}", json=members, timeout=60)


def test_a_folder_in_a_store_becomes_a_folder(
    service: Running, folder: Path, tmp_path: Path
) -> None:
    """It and what lies beside it are what the command line makes of it there."""
    source = f"{folder.as_uri()}/"
    targets = {by: f"{(tmp_path / by).as_uri()}/model-converted/" for by in ("service", "library")}
    members = {"source": source, "target": targets["service"], "options": {"smoke": "none"}}
    answer = asks(service, members)
    assert answer.status_code == 200, answer.text
    expected = addressed.convert(source, targets["library"], Options(smoke="none"), device="cpu")
    made = {by: building.files_in(tmp_path / by) for by in targets}
    reports = {name for name in made["library"] if ".report." in name}
    assert made["service"].keys() == made["library"].keys()
    assert [n for n in made["service"] if made["service"][n] != made["library"][n]] == [*reports]
    told = Report.model_validate_json(made["service"]["model-converted.report.json"])
    assert (told.input, told.artifact) == (expected.input, expected.artifact)
    assert told.advice == expected.advice
    assert [each.path for each in told.files] == [each.path for each in expected.files]
    assert convlast.verify(folder, tmp_path / "service" / "model-converted").verdict == "passed"


def test_a_folder_in_a_store_is_answered_as_a_tar(
    service: Running, folder: Path, tmp_path: Path
) -> None:
    """If it has no target; an inspection needs none."""
    members: dict[str, object] = {"source": f"{folder.as_uri()}/", "options": {"smoke": "none"}}
    with zipfile.ZipFile(io.BytesIO(asks(service, members).content)) as whole:
        report = json.loads(whole.read("report.json"))
        (tmp_path / "made.tar").write_bytes(whole.read("model.channels_last_3d.tar"))
    assert (report["input"]["container"], report["artifact"]["container"]) == (
        "folder",
        "tar-folder",
    )
    assert convlast.verify(folder, tmp_path / "made.tar").verdict == "passed"
    inspected = asks(service, {"source": members["source"]}, "inspect").json()
    assert inspected["input"] == convlast.inspect(folder).input.model_dump()


def run(*words: object) -> Result:
    """Run the command line to its end."""
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.mark.parametrize("name", ["model/", "model/checkpoint_final.pth"])
def test_the_command_line_makes_the_same_with_a_service(
    service: Running, folder: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same files are in the store afterwards, and the same place is told."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    source = f"{folder.parent.as_uri()}/{name}"
    by = {"here": ["--device=cpu"], "service": ["--server", service.url]}
    for where, more in by.items():
        target = f"{(tmp_path / where).as_uri()}/made/"
        result = run("convert", source, "-o", target, "--smoke=none", *more)
        assert result.exit_code == 0, result.stderr
        assert target in result.stdout.replace("\n", "")
    made = {
        where: {
            name: content
            for name, content in building.files_in(tmp_path / where).items()
            if ".report." not in name and not name.endswith(".sha256")
        }
        for where in by
    }
    assert made["here"]
    assert made["here"] == made["service"]


def test_the_command_line_fetches_what_a_service_made_of_an_address(
    service: Running, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder as a tar; an address that is not allowed is told with its remedy."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    words = ["--smoke=none", "--server", service.url]
    result = run("convert", f"{folder.as_uri()}/", "-o", tmp_path, *words)
    assert result.exit_code == 0, result.stderr
    assert "download: " in result.stderr
    made = tmp_path / "model.channels_last_3d.tar"
    assert convlast.verify(folder, made).verdict == "passed"
    refused = run("convert", "file:///etc/passwd", "-o", tmp_path / "out.pt", *words)
    assert refused.exit_code == 1
    assert refused.stderr.startswith("convlast: address-not-allowed: file:///etc/passwd")
    assert "CONVLAST_SOURCES" in refused.stderr


def test_a_folder_with_two_names_for_one_file_is_refused(service: Running, tmp_path: Path) -> None:
    """As an archive of it is: some file systems would take one for the other."""
    building.sharded(tmp_path / "model")
    for name in ("Config.json", "config.json"):
        (tmp_path / "model" / name).write_text("{}")
    answer = asks(service, {"source": f"{(tmp_path / 'model').as_uri()}/"})
    assert (answer.status_code, answer.json()["code"]) == (422, "malformed-checkpoint")


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
