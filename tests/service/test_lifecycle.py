from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.service.running import FAKE, REAL, ROOT, Running, Serve, free_port, wait_for


def test_sigterm_drains(serve: Serve) -> None:
    """Running and waiting jobs are finished, a new one is refused, and the exit is clean."""
    service = serve()
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(service.convert, b"sleeps 2 %d" % each) for each in range(3)]
        wait_for(lambda: service.metric("convlast_places_taken") == 3)
        processes = service.descendants()
        service.process.send_signal(signal.SIGTERM)
        wait_for(lambda: httpx.get(f"{service.url}/readyz", trust_env=False).status_code == 503)
        refused = service.convert(b"fine")
        assert refused.json()["code"] == "not-ready"
        assert refused.headers["retry-after"]
        assert httpx.get(f"{service.url}/livez", trust_env=False).status_code == 200
        assert [each.result().status_code for each in waiting] == [200, 200, 200]
    assert service.process.wait(60) == 0
    assert service.files() == set()
    wait_for(lambda: not any(is_alive(pid) for pid in processes))


def test_a_second_signal_does_not_wait(serve: Serve) -> None:
    """A second signal ends the process and its workers at once."""
    service = serve()
    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(service.convert, b"hangs")
        wait_for(lambda: service.metric("convlast_places_taken") == 1)
        processes = service.descendants()
        service.process.send_signal(signal.SIGTERM)
        wait_for(lambda: httpx.get(f"{service.url}/readyz", trust_env=False).status_code == 503)
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(60)
        assert lost.exception() or lost.result().status_code == 500
    wait_for(lambda: not any(is_alive(pid) for pid in processes))


@pytest.fixture
def hangs_up() -> Iterator[None]:
    """Start services to which SIGHUP means something, also where these tests run under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangs_up")
def test_sighup_reads_the_keys_and_nothing_else(serve: Serve, tmp_path: Path) -> None:
    """A job that runs goes on, a new key counts at once, and the service goes on."""
    keys = tmp_path / "keys"
    keys.write_text("alice:the-first-key\n")
    service = serve(api_keys_file=keys)

    def asks(key: str) -> int:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.get(f"{service.url}/jobs", headers=headers, trust_env=False).status_code

    with ThreadPoolExecutor(1) as pool:
        first = {"Authorization": "Bearer the-first-key"}
        running = pool.submit(service.convert, b"sleeps 1", headers=first)
        wait_for(lambda: service.metric("convlast_places_taken") == 1)
        keys.write_text("alice:the-second-key\n")
        service.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "keys were read again" in service.log.read_text())
        assert [asks("the-second-key"), asks("the-first-key")] == [200, 401]
        assert running.result().status_code == 200
    assert service.stop() == 0


@pytest.mark.usefixtures("hangs_up")
def test_sighup_of_a_terminal_that_closes_drains(tmp_path: Path) -> None:
    """Otherwise the service would keep its port, though nobody sees it any more."""
    with at_terminal(tmp_path) as service, ThreadPoolExecutor(1) as pool:
        service.wait_until_ready()
        running = pool.submit(service.convert, b"sleeps 3")
        wait_for(lambda: service.metric("convlast_places_taken") == 1)
        for pid in (service.process.pid, *service.descendants(), service.process.pid):
            os.kill(pid, signal.SIGHUP)
        wait_for(lambda: httpx.get(f"{service.url}/readyz", trust_env=False).status_code == 503)
        assert running.result().status_code == 200
        assert service.process.wait(60) == 0


def test_sighup_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """Under `nohup` a closed terminal changes nothing."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with at_terminal(tmp_path) as service:
            service.wait_until_ready()
            service.process.send_signal(signal.SIGHUP)
            assert service.convert(b"fine").status_code == 200
            assert service.stop() == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@contextmanager
