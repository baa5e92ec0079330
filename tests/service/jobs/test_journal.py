"""The laws of the journal: after a crash at any moment a job is to be run, or ended with its files.

Each test stops a step before each of its changes to the disk, and reads the folder anew.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from itertools import count, groupby
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.jobs.journal import Journal, Recorded
from service.jobs.records import ARTIFACT, Accepted, KeptFile, Outcome
from service.storage.folder import Folder
from service.workers import REPORT_JSON
from tests.service.jobs.crashes import crashing

JOB_ID = "ab" * 32
FILES = {ARTIFACT: b"converted", REPORT_JSON: b"{}"}


def accepted(**more: object) -> Accepted:
    """Make an accepted job."""
    fixed = {
        "id": JOB_ID,
        "owner": "alice",
        "share": "alice",
        "verb": "convert",
        "filename": "m.pt",
        "sha256": "00" * 32,
        "bytes": 3,
        "options": {},
        "created_at": 1.0,
        "version": "0",
    }
    return Accepted.model_validate({**fixed, **more})


def succeeded(attempt: int = 1) -> Outcome:
    """Make the outcome of a job that has succeeded."""
    files = {name: KeptFile(filename=name, bytes=len(text)) for name, text in FILES.items()}
    return Outcome(state="succeeded", finished_at=2.0, attempt=attempt, files=files)


def failed(attempt: int = 1) -> Outcome:
    """Make the outcome of a job that has failed."""
    return Outcome(state="failed", finished_at=2.0, attempt=attempt, problem={"code": "internal"})


class Life:
    """The steps in the life of a job, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, folder / "store"
        self.journal = Journal(Folder(self.store))
        self._made = count(1)

    def accept(self) -> None:
        """Accept the job."""
        self.journal.accept(accepted())

    def claim(self, attempt: int = 1) -> None:
        """Begin an attempt."""
        self.journal.claim(JOB_ID, attempt)

    def succeed(self, attempt: int = 1) -> None:
        """End the job with files."""
        self.journal.keep(accepted(), succeeded(attempt), self.make(), flushed=True)

    def fail(self, attempt: int = 1) -> None:
        """End the job without files."""
        self.journal.keep(accepted(), failed(attempt), None, flushed=True)

    def remove(self) -> None:
        """Remove the job."""
        self.journal.remove(JOB_ID)

    def make(self) -> Path:
        """Write the files of a worker, outside of the journal."""
        made = self.folder / f"made-{next(self._made)}"
        made.mkdir()
        for name, text in FILES.items():
            (made / name).write_bytes(text)
        return made

    def read(self) -> Recorded | None:
        """Read the folder anew, as a start does, and return the job if it is there."""
        jobs = list(Journal(Folder(self.store)).read_all())
        assert len(jobs) <= 1
        for job in jobs:
            check_files(self.store, job)
        names = {path.name for path in self.store.iterdir()}
        assert names == {job.accepted.id for job in jobs}, "nothing is there that no job owns"
        return jobs[0] if jobs else None


def check_files(store: Path, job: Recorded) -> None:
    """Check that a job has all files of its outcome, with their bytes, and no others."""
    names = {path.name for path in (store / JOB_ID).iterdir() if path.is_dir()}
    if job.outcome is None or not job.outcome.files:
        assert not names
        return
    assert names == {str(job.outcome.attempt)}
    folder = store / JOB_ID / str(job.outcome.attempt)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES


def state_of(job: Recorded | None) -> str:
    """Name the state of a job that was read."""
    if job is None:
        return "absent"
    return job.outcome.state if job.outcome else "to be run"


def whole_life(life: Life) -> None:
    """Let a job be accepted, begun twice, ended and removed."""
    life.accept()
    life.claim(1)
    life.claim(2)
    life.succeed(2)
    life.remove()


def states_after_crashes(folder: Path, steps: Callable[[Life], None]) -> list[str]:
    """Return the state that is read after a crash before each change that these steps make."""
    states = []
    for before in count():
        life = Life(folder / str(before))
        with crashing(before) as disk:
            steps(life)
        states.append(state_of(life.read()))
        assert state_of(life.read()) == states[-1], "a second start reads the same"
        if disk.changes < before:
            return states
    raise AssertionError


