"""Faults around the service process: full or missing disks, and slow clients."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.service.running import Running, Serve, wait_for

MIB = 1 << 20
HEAD = (
    b"POST /convert HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n%b\r\n"
)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 160 MiB, or skip if that is not allowed."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160m,mode=0700", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no small file system can be mounted here: that takes root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def chunks(size_bytes: int) -> Iterator[bytes]:
    """Yield a body, so that it has no Content-Length."""
    for _ in range(size_bytes // MIB):
        yield bytes(MIB)


def send(service: Running, size_bytes: int, accept: str = "application/zip") -> httpx.Response:
    """Send a checkpoint of this many zero bytes."""
    headers = {"Content-Type": "application/octet-stream", "Accept": accept}
    with service.client() as client:
        return client.post("/convert", content=chunks(size_bytes), headers=headers)


def is_idle(service: Running) -> bool:
    """Return whether no job takes a place, a byte of the quota, or a file."""
    names = ("convlast_places_taken", "convlast_downloads", "convlast_work_bytes")
    return not any(map(service.metric, names)) and not list((service.work_dir / "jobs").iterdir())


@pytest.mark.parametrize(
    ("size_bytes", "accept"),
    [
        (200 * MIB, "application/zip"),  # full during the upload
        (100 * MIB, "application/zip"),  # full while the worker writes
        (100 * MIB, "application/json"),
    ],
)
def test_a_full_disk_is_told_as_one(
    serve: Serve, small_disk: Path, size_bytes: int, accept: str
) -> None:
    """On a full disk the answer is 507, no file is left, and the next job runs."""
    service = serve(work_dir=small_disk / "work")
    answer = send(service, size_bytes, accept)
    assert answer.json()["code"] == "storage-full"
    assert str(small_disk) not in answer.text
    wait_for(lambda: is_idle(service))
    assert send(service, MIB, accept).status_code == 200


def test_a_file_that_may_not_grow_is_told_as_a_full_disk(serve: Serve) -> None:
    """A file beyond the process's size limit gives 507, and the service goes on."""
    service = serve()
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (8 * MIB, 8 * MIB))
    answer = send(service, 20 * MIB)
    assert answer.status_code == 507
    assert answer.json()["code"] == "storage-full"
    assert "ulimit -f" in answer.json()["detail"]
    wait_for(lambda: is_idle(service))
    assert send(service, MIB).status_code == 200


def test_a_disk_that_fills_up_is_not_ready(serve: Serve, small_disk: Path) -> None:
    """`/readyz` notices a full disk, and that it is free again."""
    service = serve(work_dir=small_disk / "work")
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb") as file:
        for chunk in chunks(200 * MIB):
            file.write(chunk)
    ready = httpx.get(f"{service.url}/readyz", trust_env=False)
    assert ready.json()["code"] == "not-ready"
    assert str(small_disk) not in ready.text
    assert send(service, MIB).json()["code"] == "storage-full"
    filler.unlink()
    assert httpx.get(f"{service.url}/readyz", trust_env=False).status_code == 200
    assert send(service, MIB).status_code == 200


def test_work_on_disk_is_bounded(serve: Serve) -> None:
    """An upload beyond the quota is refused, at its headers or while it is received."""
    service = serve(work_bytes=10 * MIB)
    assert service.convert(bytes(6 * MIB)).json()["code"] == "storage-full"
    refused = send(service, 6 * MIB)
    assert refused.json()["code"] == "storage-full"
    assert "CONVLAST_WORK_BYTES" in refused.json()["detail"]
    wait_for(lambda: is_idle(service))
    assert send(service, 4 * MIB).status_code == 200


def test_a_work_folder_that_is_deleted_is_made_again(serve: Serve) -> None:
    """A deleted work folder costs the stored jobs, and at most one running job."""
    service = serve()
    links = service.convert(b"fine", headers={"Accept": "application/json"}).json()["links"]
    shutil.rmtree(service.work_dir)
    # The folder of the idle worker is gone too, so the worker has to be replaced.
    first = service.convert(b"another")
    assert first.status_code == 200 or first.json()["code"] == "internal"
    assert str(service.work_dir) not in first.text
    answer = service.convert(b"a third", headers={"Accept": "application/json"})
    assert answer.status_code == 200
    with service.client() as client:
        assert client.get(links["artifact"]).json()["code"] == "not-found"
        assert client.get(answer.json()["links"]["artifact"]).content == b"a third"
        assert client.get("/readyz").status_code == 200
    assert (service.work_dir / "jobs").stat().st_mode & 0o777 == 0o700
    assert "made again" in service.log.read_text()


def test_a_part_of_the_work_folder_that_is_deleted_is_made_again(serve: Serve) -> None:
    """If only a part is deleted, the service's own lock does not stop the repair."""
    service = serve()
    shutil.rmtree(service.work_dir / "jobs")
    assert service.convert(b"fine").status_code == 200
    with service.client() as client:
        assert client.get("/readyz").status_code == 200


def test_a_job_whose_folder_is_deleted_is_a_failure_of_its_own(serve: Serve) -> None:
    """The answer contains no path, and the service goes on."""
    service = serve()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(service.convert, b"sleeps 1")
        wait_for(lambda: list((service.work_dir / "jobs").glob("*/upload")))
        shutil.rmtree(service.work_dir, ignore_errors=True)
        assert answer.result().json()["code"] == "internal"
    assert str(service.work_dir) not in answer.result().text
    wait_for(lambda: service.convert(b"fine").status_code == 200)


