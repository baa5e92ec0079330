"""Answers, reports and the log name the job and the request, so that each leads to the others."""

from __future__ import annotations

import io
import json
import re
import secrets
import zipfile
from typing import Any

import httpx
import pytest

from service.connection import cors
from service.problems import JOB_FIELD, VERDICT_FIELD
from tests.service.running import Running, Serve, wait_for

ACCEPTED = [
    ("convert", "application/zip"),
    ("convert", "application/json"),
    ("convert", "application/octet-stream"),
    ("inspect", "application/json"),
    ("inspect", "text/html"),
    ("convert", "text/markdown"),
    ("inspect", "application/xml"),
]
UNREAD = {"text/html", "text/markdown", "application/xml"}
"""Kinds of a report that are for people, or for others than the tests here."""

JOB_ID = re.compile("[0-9a-f]{64}")


def send(
    service: Running, verb: str = "convert", content: bytes = b"fine", **headers: str
) -> httpx.Response:
    """Send a checkpoint of a new name, and so with a new job, with these fields."""
    files = {"checkpoint": (f"{secrets.token_hex(4)}.pt", content)}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with service.client() as client:
        return client.post(f"/{verb}", files=files, headers=named)


def report_in(answer: httpx.Response) -> dict[str, Any]:
    """Return the report in an answer that has one as JSON."""
    found: dict[str, Any]
    if answer.headers["content-type"] == "application/zip":
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            found = json.loads(archive.read("report.json"))
    else:
        found = answer.json()
    return found


def lines_about(service: Running, word: str) -> list[dict[str, Any]]:
    """Return the lines of the log that contain a word."""
    lines = service.log.read_text().splitlines()
    return [json.loads(line) for line in lines if word in line]


@pytest.mark.parametrize(("verb", "accept"), ACCEPTED)
def test_an_answer_names_its_verdict_its_job_and_its_request(
    verb: str, accept: str, service: Running
) -> None:
    """The three fields are there, whatever the media type."""
    answer = send(service, verb, Accept=accept, X_Request_ID="deploy-42")
    assert answer.headers[VERDICT_FIELD] == "passed"
    assert JOB_ID.fullmatch(answer.headers[JOB_FIELD])
    assert answer.headers["x-request-id"] == "deploy-42"


@pytest.mark.parametrize(("verb", "accept"), [each for each in ACCEPTED if each[1] not in UNREAD])
def test_a_report_names_its_job_and_its_request(verb: str, accept: str, service: Running) -> None:
    """They are those of the answer, and so is the job of the links."""
    answer = send(service, verb, Accept=accept, X_Request_ID="deploy-43")
    job_id = answer.headers[JOB_FIELD]
    if accept == "application/octet-stream":
        with service.client() as client:
            answer = client.get(f"/jobs/{job_id}/report")
    report = report_in(answer)
    assert (report["job_id"], report["request_id"]) == (job_id, "deploy-43")
    for link in report.get("links", {}).values():
        assert link.startswith(f"/jobs/{job_id}/")


@pytest.mark.parametrize(
    ("content", "code", "verdict"),
    [
        (b"fails-verification", "verification-failed", "failed"),
        (b"refuses", "unsafe-checkpoint", None),
        (b"crashes", "worker-crashed", None),
        (b"raises", "internal", None),
    ],
)
def test_a_refusal_names_its_job(
    content: bytes, code: str, verdict: str | None, service: Running
) -> None:
    """So does the problem document; a verdict is named if there is one."""
    answer = send(service, content=content)
    problem = answer.json()
    assert problem["code"] == code
    assert JOB_ID.fullmatch(problem["job_id"])
    assert answer.headers[JOB_FIELD] == problem["job_id"]
    assert answer.headers.get(VERDICT_FIELD) == verdict
    if "report" in problem:
        assert problem["report"]["job_id"] == problem["job_id"]
        assert problem["report"]["request_id"] == problem["request_id"]


def test_a_request_without_a_job_names_none(service: Running) -> None:
    """An option that is refused in the headers, and a probe, have no job."""
    with service.client() as client:
        refused = client.post("/convert?smok=none", files={"checkpoint": ("m.pt", b"fine")})
        probe = client.get("/livez")
    assert "job_id" not in refused.json()
    for answer in (refused, probe):
        assert JOB_FIELD not in answer.headers
        assert VERDICT_FIELD not in answer.headers


@pytest.mark.parametrize("content", [b"fine", b"crashes", b"raises", b"refuses"])
def test_every_line_of_a_job_has_both_ids(content: bytes, service: Running) -> None:
    """Either id of a report finds all lines of the log about it."""
    answer = send(service, content=content)
    job_id, request_id = answer.headers[JOB_FIELD], answer.headers["x-request-id"]
    wait_for(lambda: any("route" in line for line in lines_about(service, job_id)))
    lines = lines_about(service, job_id)
    assert lines == lines_about(service, request_id)
    assert {(line["job_id"], line["request_id"]) for line in lines} == {(job_id, request_id)}
    expected = {b"crashes": {"worker ended"}, b"raises": {"job failed"}}
    events = {"job begins", "job ended", "answered"} | expected.get(content, set())
    assert events == {line["event"] for line in lines}


def test_the_log_has_the_verdict_and_the_time_of_each_stage(service: Running) -> None:
    """One line sums up a job that has an answer."""
    job_id = send(service, "inspect", Accept="application/json").headers[JOB_FIELD]
    [line] = [each for each in lines_about(service, job_id) if each["event"] == "job ended"]
    assert (line["verb"], line["verdict"]) == ("inspect", "passed")
    assert {"upload", "queue", "convert"} <= line["stages_s"].keys()


def test_the_next_request_of_a_connection_has_no_job(service: Running) -> None:
    """The job of a request is not that of one which was sent behind it."""
    with service.client() as client:
        job_id = client.post("/convert", files={"checkpoint": ("m.pt", b"fine")}).headers[JOB_FIELD]
        request_id = client.get("/version").headers["x-request-id"]
    wait_for(lambda: lines_about(service, request_id))
    assert all("job_id" not in line for line in lines_about(service, request_id))
    assert job_id


def test_pages_of_other_origins_can_read_the_fields(serve: Serve) -> None:
    """A browser shows a script only the fields that CORS exposes."""
    service = serve(cors_origins="https://ml.example.org")
    answer = send(service, Origin="https://ml.example.org")
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {JOB_FIELD, VERDICT_FIELD, "X-Request-ID"} <= set(exposed)
    assert set(exposed) == set(cors._READ)
