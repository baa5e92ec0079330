"""The spans of requests, jobs and stages, with an exporter in memory."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from convlast.errors import UnsafeCheckpointError
from service.app import create_app
from service.jobs.tracing.job_trace import JobEnd
from service.settings import Settings
from service.telemetry import spans
from service.telemetry.spans import MOST_STAGES, SpanTraces
from tests.service.jobs.boards import Board, FakeWorkers, Run, in_loop, left_by_a_crash, opened

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


class Recorded:
    """Traces that are kept in memory."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.traces = SpanTraces(provider)

    def named(self, name: str) -> ReadableSpan:
        """Return the only span of this name."""
        (found,) = [span for span in self.exporter.get_finished_spans() if span.name == name]
        return found

    async def until(self, name: str) -> None:
        """Wait until a span of this name has ended."""
        while name not in self.names:  # noqa: ASYNC110  # no event tells of it
            await asyncio.sleep(0.001)

    @property
    def names(self) -> list[str]:
        """The names of all spans, in the order of their ends."""
        return [span.name for span in self.exporter.get_finished_spans()]


@pytest.fixture
def recorded() -> Recorded:
    """Return traces that are kept in memory."""
    return Recorded()


def attributes(span: ReadableSpan) -> dict[str, object]:
    """Return the attributes of a span."""
    return dict(span.attributes or {})


def is_child(span: ReadableSpan, trace_id: str, parent_id: str) -> bool:
    """Return whether a span is the child of this one."""
    parent = span.parent
    return parent is not None and (f"{parent.trace_id:032x}", f"{parent.span_id:016x}") == (
        trace_id,
        parent_id,
    )


async def begun(board: Board, recorded: Recorded, *, durable: bool = False) -> Run:
    """Submit a job of a traced request, and let a worker begin."""
    board.jobs.runs.trace_of = recorded.traces.of_job
    await board.submitted(replace(board.wanted(durable=durable), traceparent=PARENT))
    run = await board.workers.next()
    await run.begin()
    return run


@in_loop
async def test_a_job_is_a_child_of_its_request(tmp_path: Path) -> None:
    """Its stages are children of it, between its start and its end."""
    recorded = Recorded()
    async with opened(tmp_path) as board:
        run = await begun(board, recorded)
        assert run.job.trace_id == TRACE
        run.listener.goes_on("write", 0, 10)
        run.listener.goes_on("write", 10, 10)
        run.listener.goes_on("prove", 0, 1)
        run.succeed()
        await recorded.until("job")
    job = recorded.named("job")
    assert is_child(job, TRACE, SPAN)
    assert recorded.names == ["queue", "write", "prove", "job"]
    assert job.context is not None
    stages = [recorded.named(name) for name in ("queue", "write", "prove")]
    assert all(is_child(stage, TRACE, f"{job.context.span_id:016x}") for stage in stages)
    inner = [edge for stage in stages for edge in (stage.start_time or 0, stage.end_time or 0)]
    edges = [job.start_time or 0, *inner, job.end_time or 0]
    assert edges == sorted(edges)
    told = attributes(job)
    assert (told["convlast.state"], told["convlast.verdict"]) == ("succeeded", "passed")
    assert job.status.status_code is StatusCode.UNSET


@in_loop
async def test_a_failure_has_its_code(tmp_path: Path) -> None:
    """The job and the stage that was running are errors; no name of a file is in any span."""
    recorded = Recorded()
    async with opened(tmp_path) as board:
        run = await begun(board, recorded)
        run.listener.goes_on("read", 0, 1)
        run.fail(UnsafeCheckpointError("The pickle asks for os.system.", names=["os.system"]))
        await recorded.until("job")
    for name in ("read", "job"):
        span = recorded.named(name)
        assert (span.status.status_code, span.status.description) == (
            StatusCode.ERROR,
            "unsafe-checkpoint",
        )
        assert attributes(span)["error.type"] == "unsafe-checkpoint"
    assert recorded.named("queue").status.status_code is StatusCode.UNSET
    told = "".join(span.to_json() for span in recorded.exporter.get_finished_spans())
    assert "m.pt" not in told
    assert "os.system" not in told


