from __future__ import annotations

from typing import Any

import pytest

from convlast.errors import DeviceUnavailableError
from service.workers.lanes.devices import lanes_after_survey


@pytest.mark.parametrize(
    ("setting", "facts", "lanes"),
    [
        ("cpu", {}, ["cpu", "cpu"]),
        ("cuda", {"device": "cuda:0", "gpus": 3}, ["cuda:0", "cuda:1", "cuda:2"]),
        ("cuda:1", {"device": "cuda:1", "gpus": 3}, ["cuda:1"]),
        ("cuda:2,0", {"device": "cuda:2", "gpus": 3}, ["cuda:2", "cuda:0"]),
        ("auto", {"device": "cuda:0", "gpus": 1}, ["cuda:0"]),
        ("auto", {"device": "cpu"}, ["cpu", "cpu"]),
        ("auto", {"device": "cpu", "known_trouble": ["an old driver"]}, ["auto", "auto"]),
        ("auto", {"device": "cuda:0", "gpus": "many"}, ["auto", "auto"]),
    ],
)
def test_each_gpu_has_a_lane(setting: str, facts: dict[str, Any], lanes: list[str]) -> None:
    """There is a lane for each GPU that is meant, or several on the CPU."""
    assert lanes_after_survey(setting, facts, 2) == lanes


def test_a_gpu_that_does_not_exist_is_named() -> None:
    """An index beyond the last GPU is refused, with the last one."""
    with pytest.raises(DeviceUnavailableError, match=r"cuda:4 cannot be used.*cuda:1\."):
        lanes_after_survey("cuda:0,4", {"device": "cuda:0", "gpus": 2}, 2)