def test_a_slow_upload_holds_no_worker(serve: Serve) -> None:
    """During one client's slow upload the jobs of others run."""
    service = serve(queue_size=1)
    with service.connect() as slow:
        slow.sendall(HEAD % (4, b"") + b"f")
        wait_for(lambda: service.metric("convlast_places_taken") == 1)
        assert [service.convert(b"fine").status_code for _ in range(3)] == [200] * 3
        slow.sendall(b"ine")
        assert slow.recv(1 << 16).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("accept", [b"application/zip", b"application/octet-stream"])
def test_a_slow_download_holds_no_worker_and_no_place(serve: Serve, accept: bytes) -> None:
    """With a single place, the jobs of others run during one client's slow download."""
    service = serve(queue_size=0)
    with service.connect() as slow:
        slow.sendall(HEAD % (64 * MIB, b"Accept: " + accept + b"\r\n") + bytes(64 * MIB))
        assert slow.recv(1000).startswith(b"HTTP/1.1 200")
        assert service.metric("convlast_downloads") == 1
        assert [service.convert(b"fine").status_code for _ in range(3)] == [200] * 3
    wait_for(lambda: is_idle(service))


def test_downloads_are_bounded(serve: Serve) -> None:
    """At the limit of downloads, further downloads and uploads are refused."""
    service = serve(max_downloads=1)
    report = send(service, 64 * MIB, "application/json").json()
    link = report["links"]["artifact"]
    with service.connect() as slow:
        slow.sendall(b"GET " + link.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert slow.recv(1000).startswith(b"HTTP/1.1 200")
        with service.client() as client:
            refused = [client.get(each) for each in (link, report["links"]["junit"])]
        for answer in refused:
            assert answer.headers["convlast-verdict"] == "passed"
            assert answer.headers["convlast-job"] in link
        for answer in (*refused, service.convert(b"fine")):
            assert answer.json()["code"] == "queue-full"
            assert "CONVLAST_MAX_DOWNLOADS" in answer.json()["detail"]
            assert answer.headers["retry-after"]
    wait_for(lambda: is_idle(service))
    assert service.convert(b"fine").status_code == 200


def test_a_whole_download_has_its_time(serve: Serve) -> None:
    """A client that reads slowly cannot keep its files for ever."""
    service = serve(download_timeout_s=2)
    with service.connect() as slow:
        slow.sendall(HEAD % (64 * MIB, b"") + bytes(64 * MIB))
        assert slow.recv(1000).startswith(b"HTTP/1.1 200")
        wait_for(lambda: is_idle(service))


def test_one_client_does_not_take_all_places(serve: Serve, tmp_path: Path) -> None:
    """A key at its own limit is refused, and another key is served."""
    (tmp_path / "keys").write_text("alice:key-of-a\nbob:key-of-b\n")
    service = serve(api_keys_file=tmp_path / "keys", jobs_per_key=2, queue_size=8)
    alice, bob = ({"Authorization": f"Bearer key-of-{name}"} for name in "ab")
    with contextlib.ExitStack() as held:
        for _ in range(2):
            upload = held.enter_context(service.connect())
            upload.sendall(HEAD % (4, b"Authorization: Bearer key-of-a\r\n") + b"f")
        wait_for(lambda: service.metric("convlast_places_taken") == 2)
        refused = service.convert(b"fine", headers=alice)
        assert refused.json()["code"] == "too-many-requests"
        assert "CONVLAST_JOBS_PER_KEY" in refused.json()["detail"]
        assert service.convert(b"fine", headers=bob).status_code == 200


def test_an_address_of_someone_else_is_not_believed(serve: Serve) -> None:
    """Clients without a key are distinguished by address, not by what their headers say."""
    service = serve(jobs_per_key=1)
    with service.connect() as upload:
        upload.sendall(HEAD % (4, b"") + b"f")
        wait_for(lambda: service.metric("convlast_places_taken") == 1)
        refused = service.convert(b"fine", headers={"X-Forwarded-For": "192.0.2.1"})
        assert refused.json()["code"] == "too-many-requests"


def test_probes_answer_while_everything_is_busy(serve: Serve) -> None:
    """All probes answer while the worker, the queue and uploads are busy."""
    service = serve(queue_size=3)
    with ThreadPoolExecutor(2) as pool, contextlib.ExitStack() as held:
        running = [pool.submit(service.convert, b"sleeps 1") for _ in range(2)]
        for _ in range(2):
            held.enter_context(service.connect()).sendall(HEAD % (4, b"") + b"f")
        wait_for(lambda: service.metric("convlast_places_taken") == 4)
        assert service.convert(b"fine").json()["code"] == "queue-full"
        with service.client() as client:
            for path in ("/livez", "/readyz", "/metrics", "/version"):
                assert client.get(path).status_code == 200
        assert [each.result().status_code for each in running] == [200, 200]


def test_a_head_request_reads_no_file(serve: Serve) -> None:
    """HEAD of a large artifact does not read it."""
    service = serve()
    link = send(service, 64 * MIB, "application/json").json()["links"]["artifact"]
    sent_bytes = service.metric("convlast_sent_bytes_total")
    with service.client() as client:
        assert client.head(link).headers["content-length"] == str(64 * MIB)
    assert service.metric("convlast_sent_bytes_total") < sent_bytes + MIB
