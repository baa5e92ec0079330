"""A whole service that sends its traces to a collector, or to one that is not there."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.service.running import REAL, Running, Serve, wait_for
from tests.service.telemetry.collector import Collector, collecting

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACED = {"traceparent": f"00-{TRACE}-{SPAN}-01", "Accept": "application/json"}
SENT = "Bearer of-the-collector"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Run a collector that the services of this test know."""
    with collecting() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization={SENT}")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        yield running


def lines(service: Running) -> list[dict[str, Any]]:
    """Return the lines of the log."""
    return [json.loads(line) for line in service.log.read_text().splitlines()]


def environment_of(pid: int) -> bytes:
    """Return the environment of a process, as the kernel shows it."""
    return Path(f"/proc/{pid}/environ").read_bytes()


def test_a_request_and_its_job_are_one_trace(
    collector: Collector, serve: Serve, tmp_path: Path
) -> None:
    """The collector has both, the log and the report have the ids, and no worker has the key."""
    path = tmp_path / "patient.pt"
    torch.save({"conv.weight": torch.ones(4, 3, 3, 3, 3)}, path)
    service = serve(REAL, device="cpu")
    for pid in {service.process.pid, *service.descendants()}:
        environment = environment_of(pid)
        assert b"OTEL_" not in environment
        assert SENT.encode() not in environment
    answer = service.convert(path.read_bytes(), path.name, headers=TRACED, data={"smoke": "none"})
    assert answer.json()["trace_id"] == TRACE
    assert service.stop() == 0

    request, job = collector.named("POST /convert")[0], collector.named("job")[0]
    assert {span.trace_id for span in (request, job)} == {TRACE}
    assert (request.parent_id, job.parent_id) == (SPAN, request.span_id)
    assert {span.service_name for span in collector.spans} == {"convlast"}
    (upload,) = collector.named("upload")
    assert upload.parent_id == request.span_id
    stages = {span.name for span in collector.spans if span.parent_id == job.span_id}
    assert stages >= {"queue", "read", "write", "prove", "report"}
    assert job.attributes["convlast.job_id"] == answer.json()["job_id"]
    assert set(collector.authorization) == {SENT}
    assert "patient" not in str(collector.spans)

    spans_of = {line["event"]: line.get("span_id") for line in lines(service)}
    assert spans_of["answered"] == request.span_id
    assert spans_of["job begins"] == spans_of["job ended"] == job.span_id
    told = [line for line in lines(service) if line.get("job_id") == answer.json()["job_id"]]
    assert {line["trace_id"] for line in told} == {TRACE}


def test_a_second_request_for_a_job_is_linked_to_it(collector: Collector, serve: Serve) -> None:
    """It has a trace of its own; a bad `traceparent` begins one."""
    service = serve()
    first = service.convert(b"fine", headers=TRACED)
    again = service.convert(b"fine", headers={**TRACED, "traceparent": "00-nonsense"})
    assert first.json()["job_id"] == again.json()["job_id"]
    assert service.stop() == 0
    one, other = collector.named("POST /convert")
    assert (one.trace_id, one.links) == (TRACE, [])
    assert other.trace_id != TRACE
    assert other.links == [one.span_id]


def test_a_failure_is_an_error_with_its_code(collector: Collector, serve: Serve) -> None:
    """That of the job, and that of the request if the service is to blame."""
    service = serve()
    assert service.convert(b"crashes", headers=TRACED).status_code == 500
    assert service.stop() == 0
    error = 2
    for span in (*collector.named("POST /convert"), *collector.named("job")):
        assert span.status == error
        assert span.attributes["convlast.code"] == "worker-crashed"


def test_without_a_collector_the_callers_ids_are_in_the_log(serve: Serve) -> None:
    """And in the report, so that the trace of a gateway leads here."""
    service = serve()
    assert service.convert(b"fine", headers=TRACED).json()["trace_id"] == TRACE
    wait_for(lambda: any(line["event"] == "answered" for line in lines(service)))
    told = [line for line in lines(service) if "job_id" in line]
    assert {(line["trace_id"], line["span_id"]) for line in told} == {(TRACE, SPAN)}


@pytest.mark.parametrize("answers", [False, True], ids=["refuses", "hangs"])
def test_a_dead_collector_fails_nothing(
    answers: bool, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs are answered, and the process ends, while the collector still hangs."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        if answers:
            listening.listen(100)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "600")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
        service = serve()
        for number in range(3):
            assert service.convert(b"fine %d" % number, headers=TRACED).status_code == 200
        assert service.stop() == 0
