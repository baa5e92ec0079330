"""Which settings bound which places."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from service.access import places
from service.access.admission import Admission
from service.errors import QueueFullError, TooManyRequestsError
from service.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Make settings with a number of each kind of its own."""
    return Settings(
        work_dir=tmp_path,
        queue_size=5,
        jobs_per_key=2,
        pending_jobs=6,
        pending_jobs_per_key=3,
        max_followers=8,
        max_downloads=4,
    )


@pytest.mark.parametrize(
    ("of", "in_all", "of_one", "setting"),
    [
        (lambda given: places.of_requests(given, lambda: 3), 8, 2, "CONVLAST_JOBS_PER_KEY"),
        (places.of_pending_jobs, 6, 3, "CONVLAST_PENDING_JOBS_PER_KEY"),
        (places.of_followers, 8, 6, "CONVLAST_MAX_FOLLOWERS"),
        (places.of_downloads, 4, 2, "CONVLAST_JOBS_PER_KEY"),
    ],
)
def test_places_are_bounded_in_all_and_for_each_client(
    settings: Settings,
    of: Callable[[Settings], Admission],
    in_all: int,
    of_one: int,
    setting: str,
) -> None:
    """The refusal names the setting to raise."""
    with ExitStack() as held:
        admission = of(settings)
        for _ in range(of_one):
            held.enter_context(admission.take("alice"))
        with pytest.raises(TooManyRequestsError, match=setting):
            admission.check("alice")
        for number in range(in_all - of_one):
            held.enter_context(admission.take(f"client {number}"))
        with pytest.raises(QueueFullError):
            admission.check("bob")
    assert admission.taken_count == 0


def test_one_follower_is_always_allowed(settings: Settings) -> None:
    """Three quarters of one place are one place."""
    admission = places.of_followers(settings.model_copy(update={"max_followers": 1}))
    with admission.take("alice"), pytest.raises(QueueFullError):
        admission.check("bob")
