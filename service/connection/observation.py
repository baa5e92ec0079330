"""Gives every request an id, and logs and counts it when it ends."""

from __future__ import annotations

import logging
import re
import secrets
import time

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.connection.limit import PROBES
from service.errors import InternalError
from service.problems import CLIENT_LEFT, CODE_KEY, JOB_KEY, OWNER_KEY, Problem
from service.telemetry.metrics import Metrics
from service.telemetry.traces import Traces

REQUEST_ID = "X-Request-ID"

_USABLE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TOLD = {OWNER_KEY: "key", JOB_KEY: "job_id"}
"""Keys of a request's scope that its line has, and their names there."""

_TRACED = {CODE_KEY: "code", JOB_KEY: "job_id"}
"""Keys of a request's scope that its span has, and their names there."""

_log = structlog.get_logger()


class Observation:
    """Middleware that sees each request from its first to its last byte."""

    def __init__(self, app: ASGIApp, metrics: Metrics, traces: Traces) -> None:
        self.app = app
        self.metrics, self.traces = metrics, traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and watch it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get(REQUEST_ID, "")
        request_id = given if _USABLE_ID.fullmatch(given) else secrets.token_hex(8)
        current = self.traces.current(headers)
        ids = {"request_id": request_id, **(current.ids if current else {})}
        with structlog.contextvars.bound_contextvars(**ids):
            observed = _ObservedRequest(scope, receive, send, request_id, self)
            try:
                await self.app(scope, observed.receive, observed.send)
            except Exception as error:
                await observed.fail(error)
            finally:
                observed.close()


class _ObservedRequest:
    """One request under observation."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, request_id: str, observer: Observation
    ) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._request_id, self._metrics = request_id, observer.metrics
        self._traces = observer.traces
        self._began_s = time.perf_counter()
        self._status = 0
        self._in_bytes = self._out_bytes = 0
        self._outcome = "answered"
        self._is_whole = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._in_bytes += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            MutableHeaders(scope=message)[REQUEST_ID] = self._request_id
            self._describe()
        self._out_bytes += len(message.get("body", b""))
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._is_whole = True

    def _describe(self) -> None:
        """Describe the request in its span, which ends with the last byte of the answer."""
        told = {name: self._scope.get(key) for key, name in _TRACED.items()}
        self._traces.describe({"request_id": self._request_id, **told})

    async def fail(self, error: Exception) -> None:
        """Answer with a problem; if an answer has begun, the connection is cut off instead."""
        if self._status and isinstance(error, TimeoutError):
            self._outcome, self._status = "client takes nothing", CLIENT_LEFT
            return
        _log.error("request failed", exc_info=error)
        problem = Problem.of(InternalError("The request failed.")).to(self._scope)
        self._scope[CODE_KEY] = problem.code
        if self._status:
            self._outcome, self._status = "broken off", 500
        else:
            await problem.response()(self._scope, self.receive, self.send)

    def close(self) -> None:
        """Log and count."""
        if self._status and not self._is_whole and self._outcome == "answered":
            # The status of the answer says nothing of that.
            self._outcome, self._status = "client left", CLIENT_LEFT
        route = getattr(self._scope.get("route"), "path", "unmatched")
        code = self._scope.get(CODE_KEY, "none")
        method = self._scope["method"]
        self._metrics.received_bytes.inc(self._in_bytes)
        self._metrics.sent_bytes.inc(self._out_bytes)
        seconds = time.perf_counter() - self._began_s
        self._metrics.requests.labels(_known(method), route, str(self._status), code).inc()
        self._metrics.request_s.labels(_known(method), route).observe(seconds)
        client = self._scope.get("client")
        _log.log(
            self._level(route),
            self._outcome,
            method=_known(method),
            route=route,
            status=self._status,
            code=code,
            client=client[0] if client else None,
            received_bytes=self._in_bytes,
            sent_bytes=self._out_bytes,
            seconds=round(seconds, 4),
            **{name: self._scope[key] for key, name in _TOLD.items() if key in self._scope},
        )

    def _level(self, route: str) -> int:
        """Return the level of its line; probes come every few seconds, and tell nothing new."""
        if route in PROBES:
            return logging.DEBUG
        return logging.ERROR if self._status >= 500 else logging.INFO


def _known(method: str) -> str:
    """Return the method, or `other`: each label value costs memory, and clients choose it."""
    return method if method in {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"} else "other"
