"""Asynchronous jobs over HTTP, with the fake task, which obeys the first word of a file."""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.problems import JOB_FIELD
from tests.service.running import Running, Serve, wait_for

ASYNC = {"Prefer": "respond-async"}
KEYS = {"alice": "key-of-alice", "bob": "key-of-bob"}


def new(content: bytes = b"fine") -> bytes:
    """Return a checkpoint that no other test has sent."""
    return content + b" " + secrets.token_hex(8).encode()


def post(service: Running, content: bytes, verb: str = "convert", **headers: str) -> httpx.Response:
    """Send a checkpoint, with these fields."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with service.client() as client:
        return client.post(f"/{verb}", files={"checkpoint": ("m.pt", content)}, headers=named)


def name_source(service: Running, content: bytes, **more: Any) -> httpx.Response:
    """Ask for a job with bytes that the service may have."""
    headers = more.pop("headers", {})
    body = {"source": f"sha256:{hashlib.sha256(content).hexdigest()}", **more}
    with service.client() as client:
        return client.post("/convert", json=body, headers=headers)


def get(service: Running, url: str, **headers: str) -> httpx.Response:
    """Send a GET."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with service.client() as client:
        return client.get(url, headers=named)


def delete(service: Running, url: str) -> httpx.Response:
    """Send a DELETE."""
    with service.client() as client:
        return client.delete(url)


def ended(service: Running, answer: httpx.Response) -> dict[str, Any]:
    """Wait for the end of the job of a 202, and return it."""
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = get(service, f"{answer.headers['location']}?wait=30").json()
    while job["state"] not in ("succeeded", "failed", "cancelled"):
        job = get(service, f"{answer.headers['location']}?wait=30").json()
    return job


