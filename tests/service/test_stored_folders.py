"""Model folders in stores through the service, and the command line that asks it."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

import convlast
from convlast import addressed
from convlast.cli import app
from convlast.options import Options
from convlast.provenance.reading import parse
from convlast.report import Report
from tests.convlast.folders import building
from tests.service.running import REAL, Running, start


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run the service with convlast itself in its workers; the store is a folder."""
    everywhere = f"{tmp_path_factory.getbasetemp().as_uri()}/"
    running = start(
        tmp_path_factory.mktemp("service"),
        REAL,
        device="cpu",
        sources=everywhere,
        targets=everywhere,
    )
    running.wait_until_ready()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a model folder into the store."""
    return building.model_folder(tmp_path_factory.mktemp("folder") / "model")


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
    differ = {n for n, content in made["service"].items() if content != made["library"][n]}
    assert differ == reports
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


def test_a_folder_in_a_store_gets_its_statement(
    service: Running, folder: Path, tmp_path: Path
) -> None:
    """It lies beside the folder, and is about each file in it."""
    target = tmp_path / "made"
    members = {"source": f"{folder.as_uri()}/", "target": f"{target.as_uri()}/"}
    answer = asks(service, {**members, "statement": True, "options": {"smoke": "none"}})
    assert answer.status_code == 200, answer.text
    statement = tmp_path / "made.provenance.json"
    ended = run("verify", "--statement", statement, target)
    assert ended.exit_code == 0, ended.output
    told = json.loads(statement.read_text())
    assert {each["name"] for each in told["subject"]} == set(building.files_in(target))
    (given,) = told["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert (given["uri"], given["digest"]) == (
        members["source"],
        {"dirHash1": convlast.inspect(folder).input.sha256},
    )
    checkpoint = target / "checkpoint_final.pth"
    checkpoint.write_bytes(checkpoint.read_bytes()[::-1])
    ended = run("verify", "--statement", statement, target)
    assert ended.exit_code == 1
    assert "'checkpoint_final.pth' is changed" in ended.stderr


def run(*words: object) -> Result:
    """Run the command line to its end."""
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.mark.parametrize("name", ["model/", "model/checkpoint_final.pth"])
def test_the_command_line_makes_the_same_with_a_service(
    service: Running, folder: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same files are in the store afterwards, the same is stated, and the same place told."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    source = f"{folder.parent.as_uri()}/{name}"
    by = {"here": ["--device=cpu"], "service": ["--server", service.url]}
    for where, more in by.items():
        target = f"{(tmp_path / where).as_uri()}/made/"
        more += ["--statement", str(tmp_path / f"{where}.json")]
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
    here, there = (parse((tmp_path / f"{where}.json").read_bytes()).subjects for where in by)
    assert here == there


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
