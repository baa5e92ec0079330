"""The benchmark of many requests: its cases, its medians and its limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import requests
from benchmarks.clients import Form
from benchmarks.requests import Target, measure, missed, parsed, save, tell
from tests.service.running import Running, start

CONVLAST, TUNED = Target("convlast", None, "smoke=none"), Target("tuned")


def answers(rate: float, median_s: float | None = 0.02, **codes: int) -> dict[str, Any]:
    """Return what `ask` returns for these figures."""
    return {"answers_per_s": rate, "median_s": median_s, "codes": codes or {"200": 1}}


def row(
    rate: float = 50.0,
    share: float = 0.5,
    median_s: float | None = 0.02,
    **changed: Any,
) -> dict[str, Any]:
    """Return a row; by default it keeps all limits."""
    convlast = answers(rate, median_s, **changed.pop("codes", {}))
    told = {"file": "1 MiB", "options": "smoke=none", "workers": None, "clients": 8}
    return {**told, "convlast": convlast, "share_of_tuned": share, **changed}


def test_all_kinds_of_requests_are_asked_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each round every file by every number of clients from every target, after a warm-up."""
    asked: list[tuple[str, int]] = []

    def ask(url: str, body: Form, clients: int, seconds: float) -> dict[str, Any]:
        asked.append((url, clients))
        return answers(1.0)

    monkeypatch.setattr(requests, "ask", ask)
    urls = {CONVLAST: "http://a", TUNED: "http://b"}
    given = parsed(["--clients", "1", "8", "--rounds", "2", "--seconds", "0"])
    rounds = list(measure(urls, {"6 kB": b"tiny"}, given))
    turn = [("http://a", 1), ("http://b", 1), ("http://a", 8), ("http://b", 8)]
    assert asked == [("http://a", 1), ("http://b", 1), *turn, *turn]
    assert len(rounds) == 2
    (one, eight) = tell(rounds, {"6 kB": 4})
    assert (one["clients"], eight["clients"], one["bytes"]) == (1, 8, 4)


def test_no_round_begins_when_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that runs ends, so that every case has a figure."""
    monkeypatch.setattr(requests, "ask", lambda *_, **__: answers(1.0))
    given = parsed(["--clients", "1", "--at-most-s", "0"])
    rounds = list(measure({CONVLAST: "http://a", TUNED: "http://b"}, {"6 kB": b""}, given))
    assert len(rounds) == 1


def test_a_row_has_the_medians_of_its_rounds_and_of_their_ratios() -> None:
    """A round in which the machine was slow counts for both services."""
    case, naive = ("1 MiB", 8, CONVLAST), ("1 MiB", 8, TUNED)
    rounds = [
        {case: answers(40, 0.2), naive: answers(100)},
        {case: answers(4, None, **{"503": 2}), naive: answers(10)},
        {case: answers(50, 0.1), naive: answers(200)},
    ]
    (told,) = tell(rounds, {"1 MiB": 1 << 20})
    assert told["convlast"] == {
        "answers_per_s": 40,
        "all": [40, 4, 50],
        "median_s": 0.15,
        "codes": {"200": 2, "503": 2},
    }
    assert told["tuned"]["answers_per_s"] == 100
    assert told["share_of_tuned"] == 0.4


def test_figures_within_the_limits_pass() -> None:
    """So do any figures of a case that has no limit."""
    good = row(40.0, 0.33), row(1.0, median_s=0.025, clients=1)
    free = row(1.0, 0.01, file="16 MiB"), row(12.0, 0.01, file="6 kB", options="default")
    assert missed([*good, *free]) == []


@pytest.mark.parametrize(
    "slow",
    [
        row(39.9),
        row(share=0.32),
        row(39.9, clients=64),
        row(clients=1, median_s=0.026),
        row(clients=1, median_s=None),
        row(11.9, file="6 kB", options="default"),
        row(codes={"200": 5, "503": 1}),
        row(codes={"200": 5, "ConnectionResetError": 1}, workers=2),
    ],
)
def test_each_limit_can_be_missed(slow: dict[str, Any]) -> None:
    """By one figure alone, and the sentence names the case."""
    (sentence,) = missed([row(), slow])
    assert sentence.startswith(f"{slow['file']}, {slow['options']}, {slow['clients']} clients")


def test_rates_have_a_limit_only_for_the_default_number_of_workers() -> None:
    """A single worker cannot keep what two can."""
    assert missed([row(10.0, 0.1, workers=1)]) == []


def test_files_are_as_large_as_they_are_named(tmp_path: Path) -> None:
    """Within an eighth."""
    for megabytes, name, size in ((0, "6 kB", 6e3), (1, "1 MiB", 2**20), (16, "16 MiB", 2**24)):
        told, content = save(tmp_path, megabytes)
        assert told == name
        assert abs(len(content) / size - 1) < 1 / 8


def test_a_service_that_runs_is_measured(tmp_path: Path) -> None:
    """All requests are answered; here the same service has both parts."""
    service: Running = start(tmp_path)
    try:
        service.wait_until_ready()
        given = parsed(["--quick"])
        urls = dict.fromkeys((CONVLAST, TUNED), service.url)
        rounds = list(measure(urls, {"6 kB": b"anything"}, given))
    finally:
        service.stop()
    told = tell(rounds, {"6 kB": 8})
    assert [each["clients"] for each in told] == [1, 8]
    assert missed(told) == []
