"""The benchmark of cancelling, with fewer jobs of a fake task."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from benchmarks.jobs import cancel
from benchmarks.jobs.cancel import (
    Trial,
    different,
    group_lives,
    percentile_99,
    processes_with,
    sleeping,
)
from tests.service.running import start


def test_a_cancelled_job_leaves_no_process_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it waited or ran."""
    monkeypatch.setattr(cancel, "MOST_PAUSE_S", 0.5)
    service = start(tmp_path)
    try:
        service.wait_until_ready()
        found = Trial(service, sleeping, random.Random(0)).run(12)  # noqa: S311  # it must be repeatable
    finally:
        service.stop()
    assert found["wrong"] == []
    assert found["tries"] == 12
    assert found["cancelled"]["with a worker"] >= 1
    assert found["cancelled"]["queued"] >= 1


def test_a_process_is_found_by_the_file_that_it_has_open(tmp_path: Path) -> None:
    """Under any name of the file; and its group lives as long as it does."""
    path, other = tmp_path / "file", tmp_path / "other"
    path.touch()
    other.hardlink_to(path)
    with path.open() as file:
        process = subprocess.Popen(["sleep", "60"], stdin=file, start_new_session=True)
    try:
        assert processes_with(other, {os.getpid(), process.pid}) == [process.pid]
        assert group_lives(process.pid)
    finally:
        process.kill()
        process.wait()
    assert processes_with(other, {process.pid}) == []
    assert not group_lives(process.pid)


def test_files_of_jobs_differ() -> None:
    """In their last bytes alone."""
    make = different(b"a checkpoint")
    assert make(1) != make(2)
    assert make(1)[:-4] == b"a checkp"


def test_the_percentile_is_not_above_the_longest() -> None:
    """Also of few tries."""
    assert percentile_99([]) == 0
    assert percentile_99([1.0]) == 1
    assert 1.9 < percentile_99([1.0, 2.0]) <= 2
