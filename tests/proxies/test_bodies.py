"""Uploads and downloads through nginx and Caddy: nothing is stored, cut or held back on the way."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.proxies.conftest import MAX_UPLOAD_BYTES, MIB, client_of
from tests.proxies.reverse_proxy import Kind, Proxy
from tests.service.running import Running, wait_for

pytestmark = pytest.mark.proxies

RAW = {"Content-Type": "application/octet-stream"}
ARTIFACT = {"Accept": "application/octet-stream", **RAW}
LARGE_BYTES = 85_000_000
"""More than all the buffers on the way together, so that a slow reader slows the service down."""

RATE_BYTES_PER_S = 5_000_000


def checkpoint(word: str, size_bytes: int = LARGE_BYTES) -> bytes:
    """Return a checkpoint of the fake task."""
    return word.encode().ljust(size_bytes, b"x")


def read_slowly(answer: httpx.Response) -> Iterator[bytes]:
    """Read an answer at `RATE_BYTES_PER_S`."""
    began_s, taken_bytes = time.monotonic(), 0
    for piece in answer.iter_raw():
        taken_bytes += len(piece)
        yield piece
        time.sleep(max(0.0, began_s + taken_bytes / RATE_BYTES_PER_S - time.monotonic()))


def test_a_large_conversion_passes_whole_to_a_slow_reader(
    service: Running, proxies: dict[Kind, Proxy]
) -> None:
    """The service sends as the client takes: the proxy stores nothing, and no byte is missing."""
    content = checkpoint("fine for slow readers")

    def convert(proxy: Proxy) -> None:
        digest, taken_bytes, seen = hashlib.sha256(), 0, False
        with (
            client_of(proxy) as http,
            http.stream("POST", "/convert", content=content, headers=ARTIFACT) as answer,
        ):
            assert answer.status_code == 200
            for piece in read_slowly(answer):
                digest.update(piece)
                taken_bytes += len(piece)
                if not seen and taken_bytes > len(content) // 2:
                    # The service is still at work: the other half is not stored on the way.
                    seen = service.metric("convlast_downloads") == len(proxies)
                    assert seen
                    assert proxy.stored_bytes() == 0
        assert digest.digest() == hashlib.sha256(content).digest()

    with ThreadPoolExecutor() as pool:
        [*pool.map(convert, proxies.values())]
    sent = [
        line
        for line in map(json.loads, service.log.read_text().splitlines())
        if line["event"] == "answered" and line.get("sent_bytes") == len(content)
    ]
    assert [line["status"] for line in sent] == [200, 200]


def test_an_upload_reaches_the_service_while_it_is_sent(service: Running, proxy: Proxy) -> None:
    """The service knows of it before it is whole: the proxy stores nothing."""
    content = checkpoint("fine, half by half", 4 * MIB)
    head = (
        f"POST /convert HTTP/1.1\r\nHost: localhost:{proxy.port}\r\nConnection: close\r\n"
        "Accept: application/octet-stream\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    with proxy.connect() as connection:
        connection.sendall(head.encode() + content[: 3 * MIB])
        wait_for(lambda: service.metric("convlast_places_taken") == 1)
        assert proxy.stored_bytes() == 0
        connection.sendall(content[3 * MIB :])
        answer = b"".join(iter(lambda: connection.recv(MIB), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(content)


def test_an_upload_without_a_length_passes(http: httpx.Client) -> None:
    """A client may send in pieces, as curl does with a pipe."""
    pieces = (checkpoint("fine in pieces", MIB) for _ in range(4))
    answer = http.post("/convert", content=pieces, headers=ARTIFACT)
    assert (answer.status_code, len(answer.content)) == (200, 4 * MIB)


def test_part_of_an_artifact_can_be_fetched(http: httpx.Client) -> None:
    """A download that was cut goes on where it ended, as the client and curl do."""
    report = http.post(
        "/convert",
        content=checkpoint("fine in parts", MIB),
        headers={"Accept": "application/json", **RAW},
    ).json()
    whole = http.get(report["links"]["artifact"])
    part = http.get(report["links"]["artifact"], headers={"Range": f"bytes={MIB // 2}-"})
    assert (whole.status_code, part.status_code) == (200, 206)
    assert part.content == whole.content[MIB // 2 :]


@pytest.mark.parametrize("has_length", [True, False], ids=["told before", "found out"])
def test_a_file_that_is_too_large_is_refused_by_the_service(
    proxy: Proxy, tmp_path: Path, has_length: bool
) -> None:
    """413 comes during the upload, whole, with the words of the service and not the proxy's."""
    source = tmp_path / "model.pt"
    with source.open("wb") as file:
        file.truncate(MAX_UPLOAD_BYTES + 32 * MIB)
    chunked = [] if has_length else ["-H", "Transfer-Encoding: chunked"]
    status, problem = send_by_curl(proxy, source, *chunked)
    assert (status, problem["code"]) == (413, "upload-too-large")


