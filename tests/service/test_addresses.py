"""A service that fetches checkpoints from stores, and delivers its results to them."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.running import Running, Serve, descendants_of, served, wait_for
from tests.service.transfers.web_store import WebStore

SECRET = "marker-secret-51c0"  # noqa: S105  # of nothing
CONTENT = b"counts 0.2 " + bytes(1 << 20)


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebStore]:
    """Run a server of files, whose certificate the services of these tests trust."""
    store = WebStore(tmp_path_factory.mktemp("web"))
    with pytest.MonkeyPatch.context() as environment, store.running():
        environment.setenv("SSL_CERT_FILE", str(store.certificate.file))
        yield store


@pytest.fixture
def web(trusted: WebStore) -> WebStore:
    """Have one file on that server."""
    trusted.begin_anew({"/m.pt": CONTENT})
    return trusted


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder for results."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def fetching(
    trusted: WebStore, results: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """Run a service that fetches from that server, and from a bucket."""
    settings: dict[str, Any] = {
        **trusted.settings,
        "sources": f"{trusted.url}/,s3://bucket/",
        "targets": f"file://{results}/",
        "max_upload_bytes": 2 << 20,
        "work_bytes": 3 << 20,
    }
    with served(tmp_path_factory.mktemp("fetching"), **settings) as running:
        yield running


def asks(service: Running, members: Mapping[str, object], **headers: str) -> httpx.Response:
    """Ask for a conversion of what is at an address."""
    with service.client() as client:
        return client.post("/convert", json=members, headers=headers)


def followed(service: Running, job: str) -> dict[str, object]:
    """Wait for the end of a job, and return its status."""
    with service.client() as client:
        status: dict[str, object] = {}
        while not status.get("finished_at"):
            status = client.get(f"{job}?wait=10").json()
        return status


@contextmanager
def half_fetched(service: Running, web: WebStore) -> Iterator[str]:
    """Submit a job whose checkpoint comes slowly, and yield its path when it is half here."""
    web.is_slow = True
    job = asks(service, {"source": f"{web.url}/m.pt"}, Prefer="respond-async").json()
    assert web.halves.acquire(timeout=20)
    yield job["links"]["self"]
    web.is_slow = False
    web.go_on.set()


def test_a_presigned_address_is_fetched(fetching: Running, web: WebStore) -> None:
    """Its query reaches the server, and neither the client nor the log."""
    service = fetching
    source = f"{web.url}/m.pt?X-Amz-Signature={SECRET}"
    answer = asks(service, {"source": source}, Accept="application/json")
    assert answer.status_code == 200, answer.text
    assert answer.json()["input"]["bytes"] == len(CONTENT)
    assert "download;dur=" in answer.headers["server-timing"]
    assert all(SECRET in path for path in web.asked)
    job = asks(service, {"source": source}, Prefer="respond-async").json()
    status = followed(service, job["links"]["self"])
    assert status["state"] == "succeeded"
    missing = asks(service, {"source": source.replace("m.pt", "none.pt")})
    assert missing.json()["code"] == "source-not-found"
    texts = [answer.text, json.dumps(job), json.dumps(status), missing.text]
    assert all(SECRET not in text for text in [*texts, service.log.read_text()])


def test_a_redirect_is_not_followed(fetching: Running, web: WebStore) -> None:
    """Neither to another host, nor to one that is allowed."""
    service = fetching
    web.moved["/moved.pt"] = f"{web.url}/m.pt"
    answer = asks(service, {"source": f"{web.url}/moved.pt"})
    assert answer.json()["code"] == "store-unavailable"
    assert web.asked == ["/moved.pt"]


def test_a_private_network_is_closed(serve: Serve, web: WebStore) -> None:
    """Unless the operator opens it, no connection is made, though the host itself is allowed."""
    service = serve(sources=f"{web.url}/,https://169.254.169.254/,https://2130706433/")
    for host in (web.url, "https://169.254.169.254", "https://2130706433"):
        answer = asks(service, {"source": f"{host}/m.pt"})
        assert answer.json()["code"] == "address-not-allowed", host
        assert answer.status_code == 403
    assert web.asked == []


def test_a_download_can_be_followed_and_cancelled(fetching: Running, web: WebStore) -> None:
    """Its events tell how far it is, and it has stopped when its client is told."""
    service = fetching
    with half_fetched(service, web) as job, service.client() as client:
        progress = client.get(job).json()["progress"]
        assert (progress["stage"], progress["unit"]) == ("download", "bytes")
        with client.stream("GET", f"{job}/events") as events:
            lines = (line for line in events.iter_lines() if line.startswith("data: "))
            assert json.loads(next(lines)[6:])["progress"]["stage"] == "download"
        cancelled = client.delete(job)
        assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
        assert service.metric("convlast_work_bytes") == 0
        assert list((service.work_dir / "jobs").iterdir()) == []
        stages = cancelled.json()
        assert stages["input"]["sha256"] is None


def test_a_client_that_leaves_stops_the_download(fetching: Running, web: WebStore) -> None:
    """Nobody waits for it any more."""
    service = fetching
    web.is_slow = True
    body = json.dumps({"source": f"{web.url}/m.pt"}).encode()
    with service.connect() as connection:
        connection.sendall(
            b"POST /convert HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        assert web.halves.acquire(timeout=20)
    wait_for(lambda: service.metric("convlast_places_taken") == 0)
    wait_for(lambda: list((service.work_dir / "jobs").iterdir()) == [])


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_download_goes_on_after_a_restart(
    serve: Serve, web: WebStore, end: signal.Signals
) -> None:
    """A service that drains does not wait for it; one that is killed has lost nothing."""
    service = serve(**web.settings)
    with half_fetched(service, web) as job:
        service.process.send_signal(end)
        service.process.wait(20)
    again = serve(work_dir=service.work_dir, **web.settings)
    status = followed(again, job)
    assert (status["state"], status["attempts"]) == ("succeeded", 1)
    assert list((service.work_dir / "jobs").iterdir()) == []


def test_a_result_is_delivered_and_answered(
    fetching: Running, web: WebStore, results: Path
) -> None:
    """The answer is the report, whatever was accepted; the artifact is in its target alone."""
    service = fetching
    members = {"source": f"{web.url}/m.pt", "target": f"file://{results}/a/"}
    answer = asks(service, members)
    assert answer.headers["content-type"] == "application/json"
    artifact = answer.json()["artifact"]["filename"]
    assert (results / "a" / artifact).read_bytes() == CONTENT
    assert "deliver;dur=" in answer.headers["server-timing"]
    text = httpx.get(f"{service.url}/metrics", trust_env=False).text
    for stage in ("download", "deliver"):
        assert f'convlast_stage_seconds_count{{stage="{stage}",verb="convert"}}' in text


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("application/zip, text/markdown;q=0.5", "text/markdown; charset=utf-8"),
        ("application/octet-stream, application/xml;q=0.2", "application/xml; charset=utf-8"),
        ("application/zip, */*;q=0.1", "application/json"),
        ("application/zip", "application/json"),
        ("text/html", "text/html; charset=utf-8"),
    ],
)
def test_of_a_delivery_the_report_is_negotiated(
    fetching: Running, web: WebStore, results: Path, accept: str, media_type: str
) -> None:
    """The artifact is not here: who accepts another kind gets it, and nobody is refused."""
    members = {"source": f"{web.url}/m.pt", "target": f"file://{results}/b/"}
    answer = asks(fetching, members, accept=accept)
    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"source": "s3://other/m.pt"}, "address-not-allowed"),
        ({"source": "file:///etc/passwd"}, "address-not-allowed"),
        ({"source": "file:///allowed/../etc/passwd"}, "invalid-address"),
        ({"source": "https://user:password@localhost/m.pt"}, "invalid-address"),
        ({"source": "ftp://host/m.pt"}, "invalid-address"),
        ({"source": "s3://bucket-of-others/m.pt"}, "address-not-allowed"),
    ],
)
def test_a_wrong_address_is_refused_at_once(
    fetching: Running, members: dict[str, object], code: str
) -> None:
    """Before anything is fetched; what is refused is not repeated with its secrets."""
    answer = asks(fetching, members)
    assert answer.json()["code"] == code, answer.text
    assert "password@" not in answer.text
    assert answer.json()["address"]


@pytest.mark.parametrize(
    ("size_bytes", "code"),
    [(3 << 20, "upload-too-large"), (2 << 20, "storage-full"), (0, "not-a-checkpoint")],
)
def test_sizes_are_known_before_anything_is_fetched(
    fetching: Running, web: WebStore, size_bytes: int, code: str
) -> None:
    """A checkpoint that is too large, does not fit, or is empty is refused at once."""
    web.files["/m.pt"] = bytes(size_bytes)
    assert asks(fetching, {"source": f"{web.url}/m.pt"}).json()["code"] == code
    assert len(web.asked) == 1
    assert fetching.metric("convlast_work_bytes") == 0


def test_no_process_and_no_line_has_the_credentials(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the fork server, nor a worker, nor what is shown of the service itself."""
    names = ["AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "GOOGLE_SERVICE_ACCOUNT_KEY"]
    for name in names:
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "marker")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "m.pt").write_bytes(b"not a checkpoint")
    service = serve("service", sources=f"file://{folder}/", device="cpu", log_level="debug")
    assert asks(service, {"source": f"file://{folder}/m.pt"}).json()["code"] == "not-a-checkpoint"
    processes = descendants_of(service.process.pid)
    assert len(processes) >= 2  # the fork server, and a worker that waits
    for pid in (service.process.pid, *processes):
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert SECRET.encode() not in environment
        assert not any(name.encode() in environment for name in names)
    assert SECRET not in service.log.read_text()
