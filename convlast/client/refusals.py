"""Refusals and broken connections, as errors that say who refused, and what to do.

The service's own refusals are problem documents (RFC 9457). All other answers come from something
in front of the service, such as nginx, or from another program at its address.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import httpx

from convlast.errors import ConvlastError, RemoteError, VerificationError
from convlast.report import Report

MAX_REPORT_BYTES = 256 << 20
"""Above the report of a checkpoint with as many tensors as the limits allow."""

_PROBLEM = "application/problem+json"
_PASSING = {429, 503}
"""The service has no room, or is not ready: the same request may succeed later."""

_PASSING_GATEWAY = {*_PASSING, 502, 504}
"""A gateway cannot reach the service, or does not wait for it: the job goes on all the same."""

_MAX_PAGE_BYTES = 64 << 10
_TITLE = re.compile(r"<title[^>]*>([^<]{1,300})<", re.IGNORECASE)

_CODES = {
    401: "unauthorized",
    403: "unauthorized",
    404: "not-found",
    405: "method-not-allowed",
    407: "unauthorized",
    408: "upload-too-slow",
    413: "upload-too-large",
    429: "too-many-requests",
    502: "not-ready",
    503: "not-ready",
    504: "timed-out",
}
"""The code for a gateway's status; the service uses the same code for the same trouble."""

_ASKS_FOR_LOGIN = (
    "It asks for a login of its own, and only the service's key (--key-file) was sent: let it pass "
    "requests to the service, or use the service's own address."
)
_CHECK_PATH = "Check the address: the service's /convert, /inspect and /jobs follow it directly."
_REMEDIES = {
    401: _ASKS_FOR_LOGIN,
    403: _ASKS_FOR_LOGIN,
    407: _ASKS_FOR_LOGIN,
    404: _CHECK_PATH,
    405: _CHECK_PATH,
    429: "Try again later.",
    502: "Check that the service is running behind it.",
    503: "Check that the service is running behind it.",
}


@dataclass(frozen=True)
class Refusal:
    """Why a request failed.

    Attributes:
        error: The error to raise.
        is_passing: Whether the same request may succeed later.
        retry_after: How long to wait, as the answer says.
        problem_code: The code, if the service itself refused.
    """

    error: ConvlastError
    is_passing: bool = False
    retry_after: str | None = None
    problem_code: str = ""


class RefusedError(Exception):
    """A request failed."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal.error))
        self.refusal = refusal


async def refusal_of(response: httpx.Response, path: str, waited_s: float) -> Refusal:
    """Return why this answer, which has not been read yet, is a refusal.

    Args:
        response: The answer.
        path: What was asked for, below the service's address.
        waited_s: How long the answer took after the request was sent.
    """
    status, retry_after = response.status_code, response.headers.get("Retry-After")
    problem = await _problem_in(response)
    if problem is not None:
        code = str(problem["code"])
        return Refusal(error_of(problem), status in _PASSING, retry_after, code)
    if response.has_redirect_location:
        return Refusal(_of_redirect(response, path))
    error = await _of_gateway(response, waited_s)
    return Refusal(error, status in _PASSING_GATEWAY, retry_after)


def not_the_service(response: httpx.Response, what: str) -> RemoteError:
    """Return the error for a 200 that the service cannot have sent.

    Args:
        response: The answer.
        what: What it is.
    """
    return RemoteError(
        "not-found",
        f"{_answerer(response)} answered with {what}, and not the service.",
        remedy="Check the address. If it is right, something in front of the service answers in "
        "its place, perhaps with a login page, or changes its answers.",
    )


def failure_of(error: httpx.RequestError, url: httpx.URL) -> Refusal:
    """Return why there is no whole answer.

    Args:
        error: What the HTTP library raised.
        url: The address of the service.
    """
    words, is_passing = str(error) or type(error).__name__, True
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        message = f"The service does not answer: {words}."
        place = f"{url.scheme}://{url.netloc.decode()}"  # without a password
        found = RemoteError("not-ready", message, remedy=f"Check that it is running at {place}.")
    elif isinstance(error, httpx.TimeoutException):
        message = f"The service does not answer in time: {words}."
        found = RemoteError("timed-out", message, remedy="Raise timeout_s.")
    elif isinstance(error, httpx.LocalProtocolError):
        is_passing = False
        found = RemoteError("malformed-request", f"The request could not be sent: {words}.")
    else:
        message = f"The connection to the service broke off: {words}."
        found = RemoteError("not-ready", message)
    found.__cause__ = error
    return Refusal(found, is_passing)


def cut_off(missing_bytes: int) -> Refusal:
    """Return why an answer that ended too early is not whole."""
    message = f"The connection to the service broke off: {missing_bytes:,} bytes are missing."
    return Refusal(RemoteError("not-ready", message), is_passing=True)


async def read_whole(response: httpx.Response, max_bytes: int = MAX_REPORT_BYTES) -> bytes:
    """Read an answer, or as much of it as is allowed."""
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) >= max_bytes:
            break
    return bytes(body[:max_bytes])


def report_of(body: object) -> Report:
    """Return the report in an answer.

    Raises:
        RemoteError: If it is not one that this version knows.
    """
    try:
        return Report.model_validate(body)
    except ValueError as error:
        raise RemoteError(
            "internal",
            "The service's report is of another version than this client.",
            remedy="Use the same version of convlast for both.",
        ) from error


def media_type_of(response: httpx.Response) -> str:
    """Return the media type of an answer, without parameters."""
    kind: str = response.headers.get("Content-Type", "")
    return kind.partition(";")[0].strip().lower()


async def _problem_in(response: httpx.Response) -> dict[str, Any] | None:
    """Return the service's problem document; None if the answer is something else."""
    if media_type_of(response) != _PROBLEM:
        return None
    try:
        problem = json.loads(await read_whole(response))
    except (ValueError, RecursionError):
        return None
    # A gateway may answer with a problem document too, but not of our types.
    is_ours = isinstance(problem, dict) and (
        problem.get("type") == f"urn:convlast:problem:{problem.get('code')}"
    )
    return problem if is_ours else None


