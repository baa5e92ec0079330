"""CORS: pages of other origins may call only if a setting names their origin."""

from __future__ import annotations

from dataclasses import replace

from fastapi import FastAPI, Response
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware

from service.errors import MalformedRequestError
from service.problems import JOB_FIELD, VERDICT_FIELD, Problem

_SENT = ["Authorization", "Content-Digest", "Content-Disposition", "Content-Type", "Range"]
_CONDITIONS = ["If-None-Match", "If-Range", "Last-Event-ID", "Prefer", "X-Request-ID"]
_READ = [
    JOB_FIELD,
    VERDICT_FIELD,
    "Content-Disposition",
    "Content-Location",
    "Content-Range",
    "ETag",
    "Link",
    "Location",
    "Preference-Applied",
    "Repr-Digest",
    "Retry-After",
    "Server-Timing",
    "X-Request-ID",
]


def install(app: FastAPI, origins: tuple[str, ...]) -> None:
    """Allow these origins; their scripts send the key, never a cookie."""
    if not origins:
        return
    app.add_middleware(
        _Cors,
        allow_origins=list(origins),
        allow_methods=["GET", "HEAD", "POST", "DELETE"],
        allow_headers=[*_SENT, *_CONDITIONS],
        expose_headers=_READ,
    )


class _Cors(CORSMiddleware):
    """Starlette's middleware, with refusals that are problems."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer a browser's preflight request."""
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        error = MalformedRequestError(
            f"{bytes(response.body).decode()}.",
            remedy="Only origins in CONVLAST_CORS_ORIGINS may call, with the methods and fields "
            "that the documentation names.",
        )
        fields = response.headers.items()
        kept = {name: value for name, value in fields if not name.startswith("content-")}
        return replace(Problem.of(error), headers=kept).response()