def events_of(service: Running, url: str, **headers: str) -> list[tuple[int, dict[str, Any]]]:
    """Follow a job to the end of the stream, and return the number and the job of each event."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    found, number = [], -1
    with service.client() as client, client.stream("GET", url, headers=named) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("id: "):
                number = int(line.removeprefix("id: "))
            elif line.startswith("data: "):
                found.append((number, json.loads(line.removeprefix("data: "))))
    return found


def test_an_asynchronous_conversion_is_answered_with_its_job(service: Running) -> None:
    """202 names the job, the preference and when to come back; the job says what it is about."""
    content = new()
    answer = post(service, content, **ASYNC)
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == job["links"]["self"] == f"/jobs/{job['id']}"
    assert answer.headers["preference-applied"] == "respond-async"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers[JOB_FIELD] == job["id"]
    assert job["input"] == {
        "filename": "m.pt",
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "source": None,
    }
    finished = ended(service, answer)
    assert (finished["state"], finished["verdict"]) == ("succeeded", "passed")
    assert finished["created_at"] <= finished["started_at"] <= finished["finished_at"]
    assert finished["finished_at"] < finished["expires_at"]
    assert (finished["attempts"], finished["device"]) == (1, "cpu")


def test_all_links_of_a_finished_job_lead_somewhere(service: Running) -> None:
    """The artifact, each report and the archive are there, and the archive is the usual zip."""
    content = new()
    job = ended(service, post(service, content, **ASYNC))
    kinds = {"report", "html", "markdown", "junit", "sarif"}
    files = {"artifact", "archive", "provenance", *kinds}
    assert job["links"].keys() == {"self", "events", *files}
    for link in job["links"].values():
        assert get(service, link).status_code == 200
    assert get(service, job["links"]["artifact"]).content == content
    usual = post(service, content, Accept="application/zip")
    assert usual.headers[JOB_FIELD] == job["id"]
    assert get(service, job["links"]["archive"]).content == usual.content


def test_the_same_request_has_the_same_job_and_runs_once(service: Running) -> None:
    """Twice at once and once more later: one id, one attempt, one result."""
    content = new(b"sleeps 0.5")
    first, second = post(service, content, **ASYNC), post(service, content, **ASYNC)
    assert first.json()["id"] == second.json()["id"]
    finished = ended(service, first)
    again = post(service, content, **ASYNC)
    assert again.status_code == 202
    assert again.json() == finished
    assert finished["attempts"] == 1


@pytest.mark.parametrize("changed", [{"smoke": "none"}, {"container": "torch"}])
def test_other_options_are_another_job(service: Running, changed: dict[str, str]) -> None:
    """The id follows from the options too; the bytes are named and not sent again."""
    content = new()
    first = ended(service, post(service, content, **ASYNC))
    answer = name_source(service, content, options=changed, headers=ASYNC)
    second = ended(service, answer)
    assert second["id"] != first["id"]
    assert second["options"] == changed
    assert second["input"] == first["input"]


def test_bytes_can_be_named_for_a_synchronous_answer(service: Running) -> None:
    """The answer is the usual one, under another name if one is given."""
    content = new()
    ended(service, post(service, content, **ASYNC))
    answer = name_source(
        service, content, filename="../other.pt", headers={"Accept": "application/octet-stream"}
    )
    assert answer.content == content
    assert 'filename="other.channels_last_3d.pt"' in answer.headers["content-disposition"]


def test_bytes_that_are_not_there_are_asked_for(service: Running) -> None:
    """A synchronous upload is not kept."""
    content = new()
    assert post(service, content).status_code == 200
    answer = name_source(service, content)
    assert answer.status_code == 404
    assert "Upload" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("no JSON", "malformed-request"),
        ("[]", "malformed-request"),
        ('{"source": "sha256:00"}', "malformed-request"),
        ('{"source": 7}', "malformed-request"),
        ('{"source": "sha256:%s", "x": 1}' % ("0" * 64), "malformed-request"),
        ('{"source": "sha256:%s", "options": []}' % ("0" * 64), "malformed-request"),
        ('{"source": "sha256:%s", "filename": 1}' % ("0" * 64), "malformed-request"),
        ('{"source": "sha256:%s", "options": {"smok": "none"}}' % ("0" * 64), "invalid-option"),
        ('{"source": "sha256:%s", "options": {"smoke": 1}}' % ("0" * 64), "invalid-option"),
        ("[" * 100_000, "malformed-request"),
        (" " * 300_000, "upload-too-large"),
    ],
)
def test_a_body_that_names_nothing_is_refused(service: Running, body: str, code: str) -> None:
    """What is wrong is named, and nothing crashes."""
    headers = {"Content-Type": "application/json"}
    with service.client() as client:
        assert client.post("/convert", content=body, headers=headers).json()["code"] == code


def test_a_wait_ends_with_the_result_or_with_the_job(service: Running) -> None:
    """`Prefer: wait` has the usual answer in time, and else a job that goes on."""
    quick = post(service, new(), Prefer="wait=20", Accept="application/octet-stream")
    assert quick.status_code == 200
    slow = post(service, new(b"sleeps 2"), Prefer="wait=1")
    assert slow.headers["preference-applied"] == "wait=1"
    assert ended(service, slow)["state"] == "succeeded"


def test_a_refusal_is_the_end_of_its_job(service: Running) -> None:
    """The job has the problem; the same request gets it again, at once or as the usual answer."""
    content = new(b"refuses")
    job = ended(service, post(service, content, **ASYNC))
    assert (job["state"], job["problem"]["code"]) == ("failed", "unsafe-checkpoint")
    assert job["problem"]["names"] == ["os.system"]
    assert "artifact" not in job["links"]
    assert get(service, f"{job['links']['self']}/artifact").status_code == 404
    assert post(service, content, **ASYNC).json() == job
    assert post(service, content).json()["code"] == "unsafe-checkpoint"


def test_a_failed_verification_leaves_its_report(service: Running) -> None:
    """The report is a file of the job, and not in the job's own document."""
    job = ended(service, post(service, new(b"fails-verification 0"), **ASYNC))
    assert job["problem"]["code"] == "verification-failed"
    assert job["verdict"] == "failed"
    assert "report" not in job["problem"]
    assert get(service, job["links"]["report"]).json()["verdict"] == "failed"


def test_a_crash_is_tried_once_more_and_then_told(service: Running) -> None:
    """The process may have been killed by somebody; two crashes are the checkpoint's own."""
    job = ended(service, post(service, new(b"crashes"), **ASYNC))
    assert (job["attempts"], job["problem"]["code"]) == (2, "worker-crashed")


def test_a_job_is_followed_by_events(service: Running) -> None:
    """Numbers grow, the last event is the end, and a client that has it need not come again."""
    answer = post(service, new(b"sleeps 1"), **ASYNC)
    url = answer.json()["links"]["events"]
    followed = events_of(service, url)
    numbers = [number for number, _ in followed]
    assert numbers == sorted(set(numbers))
    assert [number == job["progress"]["seq"] for number, job in followed]
    assert followed[-1][1]["state"] == "succeeded"
    assert events_of(service, url) == [followed[-1]]
    assert events_of(service, url, Last_Event_ID=str(numbers[0])) == [followed[-1]]
    assert get(service, url, Last_Event_ID=str(numbers[-1])).status_code == 204


