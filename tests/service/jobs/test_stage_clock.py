"""The stages of a job, timed without its worker."""

from __future__ import annotations

from service.jobs.stage_clock import StageClock
from tests.service.clock import Clock


def test_a_job_that_waits_has_only_its_wait() -> None:
    """Its seconds are those of the queue, until now."""
    time = Clock()
    clock = StageClock(time)
    time.pass_by(3)
    assert clock.seconds() == {"queue": 3}
    time.pass_by(1)
    assert clock.seconds() == {"queue": 4}


def test_each_stage_has_the_time_until_the_next() -> None:
    """A stage that comes again is added up, and the whole contains all but the queue."""
    time = Clock()
    clock = StageClock(time)
    time.pass_by(1)
    clock.begins()
    for stage, seconds in (("read", 2), ("smoke", 10), ("smoke", 20), ("read", 5)):
        time.pass_by(1 if stage == "read" else 0)
        clock.goes_on(stage)
        time.pass_by(seconds)
    told = clock.seconds()
    assert told == {"queue": 1, "convert": 39, "read": 7, "smoke": 31}


def test_a_name_that_is_no_stage_is_not_timed() -> None:
    """A worker that was taken over cannot make metrics."""
    time = Clock()
    clock = StageClock(time)
    clock.begins()
    clock.goes_on("read")
    time.pass_by(1)
    clock.goes_on("name-1")
    time.pass_by(1)
    assert clock.seconds() == {"queue": 0, "convert": 2, "read": 2}
