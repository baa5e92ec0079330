"""Spans of requests, jobs and stages, recorded with OpenTelemetry's SDK (the extra `otel`)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags
from starlette.datastructures import Headers

from convlast.version import __version__
from service.jobs.tracing.job_trace import JobEnd, JobTrace
from service.jobs.tracing.traceparent import Traceparent
from service.telemetry.traces import Traces
from service.threads import in_daemon

STOP_S = 3.0
"""How long the process waits at its end for a collector to take the last spans."""

MOST_STAGES = 200
"""The most stages of a job that become spans: a worker may tell of any number."""

_PREFIX = "convlast."
_HIDDEN = ("url.path", "url.query", "http.request.method_original")
"""Attributes of FastAPI's spans that clients write: `curl -T` appends a file's name to the path.
`http.route` and the id of the job say where a request went."""
_NS = 1_000_000_000


def exported() -> SpanTraces:
    """Return traces that are sent as OpenTelemetry's variables say."""
    own = {"service.name": "convlast", "service.version": __version__}
    resource = Resource.create(own).merge(OTELResourceDetector().detect())
    # Nothing waits for it at exit, see `SpanTraces.stop`.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return SpanTraces(provider)


class SpanTraces(Traces):
    """Traces that are recorded. No method waits for a collector."""

    def __init__(self, provider: TracerProvider) -> None:
        """Record with this provider, which is shut down with the service."""
        provider.add_span_processor(_Discretion())
        self._provider = provider
        self._tracer = provider.get_tracer("convlast", __version__)

    def of_fastapi(self, untraced: Collection[str]) -> dict[str, Any]:
        """Return the arguments that make FastAPI record a span for each request."""
        return {
            "telemetry": {
                "tracer_provider": self._provider,
                "metrics": False,  # Prometheus has them
                "logs": False,
                "operation_spans": False,
                "auto_configure": False,
                "exclude": lambda scope: scope.get("path") in untraced,
            }
        }

    def current(self, headers: Headers) -> Traceparent | None:
        """Return the span of the request that is being answered; without one, the caller's."""
        return _named(trace.get_current_span()) or super().current(headers)

    def describe(self, attributes: Mapping[str, Any]) -> None:
        """Add attributes to the span of the request that is being answered."""
        trace.get_current_span().set_attributes(_told(attributes))

    def was_uploaded(self, seconds: float) -> None:
        """Record a span for an upload that has just ended."""
        now_ns = time.time_ns()
        began_ns = now_ns - round(seconds * _NS)
        self._tracer.start_span("upload", start_time=began_ns).end(now_ns)

    def joins(self, job: Traceparent | None) -> None:
        """Link this request to the one that its job came with."""
        if job is not None:
            trace.get_current_span().add_link(_context_of(job))

    def of_job(self, parent: str | None, attributes: Mapping[str, Any]) -> JobTrace:
        """Begin the span of a job, as a child of its request's, which may have ended long ago."""
        return _JobSpans(self._tracer, Traceparent.read(parent), attributes)

    async def stop(self) -> None:
        """Send the last spans, or give up after `STOP_S`."""
        await asyncio.wait({in_daemon("traces", self._provider.shutdown)}, timeout=STOP_S)


@dataclass
class _Stage:
    """A stage of a job, with its times in nanoseconds since 1970."""

    name: str
    began_ns: int
    ended_ns: int | None = None


