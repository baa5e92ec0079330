"""The engine, the image, and a deployment of it on the CPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.container import pip_configuration
from tests.container.deployment import CPU, IMAGE, Deployment
from tests.container.engine import Engine


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """Take an engine, or start one that ends with the tests."""
    engine = Engine.find()
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def image(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Build the image as compose does, with this machine's configuration of pip as secrets."""
    with pip_configuration.build_secrets(tmp_path_factory.mktemp("secrets")) as variables:
        building = Deployment(engine, (*CPU, "tests/container/build.yml"), variables)
        building.compose("build")
    if engine.is_own:
        engine.docker("image", "prune", "--force")  # what earlier runs have built
    return IMAGE


@pytest.fixture(scope="module")
def service(engine: Engine, image: str) -> Iterator[Deployment]:
    """Bring it up on the CPU, for tests that leave it as it was."""
    deployment = Deployment(engine)
    deployment.down()  # of a run that was broken off
    deployment.up()
    yield deployment
    deployment.down()
