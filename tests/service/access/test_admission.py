from __future__ import annotations

import asyncio

import pytest

from service.access.admission import Admission
from service.errors import NotReadyError, QueueFullError, TooManyRequestsError


def test_places_are_bounded_and_given_back() -> None:
    """One more than there is room for is refused, until a place is free again."""
    places = Admission(2, setting="CONVLAST_QUEUE_SIZE")
    with places.take("alice"), places.take("bob"):
        with pytest.raises(QueueFullError) as caught, places.take("carol"):
            pass
        assert caught.value.details["retry_after_s"] == 1
    assert places.taken_count == 0
    with places.take("carol"):
        assert places.taken_count == 1


def test_one_owner_may_be_bounded() -> None:
    """A key that has its share is refused, others are not."""
    places = Admission(5, setting="CONVLAST_QUEUE_SIZE", per_owner=1)
    with places.take("alice"):
        with pytest.raises(TooManyRequestsError), places.take("alice"):
            pass
        with places.take("bob"):
            assert places.taken_count == 2


def test_draining_waits_for_those_who_are_in() -> None:
    """Nobody comes in any more, and the last one out ends the wait."""

    async def drain() -> None:
        places = Admission(2, setting="CONVLAST_QUEUE_SIZE")
        with places.take("alice"):
            places.drain()
            with pytest.raises(NotReadyError), places.take("bob"):
                pass
            emptied = asyncio.ensure_future(places.emptied())
            await asyncio.sleep(0)
            assert not emptied.done()
        await asyncio.wait_for(emptied, 5)

    asyncio.run(drain())


def test_patience_grows_with_the_jobs() -> None:
    """What a refused client is told to wait follows how long jobs take."""
    places = Admission(1, setting="CONVLAST_QUEUE_SIZE")
    for _ in range(50):
        places.ran(100.0)
    with (
        places.take("alice"),
        pytest.raises(QueueFullError) as caught,
        places.take("bob"),
    ):
        pass
    retry_after_s = caught.value.details["retry_after_s"]
    assert isinstance(retry_after_s, int)
    assert 40 < retry_after_s <= 60


def test_what_is_done_already_takes_a_place_too_many() -> None:
    """An answer is never refused for want of a place, and counts against the next request."""
    places = Admission(1, setting="CONVLAST_MAX_DOWNLOADS")
    with places.hold("alice"), places.hold("alice"):
        assert places.taken_count == 2
        with pytest.raises(QueueFullError, match="CONVLAST_MAX_DOWNLOADS"):
            places.check("bob")
    places.check("bob")
