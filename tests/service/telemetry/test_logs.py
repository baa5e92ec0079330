from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from tests.service.running import Running, Serve, wait_for

FULL = Path("/dev/full")


def workers_of(service: Running) -> set[int]:
    """Return the idle workers: each leads a session of its own."""
    return {pid for pid in service.descendants() if leads_a_session(pid)}


def leads_a_session(pid: int) -> bool:
    """Return whether a process exists and leads a session."""
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


def test_a_log_that_cannot_be_written_stops_nothing(serve: Serve) -> None:
    """With a full log disk, jobs, refusals and draining work, and dead workers are replaced."""
    service = serve(log=FULL, job_timeout_s=3)
    with service.client() as client:
        for content, status in [(b"fine", 200), (b"raises", 500), (b"hangs", 504), (b"fine", 200)]:
            answer = client.post("/convert", files={"checkpoint": ("m.pt", content)})
            assert answer.status_code == status
    wait_for(lambda: len(workers_of(service)) == 2)
    for pid in (killed := workers_of(service)):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: len(workers_of(service) - killed) == 2)
    assert service.stop() == 0


def test_each_line_is_one_json_object(serve: Serve) -> None:
    """Records of the service and of libraries have the same members."""
    service = serve()
    assert service.convert(b"raises").status_code == 500
    assert service.stop() == 0
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    assert all({"timestamp", "level", "event"} <= line.keys() for line in lines)
    events = {line["event"] for line in lines}
    assert {"job failed", "answered", "draining"} <= events
    assert any(event.startswith("Started server process") for event in events)
