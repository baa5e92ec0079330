"""What code of an upload can do in the container, were it to run: workers here unpickle blindly."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.container.deployment import CPU, WORK, Deployment
from tests.container.engine import Engine
from tests.service.sandbox import attacks
from tests.service.test_confinement import Calls

pytestmark = pytest.mark.container

NO_ENTRY = ("PermissionError", "BlockingIOError", "OSError: [Errno 18]")
MAKE_FOREIGN = """
import pathlib, sys
folder = pathlib.Path(sys.argv[1]) / "jobs" / "other"
folder.mkdir()
(folder / "secret.pt").write_text("secret")
"""
SHOW_FOREIGN = """
import pathlib, sys
file = pathlib.Path(sys.argv[1])
print(file.read_text(), *file.parent.iterdir())
"""
FIND_SERVICE = """
import pathlib
for each in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if each.read_bytes().split(b"\\0")[1:3] == [b"-m", b"tests.service.trusting_service"]:
        print(each.parent.name)
"""


@pytest.fixture(scope="module")
def trusting(engine: Engine, image: str) -> Iterator[Deployment]:
    """Bring up workers that unpickle what they get, behind the same walls."""
    deployment = Deployment(engine, (*CPU, "tests/container/trusting.yml"))
    deployment.down()
    deployment.up()
    deployment.inside(MAKE_FOREIGN, WORK)
    yield deployment
    deployment.down()


@pytest.fixture
def foreign(trusting: Deployment) -> Iterator[str]:
    """Name a file of another job; it has to be as it was afterwards."""
    path = f"{WORK}/jobs/other/secret.pt"
    yield path
    assert trusting.inside(SHOW_FOREIGN, path).split() == ["secret", path]


def outcome(service: Deployment, function: Callable[..., object], *arguments: object) -> str:
    """Have a worker call a function by way of an upload; return what came of it."""
    response = service.convert(pickle.dumps(Calls(function, *arguments)))
    assert response.json()["code"] == "not-a-checkpoint", response.text
    return str(response.json()["detail"])


def test_the_code_of_an_upload_does_run_here(trusting: Deployment) -> None:
    """Without the wall in the worker its code runs: else the other tests would prove nothing."""
    assert outcome(trusting, pow, 6, 2) == "36"


@pytest.mark.parametrize("attack", attacks.ON_THE_MACHINE)
def test_the_machine_is_out_of_reach(attack: Callable[[], None], trusting: Deployment) -> None:
    """There is no network, no other program, no new process, and nothing stays behind."""
    assert outcome(trusting, attack).startswith(NO_ENTRY)


@pytest.mark.parametrize("attack", attacks.ON_A_PROCESS)
def test_the_service_is_out_of_reach(attack: Callable[[int], None], trusting: Deployment) -> None:
    """The process that serves can be neither read, signalled nor limited."""
    (pid,) = trusting.inside(FIND_SERVICE).split()
    assert outcome(trusting, attack, int(pid)).startswith(NO_ENTRY)


@pytest.mark.parametrize("attack", attacks.ON_A_FILE)
def test_another_jobs_file_is_out_of_reach(
    attack: Callable[[str], None], trusting: Deployment, foreign: str
) -> None:
    """Another job's file is neither read nor changed, though it is the same user's."""
    assert outcome(trusting, attack, foreign).startswith(NO_ENTRY)


def test_no_secret_and_no_folder_can_be_read(trusting: Deployment) -> None:
    """Neither the image's files beyond libraries, nor what compose has put in."""
    for path in ("/", "/etc", "/run", "/srv", "/var/lib/convlast", WORK):
        assert outcome(trusting, os.listdir, path).startswith(NO_ENTRY), path
    assert "CONVLAST" not in outcome(trusting, os.getenv, "CONVLAST_WORK_DIR", "nothing")


def test_nobody_in_the_network_is_reached(trusting: Deployment) -> None:
    """Neither the service's own port nor a name."""
    for address in (("127.0.0.1", 8000), ("convlast", 8000)):
        assert not outcome(trusting, socket.create_connection, address).startswith("<socket")


def test_it_leaves_nothing_for_the_next(trusting: Deployment) -> None:
    """What it changes in its process and its folder is gone with it, and the service goes on."""
    left = "__import__('pathlib').Path(__import__('os').environ['HOME'], 'left').write_text('x')"
    assert outcome(trusting, eval, left) == "1"
    assert outcome(trusting, eval, "__import__('sys').modules.update(left=1)") == "None"
    assert outcome(trusting, eval, "'left' in __import__('sys').modules") == "False"
    assert "left" not in "".join(trusting.files_at_work())
