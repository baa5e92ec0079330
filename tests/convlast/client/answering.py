"""Answers of the service, and of what is in front of it."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx

from convlast.options import Options
from convlast.report import Advice, Artifact, Environment, InputFile, Report

ARTIFACT = bytes(range(256)) * 5000


def report(artifact: bytes = ARTIFACT, **values: Any) -> Report:
    """Return a report whose artifact is this one; `values` are of the artifact."""
    about = {"filename": "model.channels_last_3d.pt", "container": "torch", **values}
    return Report(
        verdict="passed",
        input=InputFile(filename="model.pt", sha256="0" * 64, bytes=12, container="torch"),
        artifact=Artifact(
            sha256=hashlib.sha256(artifact).hexdigest(), bytes=len(artifact), **about
        ),
        options=Options(),
        environment=Environment(
            convlast="0", python="3", torch="none", device="cpu", platform="test"
        ),
        layers=[],
        advice=Advice(decision="convert", reasons=[], load=f"torch.load({about['filename']!r})"),
    )


def problem(status: int, code: str, **members: Any) -> httpx.Response:
    """Return a problem document of the service."""
    body = {"type": f"urn:convlast:problem:{code}", "code": code, "detail": "No.", **members}
    headers = {"Content-Type": "application/problem+json"}
    return httpx.Response(status, headers=headers, json=body)