def at_terminal(folder: Path) -> Iterator[Running]:
    """Start a service whose stderr is a terminal, and kill it in the end."""
    ours, theirs = pty.openpty()
    port, work = free_port(), folder / "work"
    variables = {"CONVLAST_PORT": str(port), "CONVLAST_WORK_DIR": str(work)}
    process = subprocess.Popen(
        [sys.executable, "-m", FAKE],
        cwd=ROOT,
        env={**os.environ, **variables, "CONVLAST_WORKERS": "1"},
        stderr=theirs,
    )
    os.close(theirs)
    try:
        yield Running(process, port, work, folder / "log")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_threads_of_workers_sleep_while_they_wait(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All workers have OpenMP threads that sleep while they wait."""
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.setenv("OMP_DISPLAY_ENV", "VERBOSE")
    told = re.findall(r"GOMP_SPINCOUNT = '(\d+)'", serve(REAL, device="cpu").log.read_text())
    if not told:
        pytest.skip("PyTorch does not have GNU's OpenMP here")
    assert set(told) == {"0"}


def test_draining_ends_in_time(serve: Serve) -> None:
    """A job that does not end is aborted at the drain timeout, and all files are cleaned up."""
    service = serve(drain_timeout_s=1)
    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(service.convert, b"hangs")
        wait_for(lambda: service.metric("convlast_places_taken") == 1)
        processes = service.descendants()
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(60)
        assert lost.exception() or lost.result().status_code == 500
    assert "draining took too long" in service.log.read_text()
    assert service.files() == set()
    wait_for(lambda: not any(is_alive(pid) for pid in processes))


def test_temporary_files_in_the_work_folder_are_swept(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the work folder is also TMPDIR, the next start removes what a kill has left."""
    work_dir = Path(tempfile.mkdtemp(prefix="convlast-"))  # the path of a socket must be short
    monkeypatch.setenv("TMPDIR", str(work_dir))
    try:
        killed = serve(work_dir=work_dir)
        (left,) = work_dir.glob("pymp-*")
        killed.process.kill()
        killed.process.wait()
        again = serve(work_dir=work_dir)
        assert not left.exists()
        assert again.convert(b"fine").status_code == 200
        assert again.stop() == 0
        assert again.files() == set()
    finally:
        shutil.rmtree(work_dir)


def test_workers_end_with_a_service_that_is_killed(serve: Serve) -> None:
    """After a kill -9 of the service no worker is left, not even one that hangs."""
    service = serve()
    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(service.convert, b"hangs")
        wait_for(lambda: service.metric("convlast_places_taken") == 1)
        processes = service.descendants()
        service.process.kill()
        assert isinstance(lost.exception(), httpx.TransportError)
    wait_for(lambda: not any(is_alive(pid) for pid in processes))


def test_a_killed_worker_is_a_crash_of_its_job_only(serve: Serve) -> None:
    """After a kill -9 of a worker its client is answered, and the next job runs."""
    service = serve()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(service.convert, b"hangs")
        worker = wait_for_worker(service)
        os.kill(worker, signal.SIGKILL)
        assert answer.result().json()["code"] == "worker-crashed"
        assert "SIGKILL" in answer.result().json()["detail"]
    assert service.convert(b"fine").status_code == 200


def test_a_deadline_ends_the_job_and_its_process(serve: Serve) -> None:
    """A job that hangs is answered at its deadline, and its process is gone."""
    service = serve(job_timeout_s=3)
    before = service.descendants()
    answer = service.convert(b"hangs")
    assert answer.status_code == 504
    assert "CONVLAST_JOB_TIMEOUT_S" in answer.json()["detail"]
    assert service.convert(b"fine").status_code == 200
    wait_for(lambda: len(service.descendants()) == len(before))


def test_a_restart_keeps_the_store_and_nothing_else(serve: Serve) -> None:
    """After a kill and a restart stored jobs are there, and unfinished ones are not."""
    service = serve()
    links = service.convert(b"fine", headers={"Accept": "application/json"}).json()["links"]
    with service.connect() as connection:
        connection.sendall(
            b"POST /convert HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
            b"Content-Type: application/octet-stream\r\n\r\nhalf"
        )
        wait_for(lambda: list((service.work_dir / "jobs").iterdir()))
        service.process.kill()
        service.process.wait()
    again = serve()
    assert list((again.work_dir / "jobs").iterdir()) == []
    with again.client() as client:
        assert client.get(links["artifact"]).content == b"fine"


def test_a_kill_leaves_the_checkpoint_of_a_running_job(serve: Serve) -> None:
    """If the service is killed while a job runs, its upload is where it was, and is complete."""
    service = serve()
    with service.connect() as connection:
        connection.sendall(
            b"POST /convert HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            b"Content-Type: application/octet-stream\r\n\r\nhangs"
        )
        wait_for(lambda: list(service.work_dir.glob("workers/*/input/upload")))
        service.process.kill()
        service.process.wait()
    (upload,) = (service.work_dir / "jobs").glob("*/upload")
    assert upload.read_bytes() == b"hangs"


def test_two_services_do_not_share_a_folder(serve: Serve) -> None:
    """A second service on the same folder does not start, and does not remove its jobs."""
    first = serve()
    with pytest.raises(AssertionError, match="in use by another service"):
        serve()
    assert first.convert(b"fine").status_code == 200


def test_the_http_process_never_imports_torch(serve: Serve) -> None:
    """No library of torch is mapped into the service process."""
    service = serve(REAL)
    maps = Path(f"/proc/{service.process.pid}/maps").read_text()
    assert "libtorch" not in maps
    workers = [Path(f"/proc/{pid}/maps").read_text() for pid in service.descendants()]
    assert any("libtorch" in worker for worker in workers), "and the workers do"


def wait_for_worker(service: Running) -> int:
    """Return the process of the running job: the one that has opened its upload."""
    folders = service.work_dir / "workers"
    wait_for(lambda: list(folders.glob("*/input/upload")))
    upload = next(folders.glob("*/input/upload"))
    found: list[int] = []

    def reads_it() -> bool:
        for pid in service.descendants():
            # Files are opened and closed meanwhile, and processes end.
            with suppress(OSError):
                descriptors = Path(f"/proc/{pid}/fd").iterdir()
                found.extend(pid for each in descriptors if each.readlink() == upload)
        return bool(found)

    wait_for(reads_it)
    return found[0]


def is_alive(pid: int) -> bool:
    """Return whether a process still runs and is no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
