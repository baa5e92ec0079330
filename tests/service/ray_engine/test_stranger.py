"""Who asks the head without a token, with a program in place of Ray."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.ray_engine import stranger
from service.ray_engine.stranger import OpenClusterError, check

HEAD = "127.0.0.1:6379"


def answering(folder: Path, answer: str) -> dict[str, str]:
    """Return the variables with which this happens when the head is asked."""
    ray = folder / "ray"
    ray.mkdir()
    (ray / "__init__.py").touch()
    (ray / "exceptions.py").write_text("class AuthenticationError(Exception): pass\n")
    (ray / "_raylet.py").write_text(
        "import os, time\n"
        "from ray.exceptions import AuthenticationError\n"
        f"def GcsClient(address):\n    assert address == {HEAD!r}\n    {answer}\n"
    )
    return {**os.environ, "PYTHONPATH": str(folder)}


def test_a_head_that_turns_strangers_away_is_used(tmp_path: Path) -> None:
    """Nothing is raised."""
    check(HEAD, answering(tmp_path, "raise AuthenticationError"))


def test_a_head_that_lets_strangers_in_is_not_used(tmp_path: Path) -> None:
    """The error says how to start it; the stranger has no token, whatever this process has."""
    answer = 'assert os.environ["RAY_AUTH_MODE"] == "disabled"'
    given = {**answering(tmp_path, answer), "RAY_AUTH_MODE": "token"}
    with pytest.raises(OpenClusterError, match=r"service\.ray_engine head"):
        check(HEAD, given)


def test_a_head_that_is_away_cannot_be_reached(tmp_path: Path) -> None:
    """No other end of the stranger means that it was turned away."""
    with pytest.raises(ConnectionError, match="cannot be reached"):
        check(HEAD, answering(tmp_path, "raise RuntimeError"))


def test_a_head_that_does_not_answer_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stranger is ended in time."""
    monkeypatch.setattr(stranger, "PATIENCE_S", 0.5)
    with pytest.raises(ConnectionError, match="does not answer"):
        check(HEAD, answering(tmp_path, "time.sleep(600)"))
