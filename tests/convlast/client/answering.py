"""A service of a few lines, which answers the client as the tests want."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from convlast.client import Client
from convlast.options import Options
from convlast.report import Advice, Artifact, Environment, InputFile, Report

ARTIFACT = bytes(range(256)) * 5000
ZIP = {"Content-Type": "application/zip"}


def client_of(answer: Callable[[httpx.Request], httpx.Response], **values: Any) -> Client:
    """Return a client whose service is a function."""
    return Client("http://service", transport=httpx.MockTransport(answer), **values)


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


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip with these members."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


def answer_zip(of: Report | None = None, artifact: bytes = ARTIFACT) -> bytes:
    """Return the zip that answers a conversion."""
    told = of or report(artifact)
    assert told.artifact is not None
    return zipped(
        {
            told.artifact.filename: artifact,
            "report.json": told.model_dump_json().encode(),
            "report.html": b"<!doctype html>",
        }
    )


def converted(of: Report | None = None) -> httpx.Response:
    """Return the answer to a successful conversion."""
    return httpx.Response(200, headers=ZIP, content=answer_zip(of))


def inspected() -> httpx.Response:
    """Return the answer to a successful inspection."""
    told = report().model_copy(update={"artifact": None})
    return httpx.Response(200, json=told.model_dump(mode="json"))


def problem(status: int, code: str, **members: Any) -> httpx.Response:
    """Return a problem document of the service."""
    body = {"type": f"urn:convlast:problem:{code}", "code": code, "detail": "No.", **members}
    headers = {"Content-Type": "application/problem+json"}
    return httpx.Response(status, headers=headers, json=body)
