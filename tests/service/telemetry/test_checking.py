"""`python -m service --check`: what it tells, and its exit status."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service.errors import NotReadyError
from service.sandbox.wall import Wall
from service.settings import Settings, SettingsError
from service.storage import workspace
from service.storage.workspace import Workspace, check_folder
from service.telemetry import checking
from service.telemetry.checking import Checked
from service.workers import Health
from tests.service.running import ROOT, Serve

COMMAND = [sys.executable, "-m", "service", "--check"]


def check(work_dir: Path, **settings: object) -> tuple[int, dict[str, dict[str, Any]]]:
    """Check these settings, and return the exit status and the log's line about each part."""
    values = {"work_dir": work_dir, **settings}
    variables = {f"CONVLAST_{name.upper()}": str(value) for name, value in values.items()}
    ended = subprocess.run(
        COMMAND, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    lines = map(json.loads, ended.stderr.splitlines())
    return ended.returncode, {line["part"]: line for line in lines if line["event"] == "checked"}


def test_good_settings_are_told_as_good(tmp_path: Path) -> None:
    """Each part has a line, and the exit status is 0; no file is left but the lock."""
    status, told = check(tmp_path / "work", device="cpu")
    assert status == 0
    assert list(told) == ["settings", "keys", "work folder", "device", "sandbox"]
    assert all(line["ok"] for line in told.values())
    assert told["device"]["result"].startswith("cpu, torch ")
    files = [path for path in (tmp_path / "work").rglob("*") if path.is_file()]
    assert [path.name for path in files] == ["lock"]


def test_all_parts_that_fail_are_told(tmp_path: Path) -> None:
    """One run names bad keys and a device that does not exist, and the exit status is 2."""
    status, told = check(tmp_path / "work", api_keys_file=tmp_path / "keys", device="cuda:63")
    assert status == 2
    assert [part for part, line in told.items() if line["level"] == "critical"] == [
        "keys", "device",
    ]  # fmt: skip
    assert "CONVLAST_API_KEYS_FILE cannot be read" in told["keys"]["result"]
    assert "cuda:63 cannot be used" in told["device"]["result"]


def test_a_person_is_told_in_words(tmp_path: Path) -> None:
    """A terminal gets one line a part, and no JSON."""
    ours, theirs = pty.openpty()
    ended = subprocess.Popen(
        COMMAND, cwd=ROOT, stderr=theirs,
        env={**os.environ, "CONVLAST_WORK_DIR": str(tmp_path), "CONVLAST_DEVICE": "cpu"},
    )  # fmt: skip
    os.close(theirs)
    told = ""
    try:
        while part := os.read(ours, 4096).decode():
            told += part
    except OSError:  # Linux's way of saying that the terminal has no program any more
        pass
    os.close(ours)
    assert ended.wait(60) == 0
    assert [line.split()[:2] for line in told.splitlines()] == [
        ["ok", "settings"], ["ok", "keys"], ["ok", "work"], ["ok", "device"], ["ok", "sandbox"],
    ]  # fmt: skip


def test_a_running_service_is_not_disturbed(serve: Serve) -> None:
    """Its work folder can be checked while it works, and its jobs stay."""
    service = serve()
    kept = service.convert(b"fine", headers={"Accept": "application/json"}).json()["links"]
    status, told = check(service.work_dir, device="cpu")
    assert status == 0
    assert "A service that runs uses it." in told["work folder"]["result"]
    with service.client() as client:
        assert client.get(kept["artifact"]).content == b"fine"
    assert service.convert(b"fine too").status_code == 200


def test_the_folder_is_free_after_the_check(tmp_path: Path) -> None:
    """A service can start with it, and nothing in it was removed."""
    settings = Settings(work_dir=tmp_path)
    (tmp_path / "lock").touch()
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "one").touch()
    check_folder(settings)
    assert (tmp_path / "jobs" / "one").exists()
    Workspace(settings).close()


def test_a_folder_of_others_is_no_work_folder(tmp_path: Path) -> None:
    """The check says what the start would say."""
    (tmp_path / "jobs").mkdir()
    with pytest.raises(SettingsError, match="name an empty folder"):
        check_folder(Settings(work_dir=tmp_path))


def test_a_full_disk_fails_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service would start on it, and not be ready."""
    monkeypatch.setattr(workspace, "MIN_FREE_BYTES", 1 << 62)
    with pytest.raises(SettingsError, match="left"):
        check_folder(Settings(work_dir=tmp_path))


class FakeWorkers:
    """Workers on a machine whose kernel lacks a wall."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def check(self) -> None:
        """Fail, if an error was given."""
        if self.error is not None:
            raise self.error

    def health(self) -> Health:
        """Return what a worker has told."""
        walls = [Wall.missing("files", "Landlock is off"), Wall(name="dumps", held=True, detail="")]
        return Health(
            ready=True, busy=False, facts={"device": "cpu", "torch": "2.13.0"}, walls=walls
        )


@pytest.mark.parametrize("is_required", [False, True])
def test_a_missing_wall_is_a_warning_or_a_failure(is_required: bool) -> None:
    """It is a failure where the sandbox is required, and is not blamed on the device."""
    error = NotReadyError("The sandbox lacks files.") if is_required else None
    told = asyncio.run(
        checking.check_device_and_sandbox(FakeWorkers(error), is_required=is_required)
    )
    assert told == [
        Checked("device", "cpu, torch 2.13.0."),
        Checked(
            "sandbox", "1 of 2 walls are missing.", not is_required, ("files: Landlock is off.",)
        ),
    ]


def test_a_shared_store_is_tried(tmp_path: Path) -> None:
    """One that can be written is told as good, and nothing is left in it."""
    status, told = check(tmp_path / "work", device="cpu", store=f"file://{tmp_path}/shared")
    assert (status, told["store"]["ok"]) == (0, True)
    assert not [path for path in (tmp_path / "shared").rglob("*") if path.is_file()]


def test_a_shared_store_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The check fails, and so does a start, with one line."""
    (tmp_path / "file").touch()
    store = f"file://{tmp_path}/file/shared"
    status, told = check(tmp_path / "work", device="cpu", store=store)
    assert (status, told["store"]["ok"]) == (2, False)
    ended = subprocess.run(
        COMMAND[:-1],
        cwd=ROOT,
        env={**os.environ, "CONVLAST_WORK_DIR": str(tmp_path / "work"), "CONVLAST_STORE": store},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert "/file/shared" in line