def error_of(problem: dict[str, Any]) -> ConvlastError:
    """Return the error that a problem document describes."""
    code = str(problem.get("code", "internal"))
    detail = str(problem.get("detail", "The service refuses and does not say why."))
    if code == "verification-failed" and "report" in problem:
        return VerificationError(detail, report=report_of(problem["report"]))
    error = RemoteError(code, detail)
    if request_id := problem.get("request_id"):
        error.details["request_id"] = str(request_id)
        if code == "internal":
            error.add(f"It is {str(request_id)[:80]}.")
    return error


def _of_redirect(response: httpx.Response, asked: str) -> RemoteError:
    """Return the error for a redirect: none is followed, since the key would go with it."""
    location = response.url.join(response.headers["Location"])
    url = location.copy_with(query=None, fragment=None, userinfo=b"")
    path = url.path.rstrip("/")
    is_meant = path.endswith(f"/{asked}")
    there = str(url.copy_with(path=path.removesuffix(f"/{asked}") or "/")).rstrip("/")
    return RemoteError(
        "not-found",
        f"The address leads to {there} ({_status_of(response)}).",
        remedy="Give that one as the address of the service."
        if is_meant
        else "If that is a login page, use the service's own address.",
    )


async def _of_gateway(response: httpx.Response, waited_s: float) -> RemoteError:
    """Return the error for an answer that is not from the service."""
    status = response.status_code
    page = (await read_whole(response, _MAX_PAGE_BYTES)).decode(errors="replace")
    title = _TITLE.search(page)
    words = " ".join(title[1].split()) if title else ""
    told = f" ({words})" if words and not _status_of(response).startswith(words) else ""
    code = _CODES.get(status, "internal" if status >= 500 else "malformed-request")
    remedy = _REMEDIES.get(status, "Check the address, and what is in front of the service.")
    if status == 413:
        sent = int(response.request.headers.get("Content-Length", 0))
        remedy = (
            f"It does not let an upload of {sent:,} bytes pass: raise its limit, which nginx calls "
            "client_max_body_size."
        )
    if status == 504:
        remedy = (
            f"It gave up after {waited_s:.0f} s, while the service may still have been at work: "
            "raise its timeout, which nginx calls proxy_read_timeout."
        )
    message = f"{_answerer(response)} answered {_status_of(response)}{told}, and not the service."
    return RemoteError(code, message, remedy=remedy)


def _answerer(response: httpx.Response) -> str:
    """Return what answered, as it names itself."""
    server: str = response.headers.get("Server", "")
    return server[:80] or "A gateway or another program"


def _status_of(response: httpx.Response) -> str:
    """Return the status with its words."""
    return f"{response.status_code} {response.reason_phrase}".strip()
