"""Gives every request an id, and logs and counts it when it ends."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import replace

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.connection.limit import PROBES
from service.errors import InternalError
from service.problems import CODE_KEY, JOB_KEY, Problem
from service.telemetry.metrics import Metrics

REQUEST_ID = "X-Request-ID"

_USABLE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = structlog.get_logger()


class Observation:
    """Middleware that sees each request from its first to its last byte."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and watch it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if _USABLE_ID.fullmatch(given) else secrets.token_hex(8)
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            observed = _ObservedRequest(scope, receive, send, request_id, self.metrics)
            try:
                await self.app(scope, observed.receive, observed.send)
            except Exception as error:
                await observed.fail(error)
            finally:
                observed.close()


class _ObservedRequest:
    """One request under observation."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, request_id: str, metrics: Metrics
    ) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._request_id, self._metrics = request_id, metrics
        self._began_s = time.perf_counter()
        self._status = 0
        self._in_bytes = self._out_bytes = 0
        self._outcome = "answered"

    async def receive(self) -> Message:
        message = await self._receive()
        self._in_bytes += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            MutableHeaders(scope=message)[REQUEST_ID] = self._request_id
        self._out_bytes += len(message.get("body", b""))
        await self._send(message)

    async def fail(self, error: Exception) -> None:
        """Answer with a problem; if an answer has begun, the connection is cut off instead."""
        if self._status and isinstance(error, TimeoutError):
            self._outcome = "client takes nothing"
            return
        _log.error("request failed", exc_info=error)
        problem = replace(
            Problem.of(InternalError("The request failed.")), job_id=self._scope.get(JOB_KEY)
        )
        self._scope[CODE_KEY] = problem.code
        if not self._status:
            await problem.response()(self._scope, self.receive, self.send)

    def close(self) -> None:
        """Log and count."""
        route = getattr(self._scope.get("route"), "path", "unmatched")
        code = self._scope.get(CODE_KEY, "none")
        method = self._scope["method"]
        self._metrics.received_bytes.inc(self._in_bytes)
        self._metrics.sent_bytes.inc(self._out_bytes)
        self._metrics.requests.labels(_known(method), route, str(self._status), code).inc()
        # Probes come every few seconds, and are logged only when they fail.
        job = {"job_id": self._scope[JOB_KEY]} if JOB_KEY in self._scope else {}
        log = _log.debug if route in PROBES and self._status == 200 else _log.info
        log(
            self._outcome,
            method=_known(method),
            route=route,
            status=self._status,
            code=code,
            received_bytes=self._in_bytes,
            sent_bytes=self._out_bytes,
            seconds=round(time.perf_counter() - self._began_s, 4),
            **job,
        )


def _known(method: str) -> str:
    """Return the method, or `other`: each label value costs memory, and clients choose it."""
    return method if method in {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"} else "other"