def test_a_job_goes_through_its_states_once_whenever_a_crash_comes(tmp_path: Path) -> None:
    """It is absent, then to be run, then ended with all its files, then absent; never back."""
    states = states_after_crashes(tmp_path, whole_life)
    assert len(states) > 20
    assert [state for state, _ in groupby(states)] == ["absent", "to be run", "succeeded", "absent"]


def test_a_failed_job_stays_failed_whenever_a_crash_comes(tmp_path: Path) -> None:
    """A job that ends without files has the same states."""

    def steps(life: Life) -> None:
        life.accept()
        life.claim()
        life.fail()

    states = states_after_crashes(tmp_path, steps)
    assert [state for state, _ in groupby(states)] == ["absent", "to be run", "failed"]


@pytest.mark.parametrize("end", [Life.succeed, Life.fail])
def test_what_a_step_has_promised_holds_when_it_returns(
    tmp_path: Path, end: Callable[[Life], None]
) -> None:
    """A crash between two steps leaves what the first one has promised."""
    life = Life(tmp_path)
    assert life.read() is None
    life.accept()
    assert state_of(life.read()) == "to be run"
    life.claim()
    job = life.read()
    assert job
    assert (job.attempts, job.outcome) == (1, None)
    end(life)
    job = life.read()
    assert job
    assert job.outcome
    assert (job.accepted, job.outcome.state) == (accepted(), end.__name__ + "ed")


def test_a_crash_during_a_start_changes_nothing(tmp_path: Path) -> None:
    """A start that is stopped while it removes leftovers finds the same jobs the next time."""
    for before in count():
        life = Life(tmp_path / str(before))
        life.accept()
        (life.store / JOB_ID / "1").mkdir()
        (life.store / JOB_ID / "1" / ARTIFACT).write_bytes(b"half")
        (life.store / ".removed").mkdir()
        (life.store / ".removed" / "request.json").write_text(accepted().model_dump_json())
        with crashing(before) as disk:
            life.read()
        assert state_of(life.read()) == "to be run"
        if disk.changes < before:
            break
    assert before > 3


def test_all_that_an_outcome_needs_is_on_disk_before_it(tmp_path: Path) -> None:
    """No power failure can keep the outcome and lose a name or a file that it needs."""
    life, flushed = Life(tmp_path), set[Path]()
    seen = []

    def lost() -> set[Path]:
        names = {each for each in disk.unflushed if life.store in each.parents}
        return {each for each in names if not each.name.startswith(".")}

    def on_change(name: str, path: Path) -> None:
        if name == "fsync":
            flushed.add(path)
        if name == "link" and path.name == "outcome.json":
            seen.append(path)
            assert not lost(), "a power failure could lose these names"

    with crashing(None) as disk:
        disk.on_change = on_change
        life.accept()
        assert not lost()
        life.claim()
        assert not lost()
        life.succeed()
        assert not lost()
    assert seen
    folder = life.store / JOB_ID / "1"
    assert {folder / name for name in FILES} <= flushed, "the bytes of each file are on disk"


def test_no_power_failure_brings_a_part_of_a_removed_job_back(tmp_path: Path) -> None:
    """The new name of a removed job is on disk before the first of its files goes."""
    life = Life(tmp_path)
    life.accept()
    life.succeed()
    changes: list[str] = []
    with crashing(None) as disk:
        disk.on_change = lambda name, path: changes.append(name)
        life.remove()
    assert changes[:2] == ["rename", "fsync"]
    assert "unlink" in changes[2:]


STEPS: dict[str, Callable[[Life, int], None]] = {
    "accept": lambda life, _: life.accept(),
    "claim": Life.claim,
    "succeed": Life.succeed,
    "fail": Life.fail,
    "remove": lambda life, _: life.remove(),
}
FOLLOWING = {
    "absent": ["accept", "succeed", "remove"],
    "to be run": ["claim", "succeed", "fail", "remove"],
    "succeeded": ["succeed", "fail", "accept", "remove"],
    "failed": ["succeed", "fail", "accept", "remove"],
}
"""The steps that may come in each state; some of them come too late."""

AFTER = {"accept": "to be run", "succeed": "succeeded", "fail": "failed", "remove": "absent"}


