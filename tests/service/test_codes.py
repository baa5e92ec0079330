"""Each code of the table can be reached over HTTP."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count

import httpx
import pytest

from service.problems import MEDIA_TYPE, TABLE
from tests.service.running import Running, served, wait_for

KEYS = {name: f"key-of-{name}" for name in ("alice", "bob", "carol", "dave")}
HEAD = (
    b"POST /convert HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
    b"Content-Length: %d\r\nAuthorization: Bearer key-of-%b\r\n\r\n"
)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a service with two places, one for each of four keys."""
    folder = tmp_path_factory.mktemp("strict")
    keys = folder / "keys"
    keys.write_text("".join(f"{name}:{key}\n" for name, key in KEYS.items()))
    (folder / "m.pt").write_bytes(b"fine")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "without its secret")
        with served(
            folder,
            api_keys_file=keys,
            sources=f"s3://bucket/,file://{folder}/",
            max_upload_bytes=4 << 20,
            client_idle_s=2,
            job_timeout_s=5,
            queue_size=1,
            jobs_per_key=1,
        ) as running:
            yield running


def send(
    service: Running, content: bytes = b"fine", owner: str = "alice", **more: str
) -> httpx.Response:
    """Send a checkpoint with additional headers."""
    headers = {"Authorization": f"Bearer {KEYS[owner]}", **more}
    return service.convert(content, headers=headers)


def send_raw(service: Running, path: str, content: bytes = b"fine", **more: str) -> httpx.Response:
    """Send a raw body."""
    headers = {
        "Authorization": f"Bearer {KEYS['alice']}",
        "Content-Type": "application/octet-stream",
        **more,
    }
    with service.client() as client:
        return client.post(path, content=content, headers=headers)


def get(service: Running, path: str, **more: str) -> httpx.Response:
    """Send a GET as alice."""
    with service.client() as client:
        return client.get(path, headers={"Authorization": f"Bearer {KEYS['alice']}", **more})


@contextmanager
def busy(service: Running, *owners: str) -> Iterator[None]:
    """Make each of these owners hold a place, until the connection closes."""
    with ExitStack() as held:
        for owner in owners:
            connection = held.enter_context(service.connect())
            connection.sendall(HEAD % (5, owner.encode()) + b"hangs")
        wait_for(lambda: service.metric("convlast_places_taken") == len(owners))
        yield
    wait_for(lambda: service.metric("convlast_places_taken") == 0)


def while_busy(service: Running, others: tuple[str, ...], owner: str) -> httpx.Response:
    """Send a checkpoint while others hold the places."""
    with busy(service, *others):
        return send(service, owner=owner)


def too_slow(service: Running) -> httpx.Response:
    """Send a part of a body, and wait."""
    with service.connect() as connection:
        connection.sendall(HEAD % (100, b"alice") + b"half")
        head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    headers = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    return httpx.Response(int(head.split()[1]), headers=list(headers.items()), content=body)


def beyond_the_end(service: Running) -> httpx.Response:
    """Request a range beyond the end of an artifact."""
    links = send(service, Accept="application/json").json()["links"]
    return get(service, links["artifact"], Range="bytes=1000000-")


def raises(code: str) -> Callable[[Running], httpx.Response]:
    """Make the worker raise the library's error with this code."""
    return lambda service: send(service, f"raises-code {code}".encode())


def from_a_job(service: Running, content: bytes, *, cancelled: bool) -> httpx.Response:
    """Ask for the artifact of an asynchronous job that goes on, or is cancelled."""
    job = send(service, content, Prefer="respond-async").json()["links"]["self"]
    with service.client() as client:
        client.headers["Authorization"] = f"Bearer {KEYS['alice']}"
        if cancelled:
            client.delete(job)
        answer = client.get(f"{job}/artifact")
        client.delete(job)
    return answer


def fetched(service: Running, source: str) -> httpx.Response:
    """Name an address instead of sending a checkpoint."""
    headers = {"Authorization": f"Bearer {KEYS['alice']}"}
    with service.client() as client:
        return client.post("/convert", json={"source": source}, headers=headers)


def beside(service: Running, name: str) -> str:
    """Return the address of a file beside the work folder, where sources are allowed."""
    return f"file://{service.work_dir.with_name(name)}"


def while_it_changes(service: Running) -> httpx.Response:
    """Name a file that is touched again and again."""
    done = threading.Event()

    def touch() -> None:
        for number in count():
            os.utime(service.work_dir.with_name("m.pt"), (number, number))
            if done.is_set():
                return

    toucher = threading.Thread(target=touch)
    toucher.start()
    try:
        # Between a request's look at it and the fetching may be no touch.
        answers = (fetched(service, beside(service, "m.pt")) for _ in range(100))
        return next(answer for answer in answers if not answer.is_success)
    finally:
        done.set()
        toucher.join()


