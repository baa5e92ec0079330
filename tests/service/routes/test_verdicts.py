"""`Convlast-Verdict` and `Convlast-Job` in every answer about a job."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from service.problems import JOB_FIELD, VERDICT_FIELD
from tests.service.routes.test_asynchronous import ASYNC, ended, get, new, post
from tests.service.running import Running

PATHS = [
    *("/artifact", "/archive", "/provenance", "/report"),
    *("/report.html", "/report.md", "/report.xml", "/report.sarif"),
]


def told(answer: httpx.Response) -> tuple[str | None, str | None]:
    """Return the job and the verdict that an answer names."""
    return answer.headers.get(JOB_FIELD), answer.headers.get(VERDICT_FIELD)


@pytest.fixture(scope="module")
def job(service: Running) -> dict[str, Any]:
    """A conversion that has passed."""
    return ended(service, post(service, new(), **ASYNC))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["", *PATHS])
def test_every_file_of_a_job_comes_with_its_verdict(
    service: Running, job: dict[str, Any], path: str, method: str
) -> None:
    """A pipeline need not read the report to decide."""
    url = f"/jobs/{job['id']}{path}"
    with service.client() as client:
        answer = client.request(method, url)
    assert answer.status_code == 200
    assert told(answer) == (job["id"], "passed")


def test_so_does_a_part_and_what_has_not_changed(service: Running, job: dict[str, Any]) -> None:
    """206, 304, 416, the end of the events, and the 202 that joins the job."""
    url = f"/jobs/{job['id']}"
    etag = get(service, f"{url}/artifact").headers["etag"]
    seq = get(service, url).headers["etag"]
    answers = {
        206: get(service, f"{url}/artifact", Range="bytes=0-3"),
        416: get(service, f"{url}/artifact", Range="bytes=900000-"),
        304: get(service, f"{url}/artifact", If_None_Match=etag),
        200: get(service, f"{url}/events"),
        204: get(service, f"{url}/events", Last_Event_ID=seq.strip('"')),
    }
    for status, answer in answers.items():
        assert (answer.status_code, *told(answer)) == (status, job["id"], "passed")
    again = get(service, url, If_None_Match=seq)
    assert (again.status_code, *told(again)) == (304, job["id"], "passed")


@pytest.mark.parametrize("path", ["/report", "/provenance"])
def test_so_does_what_is_not_acceptable(service: Running, job: dict[str, Any], path: str) -> None:
    """The job has ended, whatever the client can read; a job that is not there has no verdict."""
    answer = get(service, f"/jobs/{job['id']}{path}", Accept="image/png")
    assert (answer.status_code, *told(answer)) == (406, job["id"], "passed")
    absent = get(service, f"/jobs/absent{path}", Accept="image/png")
    assert (absent.status_code, *told(absent)) == (404, None, None)


def test_so_does_a_wrong_query(service: Running, job: dict[str, Any]) -> None:
    """It is about a job that is there."""
    answer = get(service, f"/jobs/{job['id']}?wait=soon")
    assert (answer.status_code, *told(answer)) == (422, job["id"], "passed")


def test_a_job_that_was_removed_says_what_it_was(service: Running) -> None:
    """The answer to DELETE is the last one about it."""
    job = ended(service, post(service, new(), **ASYNC))
    with service.client() as client:
        answer = client.delete(f"/jobs/{job['id']}")
        gone = client.get(f"/jobs/{job['id']}")
    assert (answer.status_code, *told(answer)) == (204, job["id"], "passed")
    assert told(gone) == (None, None)


def test_a_failed_verdict_is_named_too(service: Running) -> None:
    """In the status of the job, and in the refusal of the artifact that it does not have."""
    job = ended(service, post(service, new(b"fails-verification 3"), **ASYNC))
    assert job["verdict"] == "failed"
    assert told(get(service, f"/jobs/{job['id']}")) == (job["id"], "failed")
    absent = get(service, f"/jobs/{job['id']}/artifact")
    assert (absent.status_code, *told(absent)) == (404, job["id"], "failed")


def test_a_job_without_a_verdict_names_none(service: Running) -> None:
    """A file that was refused has no report."""
    job = ended(service, post(service, new(b"refuses"), **ASYNC))
    assert told(get(service, f"/jobs/{job['id']}")) == (job["id"], None)


def test_the_document_describes_both_fields(service: Running) -> None:
    """For each answer about a job, but a comparison, which is about two."""
    paths = get(service, "/openapi.json").json()["paths"]
    seen = 0
    for path, operations in paths.items():
        if path.startswith("/jobs/{job_id}") and not path.endswith("/comparison"):
            for operation in operations.values():
                for status, answer in operation["responses"].items():
                    if int(status) < 400:
                        assert {JOB_FIELD, VERDICT_FIELD} <= answer["headers"].keys(), path
                        seen += 1
    assert seen >= 10
