from __future__ import annotations

from convlast.client.stages import JobStages
from convlast.jobs import JobStatus
from tests.convlast.client.fake_service import status


def told(*statuses: JobStatus) -> list[tuple[str, int, int]]:
    """Return the progress that is told of these statuses."""
    found: list[tuple[str, int, int]] = []
    stages = JobStages(lambda *each: found.append(each))
    for each in statuses:
        stages.tell(each)
    return found


def test_places_in_the_queue_are_left_behind() -> None:
    """The total is the place that the job had first, or a worse one that it got."""
    assert told(
        status("queued", place=3),
        status("queued", place=1),
        status("queued", place=4),
        status("running", stage="read", total=1),
    ) == [
        ("queue", 0, 3),
        ("queue", 2, 3),
        ("queue", 0, 4),
        ("queue", 4, 4),
        ("read", 0, 1),
    ]


def test_each_stage_begins_and_ends() -> None:
    """Also one that was not seen to end, and one that was told of at its end alone."""
    assert told(
        status("running", stage="write", done=5, total=9),
        status("running", stage="prove", done=4, total=4),
        status("running", stage="smoke", done=0, total=0),
        status("running", stage="survival", done=1, total=2),
        status("succeeded", stage="end"),
    ) == [
        ("write", 5, 9),
        ("write", 9, 9),
        ("prove", 0, 4),
        ("prove", 4, 4),
        ("smoke", 0, 1),
        ("smoke", 1, 1),
        ("survival", 1, 2),
        ("survival", 2, 2),
    ]


def test_a_stage_without_a_total_gets_one() -> None:
    """As soon as the service knows it."""
    assert told(
        status("running", stage="write", done=0, total=0),
        status("running", stage="write", done=0, total=0),
        status("running", stage="write", done=3, total=9),
    ) == [("write", 0, 1), ("write", 3, 9)]


def test_a_job_that_is_begun_again_is_told_again() -> None:
    """As after a crash of its worker."""
    assert told(
        status("running", stage="write", done=3, total=9),
        status("queued", place=1),
        status("running", stage="write", done=1, total=9),
    ) == [("write", 3, 9), ("write", 9, 9), ("queue", 0, 1), ("queue", 1, 1), ("write", 1, 9)]


def test_a_stage_in_which_a_job_fails_does_not_end() -> None:
    """It was not done."""
    running = status("running", stage="write", done=3, total=9)
    for state in ("failed", "cancelled"):
        assert told(running, status(state, stage="end")) == [("write", 3, 9)]
