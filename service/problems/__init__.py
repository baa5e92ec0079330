"""Errors as clients get them: `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from convlast.errors import ConvlastError, VerificationError
from convlast.report import Verdict
from service.errors import MalformedRequestError
from service.problems.table import TABLE as TABLE
from service.problems.table import WORKER_CODES as WORKER_CODES

MEDIA_TYPE = "application/problem+json"
CODE_KEY = "convlast.code"
"""The key of a problem's code in the scope of its request, for the log and the metrics."""
JOB_KEY = "convlast.job"
"""The key of the id of a job in the scope of its request, once the job has begun."""

OWNER_KEY = "convlast.owner"
"""The key of the owner of a request's key in the scope, for the log."""

ABOUT_KEY = "convlast.about"
"""The key of a function in the scope of a request that is about one job, once this is found. It
returns the fields of every answer about the job."""

JOB_FIELD, VERDICT_FIELD = "Convlast-Job", "Convlast-Verdict"
"""Fields of the answers about a job."""

CLIENT_LEFT = 499
"""The logged status of a request whose client has disconnected, as in nginx."""


_FIXED = ("type", "title", "status", "code", "detail", "request_id", "job_id")


@dataclass(frozen=True)
class Problem:
    """One error that is sent to a client.

    Attributes:
        code: The row of the table.
        detail: What is wrong with this request, and what to do.
        members: Further members, JSON-serialisable.
        report: A report as JSON text that the caller has parsed, if there is one.
        headers: Further fields of the response.
        job_id: The job, if it has begun.
    """

    code: str
    detail: str
    members: Mapping[str, Any] = field(default_factory=dict)
    report: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    job_id: str | None = None

    @classmethod
    def of(cls, error: ConvlastError) -> Problem:
        """Describe an error of the tree."""
        if error.code == "internal":
            return cls("internal", TABLE["internal"].example)
        return cls(error.code, str(error), error.details)

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Problem:
        """Read a problem that was written down."""
        members = {name: value for name, value in document.items() if name not in _FIXED}
        code = document["code"] if document["code"] in TABLE else "internal"
        return cls(code, document["detail"], members)

    def to(self, scope: Mapping[str, Any]) -> Problem:
        """Return it as the answer to a request, with what the scope of that tells of its job."""
        about: Callable[[], Mapping[str, str]] = scope.get(ABOUT_KEY, dict)
        return replace(self, job_id=scope.get(JOB_KEY), headers={**self.headers, **about()})

    def body(self) -> dict[str, Any]:
        """Return the members of the document, without the report."""
        row = TABLE[self.code]
        fixed = {
            "type": f"urn:convlast:problem:{self.code}",
            "title": row.title,
            "status": row.status,
            "code": self.code,
            "detail": self.detail,
        }
        request_id = structlog.contextvars.get_contextvars().get("request_id")
        ids = {"request_id": request_id, "job_id": self.job_id}
        known = {name: value for name, value in ids.items() if value is not None}
        # The fixed members come last, so that no other member can replace them.
        return {**self.members, **fixed, **known}

    @property
    def verdict(self) -> Verdict | None:
        """The verdict of the report, if the problem has one."""
        return "failed" if self.code == VerificationError.code else None

    def response(self) -> Response:
        """Write the response."""
        row = TABLE[self.code]
        text = json.dumps(self.body(), allow_nan=False)
        if self.report is not None:
            # The report is valid JSON, so it is inserted as text.
            text = f'{text[:-1]}, "report": {self.report}}}'
        headers = dict(self.headers)
        retry_after_s = self.members.get("retry_after_s", row.retry_after_s)
        if retry_after_s is not None:
            headers.setdefault("Retry-After", str(retry_after_s))
        if row.status == 401:
            headers.setdefault("WWW-Authenticate", "Bearer")
        if row.status == 406:
            headers.setdefault("Vary", "Accept")
        # The newline is for terminals, which would show the prompt behind the last brace.
        return Response(f"{text}\n", status_code=row.status, headers=headers, media_type=MEDIA_TYPE)


class ProblemError(Exception):
    """Raises a ready-made problem, such as one that a worker has sent."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.detail)


def install(app: FastAPI) -> None:
    """Answer every error of this application with a problem."""

    def answer(request: Request, problem: Problem) -> Response:
        request.scope[CODE_KEY] = problem.code
        return problem.to(request.scope).response()

    @app.exception_handler(ConvlastError)
    async def on_error(request: Request, error: ConvlastError) -> Response:
        return answer(request, Problem.of(error))

    @app.exception_handler(ProblemError)
    async def on_problem(request: Request, error: ProblemError) -> Response:
        return answer(request, error.problem)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        # Name the field only: the input itself is never echoed.
        fields = sorted(
            {".".join(str(part) for part in each["loc"][:2]) for each in error.errors()}
        )
        detail = f"The request is not valid at {', '.join(fields)[:200]}."
        return answer(request, Problem.of(MalformedRequestError(detail)))

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        return answer(request, _of_http(request, error))

    @app.exception_handler(ClientDisconnect)
    async def on_left(request: Request, _: ClientDisconnect) -> Response:
        # Nobody receives it; the status is for the log and the metrics.
        return Response(status_code=CLIENT_LEFT)


def _of_http(request: Request, error: HTTPException) -> Problem:
    """Describe a refusal by the framework."""
    if error.status_code == 405:
        allowed = ", ".join(_methods_of(request))
        detail = f"{request.method} is not allowed here. Use {allowed or 'another'}."
        return Problem("method-not-allowed", detail, headers={"Allow": allowed})
    if error.status_code == 404:
        bare = request.url.path.rstrip("/")
        scope = {**request.scope, "path": bare}
        is_known = any(route.matches(scope)[0] != Match.NONE for route in request.app.router.routes)
        meant = f" Did you mean {bare}?" if bare and is_known else ""
        return Problem("not-found", f"There is nothing here.{meant}")
    return Problem("malformed-request", "The request cannot be read.")


def _methods_of(request: Request) -> list[str]:
    """Return the methods that a path has; the framework names only those of one of its routes."""
    matching = (
        method
        for method in ("GET", "HEAD", "POST", "DELETE")
        for route in request.app.router.routes
        if route.matches({**request.scope, "method": method})[0] == Match.FULL
    )
    return list(dict.fromkeys(matching))
