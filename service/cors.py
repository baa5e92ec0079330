"""Which pages of other origins may call: none, unless a setting names them."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

_SENT = ["Authorization", "Content-Digest", "Content-Disposition", "Content-Type", "Range"]
_CONDITIONS = ["If-None-Match", "If-Range", "X-Request-ID"]
_READ = [
    "Content-Disposition",
    "Content-Location",
    "Content-Range",
    "ETag",
    "Link",
    "Repr-Digest",
    "Retry-After",
    "Server-Timing",
    "X-Request-ID",
]


def install(app: FastAPI, origins: tuple[str, ...]) -> None:
    """Let these origins call; keys come from their scripts, never from a cookie."""
    if not origins:
        return
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["GET", "HEAD", "POST"],
        allow_headers=[*_SENT, *_CONDITIONS],
        expose_headers=_READ,
    )
