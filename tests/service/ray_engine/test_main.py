from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.ray_engine.__main__ import arguments
from service.settings import Settings, SettingsError
from tests.service.running import ROOT


def test_the_head_runs_no_work() -> None:
    """It has no CPU, no GPU and no dashboard."""
    given = arguments(Settings(ray_address="10.0.0.7:6380"), "head")
    assert {"--head", "--port=6380", "--num-cpus=0", "--num-gpus=0"} < set(given)
    assert "--include-dashboard=false" in given


@pytest.mark.parametrize(
    ("settings", "slots"),
    [
        (Settings(device="cpu", workers=3), ["--num-cpus=3", "--num-gpus=0"]),
        (Settings(device="cuda"), ["--num-cpus=0"]),
    ],
)
def test_a_node_offers_its_slots(settings: Settings, slots: list[str]) -> None:
    """On the CPU as many as workers; on GPUs Ray counts them."""
    given = arguments(settings, "node")
    assert [each for each in given if each.startswith("--num-")] == slots
    assert "--address=127.0.0.1:6379" in given


def test_other_parts_are_refused() -> None:
    """A mistake is told."""
    with pytest.raises(SettingsError, match="head, or node"):
        arguments(Settings(), "tail")


@pytest.mark.parametrize("part", ["head", "node"])
def test_nothing_starts_without_a_token(tmp_path: Path, part: str) -> None:
    """The refusal names the setting."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("CONVLAST_")
    }
    done = subprocess.run(
        [sys.executable, "-m", "service.ray_engine", part],
        env=environment, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "CONVLAST_RAY_TOKEN_FILE" in done.stdout + done.stderr


SECRET = "0123456789abcdef" * 4


def given_to_ray(tmp_path: Path, part: str) -> dict[str, str]:
    """Start a part with a program in place of Ray, and return the variables that it gets."""
    program = tmp_path / "ray" / "scripts"
    program.mkdir(parents=True)
    (program / "scripts.py").write_text("import os, json; print(json.dumps(dict(os.environ)))")
    (tmp_path / "token").write_text(SECRET)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CONVLAST_")},
        "CONVLAST_RAY_TOKEN_FILE": str(tmp_path / "token"),
        "RAY_AUTH_TOKEN": SECRET,
        "PYTHONPATH": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-m", "service.ray_engine", part],
        env=environment, cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    given: dict[str, str] = json.loads(done.stdout)
    return given


def test_ray_does_not_have_the_token_in_a_variable(tmp_path: Path) -> None:
    """KubeRay sets one, which every process that Ray starts would inherit, and the actors too."""
    given = given_to_ray(tmp_path, "node")
    assert SECRET not in given.values()
    assert given["RAY_AUTH_TOKEN_PATH"] == str(tmp_path / "token")


@pytest.mark.parametrize("part", ["head", "node"])
def test_a_part_ends_at_once(tmp_path: Path, part: str) -> None:
    """Ray would wait half a minute for slots that never end, and that still take jobs."""
    assert given_to_ray(tmp_path, part)["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] == "0"