WAYS: dict[str, Callable[[Running], httpx.Response]] = {
    "malformed-request": lambda service: send_raw(
        service, "/convert", b"fine", **{"Content-Type": "multipart/form-data; boundary=edge"}
    ),
    "digest-mismatch": lambda service: send_raw(
        service, "/convert", b"fine", **{"Content-Digest": "sha-256=:AAAA:"}
    ),
    "unauthorized": lambda service: service.convert(b"fine"),
    "not-found": lambda service: get(service, "/jobs/unknown/artifact"),
    "conflict": lambda service: from_a_job(service, b"hangs 1", cancelled=False),
    "gone": lambda service: from_a_job(service, b"hangs 2", cancelled=True),
    "method-not-allowed": lambda service: get(service, "/convert"),
    "not-acceptable": lambda service: send(service, Accept="image/png"),
    "upload-too-slow": too_slow,
    "upload-too-large": lambda service: send_raw(service, "/convert", bytes((4 << 20) + 1)),
    "unsupported-media-type": lambda service: send_raw(
        service, "/convert", b"fine", **{"Content-Type": "image/png"}
    ),
    "range-not-satisfiable": beyond_the_end,
    "invalid-option": lambda service: send_raw(service, "/convert?smoke=maybe"),
    "invalid-address": lambda service: fetched(service, "s3://bucket/../m.pt"),
    "address-not-allowed": lambda service: fetched(service, "s3://other/m.pt"),
    "source-not-found": lambda service: fetched(service, beside(service, "none.pt")),
    "source-changed": while_it_changes,
    "store-unavailable": lambda service: fetched(service, "s3://bucket/m.pt"),
    "not-a-checkpoint": raises("not-a-checkpoint"),
    "malformed-checkpoint": raises("malformed-checkpoint"),
    "unsafe-checkpoint": lambda service: send(service, b"refuses"),
    "program-not-allowed": raises("program-not-allowed"),
    "unsupported-container": raises("unsupported-container"),
    "limit-exceeded": lambda service: send(service, b"exceeds"),
    "no-conv3d-weights": lambda service: send(service, b"has-no-weights"),
    "architecture-not-allowed": raises("architecture-not-allowed"),
    "architecture-mismatch": raises("architecture-mismatch"),
    "verification-failed": lambda service: send(service, b"fails-verification"),
    "too-many-requests": lambda service: while_busy(service, ("alice",), "alice"),
    "internal": lambda service: send(service, b"raises"),
    "worker-crashed": lambda service: send(service, b"crashes"),
    "queue-full": lambda service: while_busy(service, ("alice", "bob"), "carol"),
    "not-ready": raises("not-ready"),
    "device-lost": raises("device-lost"),
    "timed-out": lambda service: send(service, b"hangs"),
    "storage-full": lambda service: send(service, b"fills-the-disk"),
    "out-of-memory": lambda service: send(service, b"exhausts-memory"),
}


def test_there_is_a_way_to_every_code() -> None:
    """The list below reaches every code of the table."""
    assert set(WAYS) == set(TABLE)


@pytest.mark.parametrize("code", WAYS)
def test_every_code_is_reached(strict: Running, code: str) -> None:
    """The answer is the problem that the table describes, and leaves nothing behind."""
    response = WAYS[code](strict)
    problem = response.json()
    assert problem["code"] == code, problem
    assert response.status_code == problem["status"] == TABLE[code].status
    assert response.headers["content-type"] == MEDIA_TYPE
    assert problem["request_id"] == response.headers["x-request-id"]
    assert problem["detail"]
    assert ("retry-after" in response.headers) == (TABLE[code].status in (429, 502, 503))
    wait_for(lambda: not list((strict.work_dir / "jobs").iterdir()))


@pytest.mark.parametrize("as_form", [True, False])
def test_an_empty_file_is_no_checkpoint(strict: Running, as_form: bool) -> None:
    """An empty file is refused as such, in a form and as a raw body."""
    answer = send(strict, b"") if as_form else send_raw(strict, "/convert", b"")
    assert answer.json()["code"] == "not-a-checkpoint"


def test_facts_of_an_error_are_members(strict: Running) -> None:
    """The globals of an unsafe checkpoint, and the exceeded limit, are members."""
    assert send(strict, b"refuses").json()["names"] == ["os.system"]
    exceeded = send(strict, b"exceeds").json()
    assert (exceeded["limit"], exceeded["allowed"], exceeded["found"]) == ("max_tensors", 1, 2)


def test_a_failed_verification_brings_its_report(strict: Running) -> None:
    """The report is a member of the problem."""
    assert send(strict, b"fails-verification").json()["report"]["verdict"] == "failed"


def test_the_place_of_a_bug_is_in_the_log(strict: Running) -> None:
    """The client gets a request id; the log has the error's type and frames, not its text."""
    response = send(strict, b"raises")
    log = strict.log.read_text().splitlines()
    found = [line for line in log if response.json()["request_id"] in line and "job failed" in line]
    assert len(found) == 1
    assert "in _raises" in found[0]
    assert "RuntimeError" in found[0]
    assert "secret" not in response.text + "".join(log)


@pytest.mark.parametrize(
    ("content", "how"),
    [(b"crashes", "SIGSEGV"), (b"exits", "exit status 3"), (b"babbles", "sense")],
)
def test_a_crash_says_how_the_process_ended(strict: Running, content: bytes, how: str) -> None:
    """A signal, an exit status and an invalid message are distinguished."""
    problem = send(strict, content).json()
    assert problem["code"] == "worker-crashed"
    assert how in problem["detail"]
    assert send(strict).status_code == 200


def test_jobs_belong_to_their_key(strict: Running) -> None:
    """Another key cannot find the job of a key."""
    links = send(strict, Accept="application/json").json()["links"]
    for link in links.values():
        with strict.client() as client:
            others = client.get(link, headers={"Authorization": f"Bearer {KEYS['bob']}"})
            nobody = client.get(link)
        assert others.json()["code"] == "not-found"
        assert nobody.json()["code"] == "unauthorized"
        assert get(strict, link).status_code == 200


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/metrics", "/version", "/docs"])
def test_probes_need_no_key(strict: Running, path: str) -> None:
    """The page, probes, metrics, the version and the documentation need no key."""
    assert httpx.get(strict.url + path, trust_env=False).status_code == 200


def test_input_is_never_echoed(strict: Running) -> None:
    """A refusal does not contain the value of the option."""
    response = send_raw(strict, "/convert?smoke=hunter2&filename=hunter2")
    assert response.json()["code"] == "invalid-option"
    assert "hunter2" not in response.text
