from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.container.deployment import CPU, Deployment
from tests.container.engine import Engine
from tests.container.test_confinement import outcome
from tests.service.running import wait_for

pytestmark = pytest.mark.container

MIB = 1 << 20


@pytest.fixture
def cramped(engine: Engine, image: str) -> Iterator[Deployment]:
    """Bring up workers that unpickle blindly, with 1 GiB of memory and 200 MiB of disk."""
    extra = ("tests/container/trusting.yml", "tests/container/small.yml")
    deployment = Deployment(engine, (*CPU, *extra), {"MEMORY": "1g"})
    deployment.down()
    deployment.up()
    yield deployment
    deployment.down()


def test_a_container_that_is_full_serves_on(cramped: Deployment) -> None:
    """Without memory or disk a job ends with the documented answer, and the next one runs."""
    answer = cramped.convert(bytes(230 * MIB))
    assert (answer.status_code, answer.json()["code"]) == (507, "storage-full")

    with ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(cramped.convert, bytes(80 * MIB)) for _ in range(4)]
        codes = {each.result().json()["code"] for each in sent}
    assert codes <= {"not-a-checkpoint", "storage-full", "queue-full"}

    hungry = cramped.convert(b"c__builtin__\nbytearray\nI1610612736\n\x85R.")
    assert (hungry.status_code, hungry.json()["code"]) == (507, "out-of-memory")

    wait_for(cramped.is_ready, within_s=60)
    assert outcome(cramped, pow, 6, 2) == "36"
    assert cramped.files_at_work() == set()
    assert cramped.inspect()["RestartCount"] == 0
