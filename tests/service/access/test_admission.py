from __future__ import annotations

import asyncio
import contextlib

import pytest

from service.access.admission import Admission
from service.errors import NotReadyError, QueueFullError, TooManyRequestsError


def test_places_are_bounded_and_given_back() -> None:
    """If all places are taken, the next request is refused until a place is free."""
    admission = Admission(2, setting="CONVLAST_QUEUE_SIZE")
    with admission.take("alice"), admission.take("bob"):
        with pytest.raises(QueueFullError) as caught, admission.take("carol"):
            pass
        assert caught.value.details["retry_after_s"] == 1
    assert admission.taken_count == 0
    with admission.take("carol"):
        assert admission.taken_count == 1


def test_one_client_may_be_bounded() -> None:
    """A client at its own limit is refused, and other clients are not."""
    admission = Admission(5, setting="CONVLAST_QUEUE_SIZE", per_client=1)
    with admission.take("alice"):
        with pytest.raises(TooManyRequestsError), admission.take("alice"):
            pass
        with admission.take("bob"):
            assert admission.taken_count == 2


def test_draining_waits_for_those_who_are_in() -> None:
    """Draining admits no new work, and waits until all places are free."""

    async def drain() -> None:
        admission = Admission(2, setting="CONVLAST_QUEUE_SIZE")
        with admission.take("alice"):
            admission.drain()
            with pytest.raises(NotReadyError), admission.take("bob"):
                pass
            emptied = asyncio.ensure_future(admission.emptied())
            await asyncio.sleep(0)
            assert not emptied.done()
        await asyncio.wait_for(emptied, 5)

    asyncio.run(drain())


def test_patience_grows_with_the_jobs() -> None:
    """Retry-After grows with the duration of the jobs."""
    admission = Admission(1, setting="CONVLAST_QUEUE_SIZE")
    for _ in range(50):
        admission.ran(100.0)
    with (
        admission.take("alice"),
        pytest.raises(QueueFullError) as caught,
        admission.take("bob"),
    ):
        pass
    retry_after_s = caught.value.details["retry_after_s"]
    assert isinstance(retry_after_s, int)
    assert 40 < retry_after_s <= 60


def test_what_is_done_already_takes_a_place_too_many() -> None:
    """`hold` never refuses, and its places count for the next `check`."""
    admission = Admission(1, setting="CONVLAST_MAX_DOWNLOADS")
    with admission.hold("alice"), admission.hold("alice"):
        assert admission.taken_count == 2
        with pytest.raises(QueueFullError, match="CONVLAST_MAX_DOWNLOADS"):
            admission.check("bob")
    admission.check("bob")


def test_patience_is_shared_by_the_lanes() -> None:
    """With four lanes the queue is done in a quarter of the time; places are beside the lanes."""
    admission = Admission(4, setting="CONVLAST_QUEUE_SIZE", per_client=2, lanes=lambda: 4)
    admission.ran(20.0)
    assert admission.count == 8
    with contextlib.ExitStack() as held:
        for client in ("alice", "alice", "bob"):
            held.enter_context(admission.take(client))
        with pytest.raises(TooManyRequestsError) as caught:
            admission.check("alice")
        assert caught.value.details["retry_after_s"] == 10, "two clients, 20 s, four lanes"
        for _ in range(5):
            held.enter_context(admission.hold("carol"))
        with pytest.raises(QueueFullError) as full:
            admission.check("dora")
        assert full.value.details["retry_after_s"] == 20, "half of eight jobs"
        admission.drain()
        with pytest.raises(NotReadyError) as draining:
            admission.check("dora")
        assert draining.value.details["retry_after_s"] == 40, "all eight"


def test_patience_is_short_until_a_job_has_run() -> None:
    """The first job sets the mean; before that it is a second, and never more than 300 s."""
    admission = Admission(4, setting="CONVLAST_QUEUE_SIZE")
    assert admission.seconds_of(1) == 1
    admission.ran(7.0)
    assert admission.seconds_of(1) == 7
    assert admission.seconds_of(10_000) == 300