def test_a_poll_waits_for_news(service: Running) -> None:
    """With the tag of what it knows a client waits for a change, and gets 304 without one."""
    job = post(service, new(b"hangs"), **ASYNC).json()["links"]["self"]
    wait_for(lambda: get(service, job).json()["state"] == "running")
    wait_for(lambda: get(service, job).json()["progress"]["stage"] == "read")
    known = get(service, job).headers["etag"]
    unchanged = get(service, f"{job}?wait=0.3", If_None_Match=known)
    assert (unchanged.status_code, unchanged.headers["etag"]) == (304, known)
    polled: list[httpx.Response] = []
    thread = threading.Thread(
        target=lambda: polled.append(get(service, f"{job}?wait=30", If_None_Match=known))
    )
    thread.start()
    assert delete(service, job).json()["state"] == "cancelled"
    thread.join(60)
    assert polled[0].json()["state"] == "cancelled"


@pytest.mark.parametrize("query", ["wait=soon", "wait=-1", "wait=nan", "wait="])
def test_a_wait_is_a_number(service: Running, query: str) -> None:
    """Anything else is refused by name."""
    job = post(service, new(), **ASYNC).json()["links"]["self"]
    answer = get(service, f"{job}?{query}")
    assert (answer.status_code, answer.json()["option"]) == (422, "wait")


def test_a_cancelled_job_is_stopped_and_leaves_no_file(service: Running) -> None:
    """Its process is gone when the answer comes; its links say that it was cancelled."""
    content = new(b"hangs")
    job = post(service, content, **ASYNC).json()
    url, id_ = job["links"]["self"], job["id"]
    wait_for(lambda: list(service.work_dir.glob(f"workers/*/work/{id_}")))
    answer = delete(service, url)
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert not list(service.work_dir.glob(f"workers/*/work/{id_}"))
    left = {Path(name).name for name in service.files() if id_ in name} - {id_}
    assert left == {"request.json", "attempt-1", "outcome.json"}
    assert name_source(service, content).status_code == 404
    assert get(service, f"{url}/artifact").json()["code"] == "gone"
    assert get(service, url).json()["state"] == "cancelled"
    assert delete(service, url).status_code == 204
    assert get(service, url).json()["code"] == "gone"
    assert not [name for name in service.files() if id_ in name]


def test_a_refused_method_is_told_all_that_a_job_has(service: Running) -> None:
    """They are in several routes to the same path."""
    with service.client() as client:
        refused = client.put("/jobs/any")
    assert refused.status_code == 405
    assert refused.headers["allow"] == "GET, HEAD, DELETE"


def test_a_cancelled_job_is_run_anew_by_the_same_request(service: Running) -> None:
    """Its id is the same, and it starts again."""
    content = new(b"sleeps 1")
    first = post(service, content, **ASYNC).json()
    assert delete(service, first["links"]["self"]).json()["state"] == "cancelled"
    again = post(service, content, **ASYNC)
    assert again.json()["id"] == first["id"]
    assert ended(service, again)["state"] == "succeeded"


def test_a_removed_job_is_gone(service: Running) -> None:
    """DELETE removes a finished job with its files, and later requests are told so."""
    job = ended(service, post(service, new(), **ASYNC))
    assert delete(service, job["links"]["self"]).status_code == 204
    for link in job["links"].values():
        assert get(service, link).status_code == 410
    assert get(service, "/jobs/unknown").status_code == 404


def test_a_synchronous_call_is_told_that_its_job_was_cancelled(service: Running) -> None:
    """The job is listed while it runs, and can be cancelled by its owner."""
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(post(service, new(b"hangs"))))
    thread.start()
    wait_for(lambda: [each for each in listed(service) if each["state"] == "running"])
    [running] = [each for each in listed(service) if each["state"] == "running"]
    assert delete(service, running["links"]["self"]).status_code == 200
    thread.join(60)
    assert answers[0].json()["code"] == "gone"


def listed(service: Running, query: str = "", **headers: str) -> list[dict[str, Any]]:
    """Return a page of jobs."""
    jobs: list[dict[str, Any]] = get(service, f"/jobs{query}", **headers).json()["jobs"]
    return jobs


def test_jobs_are_listed_in_pages_the_newest_first(serve: Serve) -> None:
    """The pages together have each job once, also by state."""
    service = serve()
    made = [ended(service, post(service, new(), **ASYNC))["id"] for _ in range(5)]
    made.append(ended(service, post(service, new(b"refuses"), **ASYNC))["id"])
    pages, url = [], "/jobs?limit=4"
    while url:
        page = get(service, url).json()
        pages.append([job["id"] for job in page["jobs"]])
        url = page["next"]
    assert [len(page) for page in pages] == [4, 2]
    assert [each for page in pages for each in page] == made[::-1]
    assert [job["id"] for job in listed(service, "?state=failed")] == made[-1:]
    assert get(service, "/jobs?limit=0").json()["code"] == "invalid-option"


