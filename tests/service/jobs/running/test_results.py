"""The files of a worker, which may be hostile, are checked before they are kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from service.errors import WorkerCrashedError
from service.jobs.records import ARTIFACT
from service.jobs.running.results import check, check_report
from service.workers import REPORT_HTML, REPORT_JSON, Finished, Job, Made
from tests.service.jobs.boards import write_files

NAME = "m.channels_last_3d.pt"


@pytest.fixture
def finished(tmp_path: Path) -> Finished:
    """Write the files of a job."""
    return write_files(Job(id="one", verb="convert", filename="m.pt"), tmp_path, b"content")


def test_files_get_the_names_under_which_they_are_kept(tmp_path: Path, finished: Finished) -> None:
    """The client's name of the artifact is kept beside it, with its size and digest."""
    files = check(finished, tmp_path, has_artifact=True)
    assert set(files) == {ARTIFACT, REPORT_JSON, REPORT_HTML}
    assert (files[ARTIFACT].filename, files[ARTIFACT].sha256) == (NAME, finished.artifact_sha256)
    for name, file in files.items():
        assert (tmp_path / name).stat().st_size == file.bytes


def test_an_inspection_has_no_artifact(tmp_path: Path) -> None:
    """Its report and its page are all."""
    done = write_files(Job(id="one", verb="inspect", filename="m.pt"), tmp_path, b"content")
    assert set(check(done, tmp_path, has_artifact=False)) == {REPORT_JSON, REPORT_HTML}


@pytest.mark.parametrize(
    "name", ["../m.pt", "a/b", "/etc/passwd", "", ".", "..", REPORT_JSON, REPORT_HTML, "a\nb"]
)
def test_an_artifact_with_an_unsafe_name_is_nonsense(
    tmp_path: Path, finished: Finished, name: str
) -> None:
    """A worker cannot choose a path, nor a report as the artifact."""
    lying = finished.model_copy(update={"artifact": Made(filename=name)})
    with pytest.raises(WorkerCrashedError):
        check(lying, tmp_path, has_artifact=True)


@pytest.mark.parametrize("change", [{"artifact": None}, {"artifact_sha256": None}])
def test_an_artifact_without_name_or_digest_is_nonsense(
    tmp_path: Path, finished: Finished, change: dict[str, Any]
) -> None:
    """A conversion that has succeeded has both."""
    with pytest.raises(WorkerCrashedError):
        check(finished.model_copy(update=change), tmp_path, has_artifact=True)


@pytest.mark.parametrize("name", [NAME, REPORT_JSON, REPORT_HTML])
@pytest.mark.parametrize("harm", ["missing", "link", "hard link", "folder", "pipe"])
def test_what_is_not_a_plain_file_is_nonsense(
    tmp_path: Path, finished: Finished, name: str, harm: str
) -> None:
    """Neither links nor folders nor pipes are taken for a file of the job."""
    path, other = tmp_path / name, tmp_path / "other"
    path.rename(other)
    if harm == "link":
        path.symlink_to(other)
    elif harm == "hard link":
        path.hardlink_to(other)
    elif harm == "folder":
        path.mkdir()
    elif harm == "pipe":
        os.mkfifo(path)
    with pytest.raises(WorkerCrashedError):
        check(finished, tmp_path, has_artifact=True)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"a": NaN}', '{"a": 1}, {}', "not json"])
def test_a_report_that_is_no_object_is_nonsense(
    tmp_path: Path, finished: Finished, text: str
) -> None:
    """Of a refusal it is left away."""
    (tmp_path / REPORT_JSON).write_text(text)
    assert check_report(tmp_path) == {}
    with pytest.raises(WorkerCrashedError):
        check(finished, tmp_path, has_artifact=True)


def test_the_report_of_a_refusal_is_kept_if_there_is_one(
    tmp_path: Path, finished: Finished
) -> None:
    """A job that was refused without one has no files."""
    assert set(check_report(tmp_path)) == {REPORT_JSON}
    (tmp_path / REPORT_JSON).unlink()
    assert check_report(tmp_path) == {}
