"""A report in the kinds that pipelines read: by `Accept`, and below the path of its job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import httpx
import pytest

from convlast.report import Report
from convlast.report.saving import KINDS
from service.answers.kinds import WRITTEN
from service.headers.negotiation import HTML, JSON, MARKDOWN, OCTET_STREAM, SARIF, XML, ZIP
from service.jobs.description import MAX_REPORT_BYTES
from service.problems import JOB_FIELD, VERDICT_FIELD
from tests.convlast.report.rendering import building
from tests.service.running import Running, wait_for

LARGE = b"lists 60000 layers"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
TYPES = {
    MARKDOWN: "text/markdown; charset=utf-8",
    XML: "application/xml; charset=utf-8",
    SARIF: "application/sarif+json",
}


def converted(service: Running, content: bytes, accept: str = JSON, **query: str) -> httpx.Response:
    """Convert a checkpoint."""
    with service.client() as client:
        files = {"checkpoint": ("m.pt", content)}
        return client.post("/convert", files=files, headers={"Accept": accept}, params=query)


def get(service: Running, path: str, accept: str = "*/*", method: str = "GET") -> httpx.Response:
    """Ask for a path."""
    with service.client() as client:
        return client.request(method, path, headers={"Accept": accept})


def report_of(service: Running, job: str) -> Path:
    """Return the file in which the service keeps the report of a job."""
    [found] = (service.work_dir / "store" / job).rglob("report.json")
    return found


@pytest.fixture(scope="module")
def links(service: Running) -> dict[str, str]:
    """The links of a job."""
    found: dict[str, str] = converted(service, b"fine, for pipelines").json()["links"]
    return found


@pytest.mark.parametrize("media_type", WRITTEN)
def test_a_kind_is_to_be_had_in_two_ways(
    service: Running, links: dict[str, str], media_type: str
) -> None:
    """By `Accept`, and by the ending of the path: both answer what the library writes."""
    by_accept = get(service, links["report"], media_type)
    by_path = get(service, f"{links['report']}{WRITTEN[media_type]}")
    for answer in (by_accept, by_path):
        assert answer.status_code == 200
        assert answer.headers["content-type"] == TYPES[media_type]
    report = Report.model_validate_json(get(service, links["report"], JSON).content)
    assert by_accept.text == by_path.text == KINDS[WRITTEN[media_type]](report)


@pytest.mark.parametrize("media_type", WRITTEN)
@pytest.mark.parametrize("verb", ["convert", "inspect"])
def test_the_verbs_answer_each_kind(service: Running, verb: str, media_type: str) -> None:
    """The verdict is in a field, as ever; what is stored of a conversion is named."""
    with service.client() as client:
        files = {"checkpoint": ("m.pt", f"fine {verb} {media_type}".encode())}
        answer = client.post(f"/{verb}", files=files, headers={"Accept": media_type})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == TYPES[media_type]
    assert answer.headers["convlast-verdict"] == "passed"
    place = f"/jobs/{answer.headers['convlast-job']}/report{WRITTEN[media_type]}"
    assert answer.headers.get("content-location") == (place if verb == "convert" else None)
    if verb == "convert":
        assert get(service, place).text == answer.text


def test_a_browser_gets_the_page(service: Running, links: dict[str, str]) -> None:
    """It accepts XML too, but rather HTML."""
    answer = converted(service, b"fine", BROWSER)
    for page in (answer, get(service, links["report"], BROWSER)):
        assert page.headers["content-type"] == f"{HTML}; charset=utf-8"
    assert get(service, answer.headers["content-location"]).text == answer.text


@pytest.mark.parametrize("ending", WRITTEN.values())
def test_head_is_get_without_a_body(service: Running, links: dict[str, str], ending: str) -> None:
    """The length is that of the answer, and other methods are refused."""
    path = f"{links['report']}{ending}"
    got, head = get(service, path), get(service, path, method="HEAD")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(got.content))
    assert get(service, path, method="POST").status_code == 405


def test_a_failed_verification_has_a_report_for_a_pipeline(service: Running) -> None:
    """Its job has no artifact, but its report is there in each kind."""
    with service.client() as client:
        files = {"checkpoint": ("m.pt", b"fails-verification 3")}
        headers = {"Prefer": "respond-async"}
        job = client.post("/convert", files=files, headers=headers).json()["links"]["self"]
        wait_for(lambda: client.get(job).json()["state"] == "failed")
        found = client.get(job).json()["links"]
    root = fromstring(get(service, found["junit"]).text)  # noqa: S314  # our own service's
    assert int(root[0].attrib["failures"]) >= 1
    assert get(service, found["markdown"]).text.startswith("### ❌ Failed")
    assert json.loads(get(service, found["sarif"]).text)["version"] == "2.1.0"


def test_a_job_without_a_report_has_none_of_a_kind(service: Running) -> None:
    """Neither has one that is not there."""
    for path in ("/jobs/absent/report.md", "/jobs/absent/report.sarif"):
        answer = get(service, path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (b"nonsense", "is not JSON"),
        (b'{"schema_version": "9.0"}', "another version"),
        (b'{"schema_version": "1.1", "layers": 3}', "damaged"),
        (b'{"a":' * 100_000, "is not JSON"),
    ],
)
def test_what_a_worker_wrote_is_not_trusted(service: Running, spoilt: bytes, said: str) -> None:
    """What is no report is not acceptable in this kind, and the kinds that are stored are named."""
    job = converted(service, b"fine, to be spoilt for pipelines: " + spoilt[-40:]).json()["links"]
    stored = report_of(service, job["report"].split("/")[2])
    stored.write_bytes(spoilt)
    answer = get(service, job["markdown"])
    assert (answer.status_code, answer.json()["code"]) == (406, "not-acceptable")
    assert said in answer.json()["detail"]
    assert answer.json()["offers"] == [JSON, HTML]


@pytest.fixture(scope="module")
def large(service: Running) -> dict[str, Any]:
    """A job whose report is too large to be written anew."""
    answer = service.convert(LARGE, headers={"Prefer": "respond-async"})
    path = answer.json()["links"]["self"]
    with service.client() as client:
        wait_for(lambda: client.get(path).json()["state"] == "succeeded")
        assert len(client.get(f"{path}/report").content) > MAX_REPORT_BYTES
        found: dict[str, Any] = client.get(path).json()
    return found


def test_of_a_large_report_only_what_is_there_is_linked(
    service: Running, large: dict[str, Any]
) -> None:
    """Neither the status nor the answer of a request leads where a refusal waits."""
    answer = service.convert(LARGE, headers={"Accept": JSON})
    for links in (large["links"], answer.json()["links"]):
        assert {"artifact", "report", "html", "archive", "provenance"} <= links.keys()
        assert not {"markdown", "junit", "sarif"} & links.keys()


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("text/markdown, application/json;q=0.9", JSON),
        ("application/xml, text/html;q=0.2, application/json;q=0.1", f"{HTML}; charset=utf-8"),
        ("application/sarif+json, */*;q=0.1", JSON),
    ],
)
def test_of_a_large_report_another_kind_is_sent_if_it_is_accepted(
    service: Running, large: dict[str, Any], accept: str, media_type: str
) -> None:
    """By the path of the job as by both verbs."""
    with service.client() as client:
        inspected = client.post(
            "/inspect", files={"checkpoint": ("m.pt", LARGE)}, headers={"Accept": accept}
        )
    for answer in (get(service, large["links"]["report"], accept), inspected):
        assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)


def test_a_conversion_with_a_large_report_is_sent_whole(service: Running) -> None:
    """The zip is there too, and so is the artifact."""
    for accept, media_type in (
        ("text/markdown, application/zip;q=0.5, application/json;q=0.1", ZIP),
        ("text/markdown, application/octet-stream;q=0.5", OCTET_STREAM),
    ):
        answer = service.convert(LARGE, headers={"Accept": accept})
        assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)


@pytest.mark.parametrize("ending", WRITTEN.values())
def test_the_refusal_of_a_large_report_says_what_to_do(
    service: Running, large: dict[str, Any], ending: str
) -> None:
    """The command that it names has the id of the job, and its fields are those of the job."""
    job = large["id"]
    by_path = get(service, f"/jobs/{job}/report{ending}")
    by_accept = get(service, f"/jobs/{job}/report", "text/markdown")
    converted_now = service.convert(LARGE, headers={"Accept": "text/markdown"})
    for answer in (by_path, by_accept, converted_now):
        assert (answer.status_code, answer.json()["offers"]) == (406, [JSON, HTML])
        assert "too large" in answer.json()["detail"]
        assert f"`convlast jobs fetch {job} --report FILE`" in answer.json()["detail"]
        assert (answer.headers[JOB_FIELD], answer.headers[VERDICT_FIELD]) == (job, "passed")


def test_what_is_not_kept_cannot_be_fetched(service: Running) -> None:
    """The refusal of an inspection names no command that would find nothing."""
    files = {"checkpoint": ("m.pt", LARGE)}
    with service.client() as client:
        answer = client.post("/inspect", files=files, headers={"Accept": "text/markdown"})
        assert client.get(f"/jobs/{answer.headers[JOB_FIELD]}").status_code == 404
    assert answer.status_code == 406
    assert answer.json()["detail"].endswith("Ask for application/json.")
    assert answer.headers[VERDICT_FIELD] == "passed"


def test_the_page_that_a_failed_job_does_not_have_is_not_offered(service: Running) -> None:
    """Who accepts another kind gets it."""
    job = service.convert(b"fails-verification 2", headers={"Prefer": "respond-async"}).json()["id"]
    wait_for(lambda: get(service, f"/jobs/{job}").json()["state"] == "failed")
    answer = get(service, f"/jobs/{job}/report", "text/html, application/json;q=0.1")
    assert (answer.status_code, answer.headers["content-type"]) == (200, JSON)
    refused = get(service, f"/jobs/{job}/report", HTML)
    assert (refused.status_code, refused.json()["offers"]) == (406, [JSON, *WRITTEN])
    assert refused.headers[VERDICT_FIELD] == "failed"


def test_hostile_names_stay_text(service: Running) -> None:
    """A name with tags and mentions is code in Markdown, and escaped in XML."""
    job = converted(service, b"fine, with a hostile name for pipelines").json()["links"]
    report = building.poisoned(building.failed(), "<img src=x> @all \x00")
    stored = report_of(service, job["report"].split("/")[2])
    stored.write_text(report.model_dump_json())
    assert "`<img src=x> @all \\x00`" in get(service, job["markdown"]).text
    fromstring(get(service, job["junit"]).text)  # noqa: S314  # our own service's
    assert get(service, job["junit"]).headers["content-security-policy"]
