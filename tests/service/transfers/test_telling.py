from __future__ import annotations

from service.transfers.telling import telling
from tests.service.clock import Clock


def test_beginnings_and_ends_are_told_and_the_rest_rarely() -> None:
    """Under the name of the stage, whatever the store calls it."""
    heard: list[tuple[str, int, int]] = []
    time = Clock()
    tell = telling(lambda *told: heard.append(told), "deliver", time)
    for done in range(11):
        tell("upload", done, 10)
        time.pass_by(0.1)
    assert heard == [("deliver", done, 10) for done in (0, 3, 6, 9, 10)]