@settings(max_examples=60)
@given(st.data())
def test_any_steps_with_any_crashes_keep_the_laws(data: st.DataObject) -> None:
    """A step that a crash stops has happened or not; an end is never changed."""
    with tempfile.TemporaryDirectory() as folder:
        life, state, attempts = Life(Path(folder)), "absent", 0
        for _ in range(data.draw(st.integers(1, 8))):
            name = data.draw(st.sampled_from(FOLLOWING[state]))
            attempts = attempts + 1 if name == "claim" else attempts
            before = data.draw(st.none() | st.integers(0, 25))
            with crashing(before):
                STEPS[name](life, max(attempts, 1))
            job = life.read()
            is_too_late = state in ("succeeded", "failed") and name != "remove"
            after = state if is_too_late or name == "claim" else AFTER[name]
            # The end of a job that is not yet written down writes it down first.
            between = {"to be run"} if (state, name) == ("absent", "succeed") else set()
            assert state_of(job) in ({state, after} | between if before is not None else {after})
            state = state_of(job)
            attempts = 0 if job is None else max(job.attempts, attempts)


def test_an_outcome_is_written_once(tmp_path: Path) -> None:
    """The first outcome stays, whatever comes later."""
    life = Life(tmp_path)
    life.accept()
    life.fail()
    life.succeed()
    assert state_of(life.read()) == "failed"


def test_an_end_that_could_not_be_written_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk at any change leaves the job to be run, and the next try ends it."""
    for before in count():
        life = Life(tmp_path / str(before))
        life.accept()
        made = life.make()
        with crashing(before) as disk:
            life.journal.keep(accepted(), succeeded(), made, flushed=True)
        life.journal.keep(accepted(), succeeded(), made, flushed=True)
        assert state_of(life.read()) == "succeeded"
        if disk.changes < before:
            return


@pytest.mark.parametrize("flushed", [True, False])
def test_no_outcome_names_a_file_that_is_missing(tmp_path: Path, *, flushed: bool) -> None:
    """If a file is neither with the worker's files nor here already, nothing is ended."""
    life = Life(tmp_path)
    life.accept()
    made = life.make()
    (made / ARTIFACT).unlink()
    with pytest.raises(FileNotFoundError):
        life.journal.keep(accepted(), succeeded(), made, flushed=flushed)
    assert state_of(life.read()) == "to be run"


def test_what_is_not_a_job_is_removed_by_a_start(tmp_path: Path) -> None:
    """Folders without a request, of another name or format, and stray files are removed."""
    life = Life(tmp_path)
    life.accept()
    for name in ("half", ".unfinished"):
        (life.store / name).mkdir()
        (life.store / name / ARTIFACT).write_bytes(b"half")
    (life.store / "stray").write_bytes(b"")
    (life.store / "linked").symlink_to(tmp_path)
    shutil.copytree(life.store / JOB_ID, life.store / "copied")
    (life.store / "other").mkdir()
    (life.store / "other" / "request.json").write_text('{"id": "other"}')
    assert state_of(life.read()) == "to be run"


@pytest.mark.parametrize("harm", ["missing", "shorter"])
def test_an_ended_job_without_all_its_bytes_is_not_kept(tmp_path: Path, harm: str) -> None:
    """A job that somebody has taken a file from is removed, and not run again."""
    life = Life(tmp_path)
    life.accept()
    life.succeed()
    artifact = life.store / JOB_ID / "1" / ARTIFACT
    artifact.unlink()
    if harm == "shorter":
        artifact.write_bytes(b"short")
    assert life.read() is None


def test_the_files_of_other_attempts_are_removed(tmp_path: Path) -> None:
    """Only the files of the attempt that has decided are kept."""
    life = Life(tmp_path)
    life.accept()
    life.succeed(2)
    (life.store / JOB_ID / "1").mkdir()
    (life.store / JOB_ID / "1" / ARTIFACT).write_bytes(b"half")
    job = life.read()
    assert job
    assert job.outcome == succeeded(2)


def test_removing_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    """A job that is gone already can be removed."""
    with suppress(FileNotFoundError):
        shutil.rmtree(tmp_path / "store")
    life = Life(tmp_path)
    life.remove()
    assert life.read() is None
