from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.ray_engine import clusters
from tests.service.running import ROOT

ASK = "from tests.service.ray_engine import clusters; print(clusters.is_alone())"
ADD = "ip link add other0 type veth || ip link add other0 type dummy"


@pytest.mark.ray
@pytest.mark.parametrize(
    ("change", "told"),
    [("true", "True"), (ADD, "True"), (f"{ADD}; ip link set other0 up", "False")],
)
def test_a_network_of_its_own_has_nothing_else_up(change: str, told: str) -> None:
    """What is down leads nowhere."""
    shell = f'set -e; {change}; exec "$@"'
    done = subprocess.run(
        ["scripts/alone.sh", "sh", "-c", shell, "sh", sys.executable, "-c", ASK],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == told


def test_this_network_is_not_taken_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither without the script, nor where its network has been left."""
    monkeypatch.delenv("OUTSIDE_NETWORK", raising=False)
    assert not clusters.is_alone()
    monkeypatch.setenv("OUTSIDE_NETWORK", str(Path("/proc/self/ns/net").readlink()))
    assert not clusters.is_alone()