def test_a_refusal_during_an_upload_arrives(proxy: Proxy, tmp_path: Path) -> None:
    """A wrong key is told before the file is sent, and the answer is whole."""
    source = tmp_path / "model.pt"
    source.write_bytes(checkpoint("fine"))
    wrong = ("-H", "Authorization: Bearer a-wrong-key")
    status, problem = send_by_curl(proxy, source, *wrong, rate="2M")
    assert (status, problem["code"]) == (401, "unauthorized")


def send_by_curl(
    proxy: Proxy, source: Path, *more: str, rate: str | None = None
) -> tuple[int, dict[str, object]]:
    """Convert a file by curl, which reads while it sends, and return the status and the problem.

    With HTTP/2 the body of a refusal may be lost; see docs/proxies.md.
    """
    paced = ["--limit-rate", rate] if rate else []
    done = subprocess.run(
        [
            "curl", "-sS", "--http1.1", "--cacert", str(proxy.certificate.file), *paced,
            "--noproxy", "*", "-H", "Expect:", "-H", "Content-Type: application/octet-stream",
            *more, "--data-binary", f"@{source}", "-w", "\n%{http_code}", f"{proxy.url}/convert",
        ],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body)


def test_who_leaves_during_an_upload_is_told_to_the_service(service: Running, proxy: Proxy) -> None:
    """The service frees the place as soon as the client has disconnected."""
    head = (
        f"POST /convert HTTP/1.1\r\nHost: localhost:{proxy.port}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {64 * MIB}\r\n\r\n"
    )
    before = left(service)
    with proxy.connect() as connection:
        connection.sendall(head.encode() + b"x" * MIB)
        wait_for(lambda: service.metric("convlast_places_taken") == 1)
    wait_for(lambda: left(service) == before + 1)
    wait_for(lambda: service.metric("convlast_places_taken") == 0)


def test_who_leaves_while_a_job_runs_is_told_to_the_service(service: Running, proxy: Proxy) -> None:
    """The service stops the job, and counts the request as 499."""
    content = f"hangs for {proxy.kind}".encode()
    head = (
        f"POST /convert HTTP/1.1\r\nHost: localhost:{proxy.port}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    before = left(service)
    with proxy.connect() as connection:
        connection.sendall(head.encode() + content)
        wait_for(lambda: service.metric("convlast_work_bytes") > 0)
    wait_for(lambda: left(service) == before + 1)
    wait_for(lambda: service.metric("convlast_work_bytes") == 0)


def test_who_leaves_during_a_download_is_told_to_the_service(
    service: Running, proxy: Proxy
) -> None:
    """The request is counted as 499, since not all of the answer was sent."""
    before = left(service)
    with (
        client_of(proxy) as http,
        http.stream("POST", "/convert", content=checkpoint("fine"), headers=ARTIFACT) as answer,
    ):
        next(answer.iter_raw())
    wait_for(lambda: left(service) == before + 1)


def left(service: Running) -> float:
    """Return how many requests for a conversion were counted as 499."""
    text = httpx.get(f"{service.url}/metrics", trust_env=False).text
    return sum(
        float(line.split()[-1])
        for line in text.splitlines()
        if line.startswith("convlast_requests_total") and 'status="499"' in line
    )
