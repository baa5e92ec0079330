"""A service, and programs for the steps of pipelines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.pipelines.steps import PLAYED, environment, programs
from tests.service.running import Running, served


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Serve, with a task that does what a checkpoint says, to who has a key."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "keys").write_text("ada:key-of-ada\n")
    with served(folder, api_keys_file=folder / "keys") as running:
        yield running


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `convlast`."""
    return programs(tmp_path_factory.mktemp("programs"))


@pytest.fixture(scope="session")
def remote(ours: Path, service: Running) -> dict[str, str]:
    """Return the environment of a step that lets the service do the work."""
    return environment(ours, CONVLAST_SERVER=service.url, CONVLAST_API_KEY="key-of-ada")


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment of a step in which `convlast` is played."""
    return environment(programs(tmp_path_factory.mktemp("played"), f'"{PLAYED}"'))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder with `model.pt`, of which the advice is to convert."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "model.pt").write_text("advises convert")
    return folder
