"""`GET /jobs/{id}/comparison`: who gets what, and what is refused how."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest

from convlast.report.changes import Comparison
from service.problems import MEDIA_TYPE
from service.routes.comparison import MAX_REPORT_BYTES
from tests.service.running import Running, Serve, wait_for

KEYS = {"alice": "key-of-alice", "bob": "key-of-bob"}


def job_of(service: Running, content: bytes, *, filename: str = "m.pt", key: str = "") -> str:
    """Convert a checkpoint, and return the id of its job."""
    headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    answer = service.convert(content, filename, headers=headers)
    return str(answer.json()["links"]["report"].split("/")[2])


def ask(
    service: Running,
    job: str,
    other: str | None,
    *,
    accept: str = "application/json",
    key: str = "",
) -> httpx.Response:
    """Ask for the comparison of two jobs."""
    headers = {"Accept": accept} | ({"Authorization": f"Bearer {key}"} if key else {})
    query = {} if other is None else {"with": other}
    with service.client() as client:
        return client.get(f"/jobs/{job}/comparison", params=query, headers=headers)


def report_of(service: Running, job: str) -> Path:
    """Return the file in which the service keeps the report of a job."""
    [found] = (service.work_dir / "store" / job).rglob("report.json")
    return found


@pytest.fixture(scope="module")
def jobs(service: Running) -> tuple[str, str]:
    """Two jobs on different checkpoints."""
    return job_of(service, b"fine one"), job_of(service, b"fine two", filename="other.pt")


def test_two_jobs_are_compared_as_json(service: Running, jobs: tuple[str, str]) -> None:
    """The job of the path is `before`, that of `with` is `after`; JSON is the default."""
    before, after = jobs
    answer = ask(service, before, after, accept="*/*")
    found = Comparison.model_validate_json(answer.content)
    assert answer.headers["content-type"] == "application/json"
    assert (found.before.job_id, found.after.job_id) == (before, after)
    assert {"input.filename", "input.sha256"} <= {each.field for each in found.facts}
    assert not found.same_input
    same = Comparison.model_validate_json(ask(service, before, before).content)
    assert not same.changed


def test_a_browser_gets_a_page(service: Running, jobs: tuple[str, str]) -> None:
    """The page has the policy of a report: our own style and script alone, in a sandbox."""
    accept = "text/html,application/xhtml+xml,*/*;q=0.8"
    answer = ask(service, *jobs, accept=accept)
    with service.client() as client:
        report = client.get(f"/jobs/{jobs[0]}/report.html")
    assert answer.text.startswith("<!doctype html>")
    assert "other.pt" in answer.text
    for name in ("content-type", "content-security-policy", "vary"):
        assert answer.headers[name] == report.headers[name]
    refused = ask(service, *jobs, accept="application/zip")
    assert refused.json()["code"] == "not-acceptable"


def test_head_is_get_without_a_body(service: Running, jobs: tuple[str, str]) -> None:
    """The length is that of the answer, and a refusal of another method names both."""
    path = f"/jobs/{jobs[0]}/comparison?with={jobs[1]}"
    with service.client() as client:
        got, head, refused = client.get(path), client.head(path), client.delete(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(got.content))
    assert set(refused.headers["allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize("other", [None, ""])
def test_the_other_job_must_be_named(
    service: Running, jobs: tuple[str, str], other: str | None
) -> None:
    """Without `with` the refusal says what to add."""
    answer = ask(service, jobs[0], other)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-option")
    assert "?with=ID" in answer.json()["detail"]


def test_both_jobs_must_be_there(service: Running, jobs: tuple[str, str]) -> None:
    """A job that is unknown, goes on, or was cancelled is told as for its other files."""
    with service.client() as client:
        content = {"checkpoint": ("m.pt", b"hangs 5")}
        started = client.post("/convert", files=content, headers={"Prefer": "respond-async"})
        running = started.json()["id"]
        answers = {"conflict": [ask(service, jobs[0], running), ask(service, running, jobs[0])]}
        client.delete(f"/jobs/{running}")
    answers["gone"] = [ask(service, jobs[0], running), ask(service, running, jobs[0])]
    answers["not-found"] = [ask(service, jobs[0], "none"), ask(service, "none", jobs[0])]
    for code, found in answers.items():
        for answer in found:
            assert answer.json()["code"] == code
            assert answer.headers["content-type"] == MEDIA_TYPE


def test_a_job_without_a_report_has_nothing_to_compare(
    service: Running, jobs: tuple[str, str]
) -> None:
    """A job that failed before there was a report is `not-found`."""
    with service.client() as client:
        content = {"checkpoint": ("m.pt", b"refuses this")}
        headers = {"Prefer": "respond-async"}
        job = client.post("/convert", files=content, headers=headers).json()["id"]
        wait_for(lambda: client.get(f"/jobs/{job}").json()["state"] == "failed")
    answer = ask(service, job, jobs[0])
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (b"nonsense", "is not JSON"),
        (b'{"verdict": "passed"}', "not a report"),
        (b'{"schema_version": "9.0"}', "another version"),
        (b'{"schema_version": "1.1", "layers": 3}', "damaged"),
        (b"{%b}" % (b" " * MAX_REPORT_BYTES), "too large"),
        (b'{"a":' * 100_000, "is not JSON"),
    ],
)
def test_what_a_worker_wrote_is_not_trusted(service: Running, spoilt: bytes, said: str) -> None:
    """A report that a compromised worker wrote is a clear refusal, whichever of the two it is."""
    content = b"fine, to be spoilt: " + spoilt[-40:]
    good, bad = job_of(service, b"fine"), job_of(service, content)
    report_of(service, bad).write_bytes(spoilt)
    for pair, name in (((good, bad), "with"), ((bad, good), "job_id")):
        answer = ask(service, *pair)
        assert answer.status_code == 422
        problem = answer.json()
        assert (problem["code"], problem["option"]) == ("invalid-option", name)
        assert said in problem["detail"]


def test_hostile_names_stay_text(service: Running) -> None:
    """A name with tags in a report is text on the page, whose only script is ours."""
    jobs = job_of(service, b"fine"), job_of(service, b"fine, with a hostile name")
    stored = report_of(service, jobs[1])
    report = json.loads(stored.read_bytes())
    report["input"]["filename"] = "<img src=x onerror=alert(1)>\u202e.pt"
    stored.write_text(json.dumps(report))
    page = ask(service, *jobs, accept="text/html").text
    assert "<img" not in page
    assert "&lt;img" in page
    assert "\u202e" not in page
    assert len(re.findall("<script", page)) == 1


def test_both_jobs_must_be_the_caller_s_own(serve: Serve, tmp_path: Path) -> None:
    """Another owner's job is not there, on either side, and without a key nothing is."""
    keys = tmp_path / "keys"
    keys.write_text("".join(f"{name}:{key}\n" for name, key in KEYS.items()))
    service = serve(api_keys_file=keys)
    mine = job_of(service, b"fine", key=KEYS["alice"])
    theirs = job_of(service, b"fine", key=KEYS["bob"])
    for pair in ((mine, theirs), (theirs, mine)):
        assert ask(service, *pair, key=KEYS["alice"]).json()["code"] == "not-found"
        assert ask(service, *pair).json()["code"] == "unauthorized"
    assert ask(service, mine, mine, key=KEYS["alice"]).status_code == 200
