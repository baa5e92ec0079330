"""What the machine has, and so which tests can run on it.

A test that needs a GPU, the folder of real checkpoints, a browser, a container engine, promtool,
reverse proxies, the servers of stores, Kubeflow's SDK, Ray or the frameworks of the recipes
carries that marker. Where the thing is absent the test is skipped by name; `--require NAME` makes
its absence a failure instead.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import hypothesis
import pytest
import torch

from tests.container import engine as container_engine
from tests.deploy import promtool
from tests.deploy.pipelines import kubeflow
from tests.proxies import reverse_proxy
from tests.service.ray_engine import clusters
from tests.stores import servers

ROOT = Path(__file__).parents[1]
SHARED_CHECKPOINTS = ROOT.parent / "shared" / "checkpoints"
FRAMEWORKS = (
    "diffusers", "dynamic_network_architectures", "ignite", "lightning", "model_signing", "monai",
    "torchvision", "transformers",
)  # fmt: skip

# A machine that is busy is not a failure, and what passes here passes elsewhere.
unhurried = hypothesis.settings(
    deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("exploring", unhurried)
hypothesis.settings.register_profile("unhurried", unhurried, derandomize=True)
hypothesis.settings.load_profile("unhurried")

PRESENT: dict[str, Callable[[], bool]] = {
    "gpu": torch.cuda.is_available,
    "shared": SHARED_CHECKPOINTS.is_dir,
    "browser": lambda: shutil.which("chromium") is not None,
    "container": container_engine.is_present,
    "promtool": lambda: promtool.find() is not None,
    "proxies": reverse_proxy.are_present,
    "stores": servers.are_present,
    "kubeflow": kubeflow.is_present,
    "ray": clusters.is_present,
    "recipes": lambda: None not in map(find_spec, FRAMEWORKS),
}


# Whoever starts the tests in the background of a script has it ignored, and some tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--require NAME`."""
    parser.addoption(
        "--require",
        action="append",
        default=[],
        choices=sorted(PRESENT),
        help="fail, rather than skip, where this is absent (repeatable)",
    )


def pytest_report_header(config: pytest.Config) -> str:
    """Say on what the tests run."""
    has = ", ".join(f"{name}: {'yes' if there() else 'no'}" for name, there in PRESENT.items())
    return f"torch {torch.__version__}; {has}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip, by name, what cannot run here."""
    required = config.getoption("--require")
    for name, there in PRESENT.items():
        if there():
            continue
        if name in required:
            raise pytest.UsageError(f"--require {name}: there is none on this machine")
        for item in items:
            if item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=f"no {name} on this machine"))


@pytest.fixture(scope="session")
def shared_checkpoints() -> Path:
    """The folder of real checkpoints; only for tests marked `shared`."""
    return SHARED_CHECKPOINTS
