"""What a user does after `docker compose up`: stop, restart, change the keys, down."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.container.deployment import KEYS, Deployment
from tests.container.engine import Engine
from tests.container.samples import slow_checkpoint
from tests.service.running import wait_for

pytestmark = pytest.mark.container


@pytest.fixture
def own(engine: Engine, image: str) -> Iterator[Deployment]:
    """Bring up a service that a test may break; not beside the shared one."""
    deployment = Deployment(engine)
    deployment.down()
    deployment.up()
    yield deployment
    deployment.down()


def test_a_stop_waits_for_the_job(own: Deployment) -> None:
    """`docker compose stop` while it converts: the answer comes whole, and the exit is clean."""
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(own.convert, slow_checkpoint())
        wait_for(own.is_converting)
        assert not answer.done()
        began_s = time.monotonic()
        own.compose("stop")
        stopped_s = time.monotonic() - began_s
        assert answer.result().status_code == 200
    assert zipfile.ZipFile(io.BytesIO(answer.result().content)).testzip() is None
    state = own.inspect()["State"]
    assert (state["Status"], state["ExitCode"], state["OOMKilled"]) == ("exited", 0, False)
    assert stopped_s < 110


def test_the_store_outlives_a_restart_and_a_new_container(own: Deployment, tmp_path: Path) -> None:
    """Artifacts lie in the volume; a half-done upload is gone after the next start."""
    source = tmp_path / "model.pt"
    torch.save(nn.Conv3d(2, 4, 3).state_dict(), source)
    links = own.convert(source.read_bytes(), headers={"Accept": "application/json"}).json()["links"]
    with own.client() as client:
        artifact = client.get(links["artifact"]).content
    own.compose("restart")
    wait_for(own.is_ready, within_s=90)
    own.compose("down")
    assert own.engine.docker("ps", "--all", "--quiet", "--filter", f"name={own.container}") == ""
    own.up()
    with own.client() as client:
        assert client.get(links["artifact"]).content == artifact
    own.compose("down", "--volumes")
    volumes = own.engine.docker("volume", "ls", "--quiet", "--filter", "name=convlast-test")
    assert volumes == ""


def test_keys_are_asked_for_and_changed_without_a_restart(
    engine: Engine, image: str, tmp_path: Path
) -> None:
    """With docker-compose.keys.yml only who has a key is served."""
    keys = tmp_path / "keys"
    keys.write_text("team:first-key\n")
    tmp_path.chmod(0o755)
    deployment = Deployment(engine, KEYS, {"API_KEYS_FILE": str(keys)})
    deployment.down()
    try:
        deployment.up()
        first, second = ({"Authorization": f"Bearer {key}"} for key in ("first-key", "second-key"))
        assert deployment.convert(b"x").status_code == 401
        assert deployment.convert(b"x", headers=first).status_code == 422
        with keys.open("r+") as file:  # the same file: a new one of its name would not be seen
            file.write("team:second-key\n")
        wait_for(lambda: deployment.convert(b"x", headers=second).status_code == 422)
        assert deployment.convert(b"x", headers=first).status_code == 401
        shown = json.dumps(deployment.inspect()) + deployment.compose("logs")
        assert "second-key" not in shown
    finally:
        deployment.down()