@in_loop
async def test_a_job_goes_on_in_its_trace_after_a_restart(tmp_path: Path) -> None:
    """What crashed sent nothing; the run after it is a child of the same request."""
    before, after = Recorded(), Recorded()
    async with opened(tmp_path / "a") as board:
        await begun(board, before, durable=True)
        left = left_by_a_crash(board)
    assert attributes(before.named("job"))["convlast.state"] == "suspended"
    again = Board(left, FakeWorkers(is_prompt=True))
    again.jobs.runs.trace_of = after.traces.of_job
    await again.jobs.start()
    await again.jobs.none_runs()
    await again.jobs.stop()
    again.workspace.close()
    job = after.named("job")
    assert is_child(job, TRACE, SPAN)
    assert attributes(job)["convlast.attempts"] == 2


def test_a_job_without_a_request_begins_a_trace(recorded: Recorded) -> None:
    """Its lines in the log have its own ids."""
    job = recorded.traces.of_job("nonsense", {"bytes": 4, "verb": None})
    job.end(JobEnd("cancelled"))
    span = recorded.named("job")
    assert span.parent is None
    assert span.context is not None
    assert job.ids == {
        "trace_id": f"{span.context.trace_id:032x}",
        "span_id": f"{span.context.span_id:016x}",
    }
    assert attributes(span) == {"convlast.bytes": 4, "convlast.state": "cancelled"}


def test_a_trace_that_its_caller_does_not_record_is_not_sent(recorded: Recorded) -> None:
    """The ids are in the log all the same."""
    job = recorded.traces.of_job(PARENT[:-1] + "0", {})
    job.end(JobEnd("succeeded"))
    assert recorded.names == []
    assert job.ids["trace_id"] == TRACE


def test_a_worker_cannot_make_any_number_of_spans(recorded: Recorded) -> None:
    """A compromised one may tell of stages without end."""
    job = recorded.traces.of_job(PARENT, {})
    for number in range(2 * MOST_STAGES):
        job.goes_on(f"stage-{number}", 0, 1)
    job.end(JobEnd("succeeded", seconds={"report": 1.0}))
    assert len(recorded.names) == MOST_STAGES + 1


def test_a_stage_ends_when_the_worker_measured_it(recorded: Recorded) -> None:
    """Its end is told late, and the writing of the report is only measured."""
    job = recorded.traces.of_job(PARENT, {})
    job.goes_on("smoke", 0, 1)
    job.end(JobEnd("succeeded", seconds={"smoke": 0.0, "report": 0.5}))
    smoke, report = recorded.named("smoke"), recorded.named("report")
    assert smoke.start_time == smoke.end_time == report.start_time
    assert (report.end_time or 0) - (report.start_time or 0) == 500_000_000


@in_loop
async def test_a_request_is_a_span_without_what_the_client_wrote(tmp_path: Path) -> None:
    """`curl -T` appends a file's name to the path; probes have no span."""
    recorded = Recorded()
    workers = FakeWorkers()
    app = create_app(
        Settings(work_dir=tmp_path, device="cpu"),
        converters=workers,
        inspectors=workers,
        traces=recorded.traces,
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.get("/convert/patient.pt?key=k3y", headers={"traceparent": PARENT})
        await client.get("/livez")
    app.state.context.workspace.close()
    assert answer.status_code == 404
    (span,) = recorded.exporter.get_finished_spans()
    assert is_child(span, TRACE, SPAN)
    assert "patient" not in span.to_json()
    assert "k3y" not in span.to_json()
    told = attributes(span)
    assert told["convlast.code"] == "not-found"
    assert told["convlast.request_id"] == answer.headers["x-request-id"]
    assert span.status.status_code is StatusCode.UNSET


@in_loop
async def test_the_end_does_not_wait_for_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes nothing is given up after a short time."""
    monkeypatch.setattr(spans, "STOP_S", 0.01)
    is_over = threading.Event()

    class Hangs(SpanProcessor):
        def shutdown(self) -> None:
            is_over.wait()

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Hangs())
    await SpanTraces(provider).stop()
    assert not is_over.is_set()
    is_over.set()
