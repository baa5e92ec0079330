"""What the log and the metrics tell the person on call."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.service.running import Running, Serve, wait_for

KEY = "a-key-of-alice"


def lines(service: Running, event: str) -> list[dict[str, Any]]:
    """Return the lines of an event."""
    logged = [json.loads(line) for line in service.log.read_text().splitlines()]
    return [line for line in logged if line["event"] == event]


def line(service: Running, event: str) -> dict[str, Any]:
    """Wait for the only line of an event."""
    wait_for(lambda: lines(service, event))
    (found,) = lines(service, event)
    return found


def with_key(serve: Serve, folder: Path, **settings: object) -> Running:
    """Start a service that Alice has a key of."""
    keys = folder / "keys"
    keys.write_text(f"alice:{KEY}\n")
    keys.chmod(0o600)
    return serve(api_keys_file=keys, **settings)


def convert(service: Running, content: bytes, **more: Any) -> int:
    """Send a checkpoint with Alice's key, and return the status."""
    headers = {"Authorization": f"Bearer {KEY}"}
    return service.convert(content, headers=headers, **more).status_code


def test_the_start_tells_versions_limits_and_walls(serve: Serve) -> None:
    """One line says what starts, and one what is ready, on which devices, behind which walls."""
    service = serve(revision="abc123")
    start, ready = line(service, "starting"), line(service, "ready")
    assert start["revision"] == "abc123"
    assert start["limits"]["queue_size"] == 32
    assert start["keys"].startswith("none")
    assert ready["devices"] == ["cpu"]
    assert "calls" in [*ready["walls"], *ready["missing_walls"]]


def test_a_job_has_one_line(serve: Serve, tmp_path: Path) -> None:
    """It names the key, the client, the bytes, the options that differ, and the verdict."""
    service = with_key(serve, tmp_path)
    assert convert(service, b"fine", data={"smoke": "none"}) == 200
    told = line(service, "job ended")
    assert told["level"] == "info"
    assert (told["key"], told["client"], told["state"]) == ("alice", "alice", "succeeded")
    assert (told["bytes"], told["options"]) == (4, {"smoke": "none"})
    assert told["sha256"] == hashlib.sha256(b"fine").hexdigest()[:12]
    assert told["verdict"] == "passed"
    assert told["stages_s"].keys() >= {"upload", "queue", "convert"}
    answered = line(service, "answered")
    assert (answered["key"], answered["client"]) == ("alice", "127.0.0.1")
    assert answered["job_id"] == told["job_id"]


def test_a_worker_that_crashed_is_an_error_with_its_signal(serve: Serve, tmp_path: Path) -> None:
    """The line of the job says how its process has ended, and in which stage."""
    service = with_key(serve, tmp_path)
    assert convert(service, b"crashes") == 500
    told = line(service, "job ended")
    assert (told["level"], told["code"], told["key"]) == ("error", "worker-crashed", "alice")
    assert (told["ended_with"], told["stage"]) == ("SIGSEGV", "read")
    assert line(service, "answered")["level"] == "error"


def test_a_job_that_took_too_long_is_an_error(serve: Serve) -> None:
    """The code and the stage say why."""
    service = serve(job_timeout_s=3)
    assert service.convert(b"hangs").status_code == 504
    told = line(service, "job ended")
    assert (told["level"], told["code"], told["stage"]) == ("error", "timed-out", "read")


def test_a_refused_file_is_no_error_of_the_service(serve: Serve) -> None:
    """A file that the client must mend is logged as information."""
    service = serve()
    assert service.convert(b"refuses").status_code == 422
    told = line(service, "job ended")
    assert (told["level"], told["code"]) == ("info", "unsafe-checkpoint")