class _JobSpans(JobTrace):
    """One run of a job, with a span, and one for each of its stages."""

    def __init__(
        self, tracer: trace.Tracer, parent: Traceparent | None, attributes: Mapping[str, Any]
    ) -> None:
        super().__init__(parent)
        self._tracer = tracer
        within = Context()
        if parent is not None:
            within = trace.set_span_in_context(NonRecordingSpan(_context_of(parent)), within)
        self._span = tracer.start_span("job", within, attributes=_told(attributes))
        self._stages: list[_Stage] = []
        self._told_ns = time.time_ns()

    @property
    def ids(self) -> dict[str, str]:
        """The fields of its lines in the log."""
        named = _named(self._span)
        return named.ids if named else super().ids

    def waits(self) -> None:
        """Begin the stage `queue`."""
        self._begin("queue", time.time_ns())

    def begins(self) -> None:
        """End the stage `queue`."""
        self._end_all(time.time_ns())

    def goes_on(self, stage: str, done: int, total: int) -> None:
        """Begin a stage, or end it."""
        now_ns = time.time_ns()
        running = self._running(stage)
        if running is None:
            # Told of only at its end: it began when the stage before it ended.
            running = self._begin(stage, now_ns if done < total else self._told_ns)
        if running is not None and done >= total:
            running.ended_ns = now_ns
        self._told_ns = now_ns

    def end(self, end: JobEnd) -> None:
        """Record the stages and the end of the job."""
        now_ns = time.time_ns()
        running = [stage for stage in self._stages if stage.ended_ns is None]
        self._end_all(now_ns)
        self._correct(end.seconds)
        within = trace.set_span_in_context(self._span, Context())
        for stage in self._stages:
            span = self._tracer.start_span(stage.name, within, start_time=stage.began_ns)
            if stage in running and end.state == "failed":
                _fail(span, end.code)
            span.end(stage.ended_ns)
        told = {"state": end.state, "code": end.code, **end.attributes}
        self._span.set_attributes(_told(told))
        if end.state == "failed":
            _fail(self._span, end.code)
        self._span.end(now_ns)

    def _running(self, name: str) -> _Stage | None:
        return next(
            (each for each in self._stages if each.name == name and not each.ended_ns), None
        )

    def _begin(self, name: str, began_ns: int) -> _Stage | None:
        if len(self._stages) >= MOST_STAGES:
            return None
        self._stages.append(_Stage(name, began_ns))
        return self._stages[-1]

    def _end_all(self, now_ns: int) -> None:
        for stage in self._stages:
            stage.ended_ns = stage.ended_ns or now_ns
        self._told_ns = now_ns

    def _correct(self, seconds: Mapping[str, float]) -> None:
        """Set ends as the worker has measured them: it tells of an end together with what follows.

        `report` is measured only, and follows the last stage.
        """
        names = [stage.name for stage in self._stages]
        for stage in self._stages:
            if stage.name in seconds and names.count(stage.name) == 1 and stage.ended_ns:
                measured_ns = stage.began_ns + round(seconds[stage.name] * _NS)
                stage.ended_ns = min(stage.ended_ns, measured_ns)
        if "report" in seconds and self._stages:
            last_ns = max(stage.ended_ns or 0 for stage in self._stages)
            report = self._begin("report", last_ns)
            if report is not None:
                report.ended_ns = last_ns + round(seconds["report"] * _NS)


class _Discretion(SpanProcessor):
    """Overwrites what a client has written into the attributes of a request."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Hide what may be the name of a file, or a key."""
        for name in _HIDDEN:
            if name in (span.attributes or {}):
                span.set_attribute(name, "REDACTED")


def _named(span: trace.Span) -> Traceparent | None:
    context = span.get_span_context()
    if not context.is_valid:
        return None
    return Traceparent(
        trace.format_trace_id(context.trace_id),
        trace.format_span_id(context.span_id),
        context.trace_flags.sampled,
    )


def _context_of(named: Traceparent) -> SpanContext:
    return SpanContext(
        int(named.trace_id, 16),
        int(named.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED if named.is_sampled else TraceFlags.DEFAULT),
    )


def _told(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes under this project's prefix, without those that are None."""
    return {f"{_PREFIX}{name}": value for name, value in attributes.items() if value is not None}


def _fail(span: trace.Span, code: str | None) -> None:
    span.set_attribute("error.type", code or "internal")
    span.set_status(Status(StatusCode.ERROR, code))
