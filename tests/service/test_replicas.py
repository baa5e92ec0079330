"""Two services with one store, as processes: any of them answers, and none is missed."""

from __future__ import annotations

import hashlib
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.running import Running, Serve, wait_for

FILLER = bytes(300_000)


@pytest.fixture
def replica(serve: Serve, tmp_path: Path) -> Serve:
    """Return a function that starts a service with its own work folder and the common store."""
    number = iter(range(10))

    def started(**settings: object) -> Running:
        own = tmp_path / f"replica-{next(number)}"
        own.mkdir()
        store = f"file://{tmp_path}/store"
        return serve(log=own / "log", work_dir=own / "work", store=store, **settings)

    return started


def submit(service: Running, content: bytes, **headers: str) -> dict[str, Any]:
    """Send a checkpoint, and return the job."""
    with service.client() as client:
        headers = {"Content-Type": "application/octet-stream", **headers}
        if "Prefer" not in headers:
            headers["Prefer"] = "respond-async"
        answer = client.post("/convert?filename=m.pt", content=content, headers=headers)
    assert answer.status_code in {200, 202}, answer.text
    status: dict[str, Any] = answer.json()
    return status


def follow(service: Running, job_id: str) -> dict[str, Any]:
    """Wait for the end of a job."""
    with service.client() as client:
        while True:
            answer = client.get(f"/jobs/{job_id}", params={"wait": 10})
            assert answer.status_code == 200, answer.text
            status: dict[str, Any] = answer.json()
            if status["state"] not in {"queued", "running"}:
                return status


def test_any_replica_answers_any_job(replica: Serve) -> None:
    """Its state, events, files and list, with ranges; and it cancels and removes it."""
    one, other = replica(), replica()
    content = b"sleeps 0.5 " + FILLER
    job = submit(one, content)
    with other.client() as client:
        with client.stream("GET", f"/jobs/{job['id']}/events") as events:
            told = [line for line in events.iter_lines() if line.startswith("data:")]
        assert '"state":"succeeded"' in told[-1]
        path = f"/jobs/{job['id']}"
        artifact = client.get(f"{path}/artifact")
        assert artifact.content == content
        sha256 = hashlib.sha256(content).hexdigest()
        assert artifact.headers["etag"] == f'"{sha256}"'
        part = client.get(f"{path}/artifact", headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, content[10:20])
        assert client.get(f"{path}/report").json()
        assert client.get(f"{path}/archive").status_code == 200
        assert [each["id"] for each in client.get("/jobs").json()["jobs"]] == [job["id"]]
        assert client.delete(path).status_code == 204
    with one.client() as client:
        assert client.get(path).status_code == 410
        hanging = submit(one, b"hangs")
        processes = one.descendants()
        wait_for(lambda: client.get(f"/jobs/{hanging['id']}").json()["state"] == "running")
    with other.client() as client:
        cancelled = client.delete(f"/jobs/{hanging['id']}")
        assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert processes - one.descendants(), "the process of the job is gone"


def test_a_replica_that_dies_loses_nothing(replica: Serve) -> None:
    """What it had accepted is finished by the other one, with the same bytes."""
    one, other = replica(), replica()
    contents = [b"sleeps %.1f %d" % (0.2, number) + FILLER for number in range(6)]
    jobs = [submit(one, content) for content in contents]
    one.process.kill()
    with ThreadPoolExecutor(6) as pool:
        ended = list(pool.map(lambda job: follow(other, job["id"]), jobs))
    assert [status["state"] for status in ended] == ["succeeded"] * 6
    with other.client() as client:
        for job, content in zip(jobs, contents, strict=True):
            assert client.get(f"/jobs/{job['id']}/artifact").content == content


def test_a_rolling_update_is_not_noticed(replica: Serve) -> None:
    """The jobs of a replica that ends in order go on at once, and its clients ask the other one."""
    one, other = replica(), replica()
    contents = [b"sleeps 0.3 %d" % number + FILLER for number in range(4)]
    jobs = [submit(random.choice((one, other)), content) for content in contents]  # noqa: S311
    assert one.stop() == 0
    assert {follow(other, job["id"])["state"] for job in jobs} == {"succeeded"}


def test_the_same_request_at_both_replicas_is_one_job(replica: Serve) -> None:
    """Also if it waits for the result, which it gets from the store."""
    one, other = replica(), replica()
    content = b"sleeps 0.5 " + FILLER
    job = submit(one, content)
    with other.client() as client:
        headers = {"Content-Type": "application/octet-stream", "Accept": "application/json"}
        answer = client.post("/convert?filename=m.pt", content=content, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.headers["convlast-job"] == job["id"]
        again = httpx.get(f"{one.url}{answer.json()['links']['artifact']}", trust_env=False)
    assert again.content == content


def test_bytes_that_one_replica_has_got_need_not_be_sent_to_the_other(replica: Serve) -> None:
    """They are named by their digest, with other options, and come from the store."""
    one, other = replica(), replica()
    content = b"fine " + FILLER
    assert follow(one, submit(one, content)["id"])["state"] == "succeeded"
    source = f"sha256:{hashlib.sha256(content).hexdigest()}"
    for service in (one, other):
        options = {"smoke": "none"} if service is one else {"on_failure": "reject"}
        with service.client() as client:
            asked = {"source": source, "options": options}
            answer = client.post("/convert", json=asked, headers={"Prefer": "respond-async"})
        assert answer.status_code == 202, answer.text
        status = follow(service, answer.json()["id"])
        assert (status["state"], status["input"]["filename"]) == ("succeeded", "m.pt")