def test_a_download_that_was_cut_is_not_an_answer(serve: Serve) -> None:
    """It is logged and counted as 499, with the bytes that were sent."""
    service = serve()
    content = b"fine " + bytes(64 << 20)
    head = (
        "POST /convert HTTP/1.1\r\nHost: localhost\r\nAccept: application/octet-stream\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    with service.connect() as connection:
        connection.sendall(head.encode() + content)
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
    told = line(service, "client left")
    assert told["status"] == 499
    assert told["sent_bytes"] < len(content)
    counted = 'convlast_requests_total{code="none",method="POST",route="/convert",status="499"} 1.0'
    with service.client() as client:
        assert counted in client.get("/metrics").text


def test_a_bad_key_is_told_with_the_address(serve: Serve, tmp_path: Path) -> None:
    """The line names the client's address and the code, and never the key."""
    service = with_key(serve, tmp_path)
    answer = service.convert(b"fine", headers={"Authorization": "Bearer wrong-key-of-eve"})
    assert answer.status_code == 401
    told = line(service, "answered")
    assert (told["code"], told["client"]) == ("unauthorized", "127.0.0.1")
    assert "wrong-key" not in service.log.read_text()


def test_probes_are_told_only_at_debug(serve: Serve) -> None:
    """At the usual level a probe leaves no line, and at debug one."""
    service = serve(log_level="debug")
    wait_for(lambda: lines(service, "answered"))
    probes = [told for told in lines(service, "answered") if told["route"] == "/readyz"]
    assert {told["level"] for told in probes} == {"debug"}


def test_the_drain_has_no_request_of_its_own(serve: Serve) -> None:
    """The line has no request's id, though the signal came while one was served."""
    service = serve()
    with service.client() as client:
        client.post("/convert", files={"checkpoint": ("m.pt", b"fine")})
        assert service.stop() == 0
    assert "request_id" not in line(service, "draining")


def test_the_metrics_tell_how_a_job_and_its_worker_ended(serve: Serve) -> None:
    """A crash and a timeout are counted by code and cause, and their stages are timed."""
    service = serve(job_timeout_s=3)
    for content in (b"crashes", b"hangs"):
        service.convert(content)
    told = metrics(service)
    ended = 'convlast_jobs_ended_total{{code="{}",state="failed",verb="convert",verdict="none"}}'
    ends = 'convlast_worker_ends_total{{cause="{}",device="cpu",workers="converters"}}'
    assert told[ended.format("worker-crashed")] == told[ended.format("timed-out")] == 1
    assert told[ends.format("crashed")] == told[ends.format("timed-out")] == 1
    assert told['convlast_stage_seconds_sum{stage="read",verb="convert"}'] > 0.4
    assert told['convlast_job_duration_seconds_count{state="failed",verb="convert"}'] == 2
    assert told['convlast_request_duration_seconds_count{method="POST",route="/convert"}'] == 2


def test_each_use_has_its_limit(serve: Serve) -> None:
    """Beside each bounded number is its bound, and the service is ready and does not drain."""
    told = metrics(serve(queue_size=5, workers=1, max_connections=77, work_bytes=1 << 30))
    assert told["convlast_places_limit"] == 6
    assert told["convlast_connections"] >= 1
    assert told["convlast_connections_limit"] == 77
    assert told["convlast_work_limit_bytes"] == 1 << 30
    assert 0 < told["convlast_disk_free_bytes"] <= told["convlast_disk_size_bytes"]
    assert (told["convlast_ready"], told["convlast_draining"]) == (1, 0)


def test_a_request_that_never_reached_the_application_is_counted(serve: Serve) -> None:
    """A head that cannot be read is a refused request."""
    service = serve()
    with service.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 400"
    labels = '{code="malformed-request",method="other",route="unmatched",status="400"}'
    assert metrics(service)[f"convlast_requests_total{labels}"] == 1


def metrics(service: Running) -> dict[str, float]:
    """Return the value of each time series, by its name with its labels."""
    with service.client() as client:
        text = client.get("/metrics").text
    rows = (row.rpartition(" ") for row in text.splitlines() if not row.startswith("#"))
    return {name: float(value) for name, _, value in rows}