def test_owners_see_nothing_of_each_other(serve: Serve, tmp_path: Path) -> None:
    """The same bytes are another job; neither its job nor its bytes are found by the other."""
    keys = tmp_path / "keys"
    keys.write_text("".join(f"{name}:{key}\n" for name, key in KEYS.items()))
    service = serve(api_keys_file=keys)
    alice, bob = ({"Authorization": f"Bearer {key}"} for key in KEYS.values())
    content = new()
    first = post(service, content, **ASYNC, **alice)
    assert name_source(service, content, headers=bob).status_code == 404
    job = first.json()["links"]["self"]
    assert (
        get(service, job, **bob).json()
        == {
            **get(service, "/jobs/unknown", **bob).json(),
            "request_id": get(service, job, **bob).json()["request_id"],
        }
        or get(service, job, **bob).status_code == 404
    )
    assert get(service, f"{job}/events", **bob).status_code == 404
    with service.client() as client:
        assert client.delete(job, headers=bob).status_code == 404
    second = post(service, content, **ASYNC, **bob)
    assert second.json()["id"] != first.json()["id"]
    assert [each["id"] for each in listed(service, **bob)] == [second.json()["id"]]
    assert name_source(service, content, headers=alice).status_code == 200


def test_a_flood_of_jobs_is_refused_before_the_upload(serve: Serve) -> None:
    """Beyond the bound of a client the body is not read, and the answer says when to come again."""
    service = serve(pending_jobs_per_key=2)
    jobs = [post(service, new(b"hangs"), **ASYNC).json()["links"]["self"] for _ in range(2)]
    with service.connect() as connection:
        connection.sendall(
            b"POST /convert HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
            b"Prefer: respond-async\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
        )
        answer = b""
        while not answer.endswith(b"}\n"):
            answer += connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 429")
    assert b"retry-after" in answer
    assert b"CONVLAST_PENDING_JOBS_PER_KEY" in answer
    assert service.metric("convlast_pending_jobs") == 2
    assert post(service, new(), verb="inspect").status_code == 200
    for job in jobs:
        delete(service, job)
    assert post(service, new(), **ASYNC).status_code == 202


def test_jobs_go_on_after_a_kill(serve: Serve) -> None:
    """Killed while one job runs and another waits: both are finished by the next service."""
    service = serve()
    done = post(service, new(b"refuses"), verb="inspect", **ASYNC)
    before = ended(service, done)
    running = post(service, new(b"sleeps 4"), **ASYNC)
    waiting = post(service, new(b"sleeps 0.1"), **ASYNC)
    wait_for(lambda: get(service, running.headers["location"]).json()["state"] == "running")
    service.process.kill()
    service.process.wait()
    again = serve()
    assert [ended(again, each)["state"] for each in (running, waiting)] == ["succeeded"] * 2
    assert ended(again, running)["attempts"] == 2
    assert get(again, done.headers["location"]).json() == before
    for each in (running, waiting, done):
        assert delete(again, each.headers["location"]).status_code == 204
    wait_for(lambda: again.files() == set())


def test_a_drained_service_finishes_what_runs_and_keeps_what_waits(serve: Serve) -> None:
    """SIGTERM: the running job ends, the one that waits goes on with the next service."""
    service = serve()
    running = post(service, new(b"sleeps 2"), **ASYNC)
    waiting = post(service, new(b"sleeps 0.1"), **ASYNC)
    wait_for(lambda: get(service, running.headers["location"]).json()["state"] == "running")
    assert service.stop() == 0
    again = serve()
    first = get(again, running.headers["location"]).json()
    assert (first["state"], first["attempts"]) == ("succeeded", 1)
    assert ended(again, waiting)["state"] == "succeeded"


def test_a_job_that_ends_the_service_is_given_up(serve: Serve) -> None:
    """A job that ran whenever the service was killed is not begun for ever."""
    service = serve()
    job = post(service, new(b"hangs"), **ASYNC).headers["location"]
    for attempt in (1, 2, 3):
        wait_for(lambda n=attempt, s=service: get(s, job).json()["attempts"] == n)  # type: ignore[misc]  # a lambda with defaults
        service.process.kill()
        service.process.wait()
        service = serve()
    wait_for(lambda: get(service, job).json()["state"] == "failed")
    assert get(service, job).json()["problem"]["code"] == "worker-crashed"
