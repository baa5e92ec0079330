"""The table of all errors that clients can get, as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping
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

MEDIA_TYPE = "application/problem+json"
CODE_KEY = "convlast.code"
"""The key of a problem's code in the scope of its request, for the log and the metrics."""
JOB_KEY = "convlast.job"
"""The key of the id of a job in the scope of its request, once the job has begun."""

OWNER_KEY = "convlast.owner"
"""The key of the owner of a request's key in the scope, for the log."""

JOB_FIELD, VERDICT_FIELD = "Convlast-Job", "Convlast-Verdict"
"""Fields of the answers about a job."""

CLIENT_LEFT = 499
"""The logged status of a request whose client has disconnected, as in nginx."""


@dataclass(frozen=True)
class Row:
    """The fixed members of a code.

    Attributes:
        status: The HTTP status.
        title: The problem in a few words.
        example: An example of the detail.
        retry_after_s: The seconds of `Retry-After`, unless the error gives its own.
    """

    status: int
    title: str
    example: str
    retry_after_s: int | None = None


TABLE: dict[str, Row] = {
    "malformed-request": Row(
        400, "The request cannot be read", "The body has no part named checkpoint."
    ),
    "digest-mismatch": Row(
        400,
        "The content was damaged on the way",
        "The content does not have the sha-256 of Content-Digest.",
    ),
    "unauthorized": Row(401, "A key is needed", "The key is not known here."),
    "not-found": Row(404, "There is no such thing", "There is no such job, or it is gone."),
    "method-not-allowed": Row(405, "The method is not allowed", "GET is not allowed here."),
    "not-acceptable": Row(
        406,
        "No acceptable media type",
        "None of the media types in Accept is available. Accept one of application/zip, "
        "application/json, application/octet-stream.",
    ),
    "conflict": Row(
        409,
        "The job has not ended",
        "The job is running. Ask GET /jobs/{id}?wait=30 for its end.",
    ),
    "gone": Row(410, "It is gone", "The job was cancelled."),
    "upload-too-slow": Row(408, "The upload is too slow", "No bytes arrived for 30 s."),
    "upload-too-large": Row(
        413,
        "The upload is too large",
        "The checkpoint has more than 17,179,869,184 bytes (16 GiB). "
        "Raise CONVLAST_MAX_UPLOAD_BYTES to accept it.",
    ),
    "unsupported-media-type": Row(
        415, "The media type is not supported", "The body is neither multipart/form-data nor raw."
    ),
    "range-not-satisfiable": Row(
        416, "The range lies outside the artifact", "The artifact has 1,024 bytes."
    ),
    "invalid-option": Row(
        422, "An option is not valid", "Option smoke has a bad value: input should be 'auto'."
    ),
    "not-a-checkpoint": Row(422, "Not a checkpoint", "The file is a PNG image."),
    "malformed-checkpoint": Row(
        422, "The checkpoint is damaged", "The file is truncated: its zip directory is missing."
    ),
    "unsafe-checkpoint": Row(
        422, "The checkpoint asks for code", "The pickle asks for os.system, which is no tensor."
    ),
    "program-not-allowed": Row(
        422,
        "Programs are not allowed",
        "The file is TorchScript, which holds code. Set CONVLAST_ALLOW_PROGRAMS=true.",
    ),
    "unsupported-container": Row(
        422, "The kind of file is not supported", "The file cannot be kept exactly: sparse tensors."
    ),
    "limit-exceeded": Row(
        422, "A limit is exceeded", "Too many tensors: 400,000, where max_tensors allows 200,000."
    ),
    "no-conv3d-weights": Row(
        422, "No Conv3d weights", "None of the 42 tensors is the weight of a 3-D convolution."
    ),
    "architecture-not-allowed": Row(
        422, "The architecture is not allowed", "os.system is outside the allowed modules."
    ),
    "architecture-mismatch": Row(
        422,
        "The state dict does not fit",
        "torchvision.models.video.r3d_18 has no key head.weight.",
    ),
    "verification-failed": Row(
        422,
        "The verification failed",
        "The converted model raises where the contiguous one does not; see report.",
    ),
    "too-many-requests": Row(
        429, "Too many requests", "This key has 4 jobs already.", retry_after_s=5
    ),
    "internal": Row(500, "Internal error", "The request id leads to it in the log."),
    "worker-crashed": Row(500, "The worker crashed", "The process of the job ended with SIGSEGV."),
    "queue-full": Row(503, "The queue is full", "All 33 places are taken.", retry_after_s=5),
    "not-ready": Row(503, "Not ready", "The service is draining.", retry_after_s=5),
    "device-lost": Row(503, "The device was lost", "CUDA error: unspecified.", retry_after_s=30),
    "timed-out": Row(
        504, "The job timed out", "The job was stopped after 600 s. Raise CONVLAST_JOB_TIMEOUT_S."
    ),
    "storage-full": Row(507, "The storage is full", "The disk of the work folder is full."),
    "out-of-memory": Row(507, "Out of memory", "The device has no memory left."),
}

_OF_FILES = (
    "invalid-option",
    "not-a-checkpoint",
    "malformed-checkpoint",
    "unsafe-checkpoint",
    "program-not-allowed",
    "unsupported-container",
    "limit-exceeded",
    "no-conv3d-weights",
    "not-ready",
    "storage-full",
    "out-of-memory",
)
WORKER_CODES = {
    "inspect": _OF_FILES,
    "convert": (
        *_OF_FILES,
        "architecture-not-allowed",
        "architecture-mismatch",
        "verification-failed",
        "device-lost",
    ),
}
"""The codes with which a worker may refuse a job, for each verb; the others are the service's."""


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
        if self.job_id is not None:
            headers[JOB_FIELD] = self.job_id
        if self.verdict is not None:
            headers[VERDICT_FIELD] = self.verdict
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
        return replace(problem, job_id=request.scope.get(JOB_KEY)).response()

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
