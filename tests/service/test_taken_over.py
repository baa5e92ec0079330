"""Whatever a worker sends or leaves, its client gets an answer and no other is affected."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from service.problems import MEDIA_TYPE, TABLE
from service.routes.openapi import CONVERT_CODES, UPLOAD_CODES
from service.workers import MAX_EMBEDDED_BYTES
from service.workers.messages import MAX_LINE_BYTES
from tests.service.running import wait_for
from tests.service.taken_over import Leave, Part, Stage, line, staged

STORE_BYTES = 2_000_000
SECRET = b"what belongs to another"
REPORTS = {"report.json": b'{"verdict": "passed"}', "report.html": b"<title>report</title>"}
FILES: dict[str, bytes | Leave] = {**REPORTS, "a.pt": b"A" * 1000}
DONE = {"verdict": "passed", "artifact": {"filename": "a.pt", "crc32": 5}}
DONE |= {"artifact_sha256": "0" * 64, "reports": [], "seconds": {"read": 0.1}}
REFUSED = {"code": "verification-failed", "detail": "It differs.", "has_report": True}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Run a service with a small store whose workers are played."""
    folder = tmp_path_factory.mktemp("stage")
    (folder / "secret").write_bytes(SECRET)
    with staged(folder, store_bytes=STORE_BYTES, job_timeout_s=120) as stage:
        yield stage


def work_dir(stage: Stage) -> Path:
    """Return the work folder."""
    return stage.context.settings.work_dir


def finished(**fields: object) -> bytes:
    """Return a complete answer, with these fields replaced."""
    return line("finished", **{**DONE, **fields})


def refused(**fields: object) -> bytes:
    """Return a complete refusal, with these fields replaced."""
    return line("refused", **{**REFUSED, **fields})


def expect_sound(response: httpx.Response, path: str) -> None:
    """Check that an answer is valid HTTP and that its code is documented."""
    for name, value in response.headers.multi_items():
        assert re.fullmatch(r"[\t\x20-\x7e]*", value), name
        assert len(value) < 2000, name
    assert "x-evil" not in response.headers
    assert SECRET not in response.content
    assert "owner" not in response.text
    if response.status_code == 200:
        expect_sound_report(response, path)
        return
    problem = response.json(parse_constant=pytest.fail)
    assert response.headers["content-type"] == MEDIA_TYPE
    assert problem["code"] in (CONVERT_CODES if path == "/convert" else UPLOAD_CODES)
    assert problem["status"] == response.status_code == TABLE[problem["code"]].status
    assert problem["type"].endswith(problem["code"])
    assert re.fullmatch(r"[0-9]+", response.headers.get("retry-after", "0"))
    assert isinstance(problem.get("report", {}), dict)


def expect_sound_report(response: httpx.Response, path: str) -> None:
    """Check that a report is an object, if it was parsed, with the service's own links."""
    is_short = len(response.content) <= MAX_EMBEDDED_BYTES
    if response.headers["content-type"] == "application/json" and is_short:
        report = response.json(parse_constant=pytest.fail)
        if path == "/convert":
            assert re.fullmatch(r"/jobs/[0-9a-f]{64}/artifact", report["links"]["artifact"])


def stored_bytes(stage: Stage) -> int:
    """Return the size of all files of finished jobs; a thread may remove some meanwhile."""
    store, found_bytes = work_dir(stage) / "store", 0
    for folder, _, names in os.walk(store):
        for name in names if Path(folder).parent.parent == store else []:
            with suppress(FileNotFoundError):
                found_bytes += Path(folder, name).lstat().st_size
    return found_bytes


def is_swept(stage: Stage) -> bool:
    """Let the service go on for a request, and say whether the store has what it counts."""
    assert stage.get("/livez").status_code == 200
    return stored_bytes(stage) == stage.context.jobs.table.kept_bytes <= STORE_BYTES


def expect_calm(stage: Stage) -> None:
    """Check that nothing is left, that metrics are sane, and that the next job succeeds."""
    wait_for(lambda: is_swept(stage))
    assert not list((work_dir(stage) / "jobs").iterdir())
    assert stage.context.workspace.quota.taken_bytes == stage.context.job_admission.taken_count == 0
    metrics = stage.get("/metrics").text
    assert len(metrics) < 100_000
    values = [float(row.split()[-1]) for row in metrics.splitlines() if not row.startswith("#")]
    assert all(0 <= value < 1e12 for value in values)
    assert 0 <= stage.context.job_admission.job_s < 100
    assert stage.send("/convert").status_code == 200


def expect_all(stage: Stage, path: str, part: Part, accept: str) -> httpx.Response:
    """Play a part, and make the checks that hold for every part."""
    with capture_logs() as log:
        response = stage.send(path, part, Accept=accept)
    assert not [entry for entry in log if entry["event"] == "request failed"], log
    expect_sound(response, path)
    expect_calm(stage)
    return response


HOSTILE = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**40), 10**40),
        st.floats(),
        st.sampled_from(["", "x\r\nX-Evil: 1", "../../secret", "job.json", "\x00", "a" * 20_000]),
        st.text(max_size=50),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=10,
)
NAMES = st.sampled_from(
    ["a.pt", "job.json", "artifact", "report.json", "report.html", "upload", "../a.pt", ".", "b.pt"]
)
MADE = st.fixed_dictionaries(
    {"filename": NAMES | HOSTILE}, optional={"crc32": st.integers(0, 9) | HOSTILE, "bytes": HOSTILE}
)
SECONDS = st.dictionaries(
    st.sampled_from(["read", "convert", "queue", "upload", "x\r\ny"]) | st.text(max_size=9),
    st.floats() | HOSTILE,
    max_size=9,
)
MEMBERS = st.dictionaries(
    st.sampled_from(["retry_after_s", "status", "report", "code", "limit", "names"])
    | st.text(max_size=9),
    HOSTILE,
    max_size=5,
)
EVENTS = st.one_of(
    st.builds(
        finished,
        verdict=st.just("passed") | HOSTILE,
        artifact=MADE | HOSTILE,
        artifact_sha256=st.just("0" * 64) | HOSTILE,
        reports=st.lists(MADE, max_size=3) | HOSTILE,
        seconds=SECONDS | HOSTILE,
    ),
    st.builds(finished, artifact=MADE),
    st.builds(finished, seconds=SECONDS),
    st.builds(refused, code=st.sampled_from(list(TABLE)) | HOSTILE),
    st.builds(refused, detail=HOSTILE, has_report=HOSTILE),
    st.builds(refused, members=MEMBERS | HOSTILE),
    st.builds(lambda told: line("failed", traceback=told), HOSTILE),
    st.builds(
        lambda name, done, total: line("stage", name=name, done=done, total=total),
        st.sampled_from(["read", "files"]) | HOSTILE,
        st.just(0) | HOSTILE,
        st.just(7) | HOSTILE,
    ),
    st.builds(lambda facts, walls: line("ready", facts=facts, walls=walls), HOSTILE, HOSTILE),
    st.builds(lambda said: json.dumps(said).encode(), HOSTILE),
    st.binary(max_size=40),
    st.just(b'"' + b"x" * (2 * MAX_LINE_BYTES)),
)


def is_gone(path: Path) -> None:
    """Leave nothing."""
    path.unlink(missing_ok=True)


def foreign_to(path: Path) -> Path:
    """Return the file beside the work folder."""
    return next(file for parent in path.parents if (file := parent / "secret").exists())


def is_a_folder(path: Path) -> None:
    """Leave a folder."""
    is_gone(path)
    path.mkdir()


def is_a_link(path: Path) -> None:
    """Leave a link to a foreign file."""
    is_gone(path)
    path.symlink_to(foreign_to(path))


def is_a_second_name(path: Path) -> None:
    """Leave a hard link to a foreign file."""
    is_gone(path)
    path.hardlink_to(foreign_to(path))


def is_a_pipe(path: Path) -> None:
    """Leave a named pipe, which blocks."""
    is_gone(path)
    os.mkfifo(path)


def is_closed(path: Path) -> None:
    """Leave a file that its owner may not read, unless the owner is root."""
    is_gone(path)
    os.close(os.open(path, os.O_CREAT, 0))


WAYS: list[Leave] = [is_gone, is_a_folder, is_a_link, is_a_second_name, is_a_pipe, is_closed]
TEXTS = [
    b'{"a": 1}',
    b"{}",
    b"[]",
    b"",
    b"null",
    b'1, "status": 200, "code": "passed", "x": {}',
    b'{"a": 1}, "code": "passed", "x": {"b": 2}',
    b'{"links": {"artifact": "http://evil.example"}}',
    b'{"a": NaN}',
    b'{"a": "\xff"}',
    b'{"a": "\\ud800"}',
    b"[" * 100_000,
    b'{"a": "' + b"x" * MAX_EMBEDDED_BYTES + b'"}',
    b'{"a": "' + b"x" * MAX_EMBEDDED_BYTES,
]
LEFT = st.sampled_from(TEXTS) | st.sampled_from(WAYS) | st.binary(max_size=30)
PARTS = st.builds(
    lambda lines, files: Part(lines, {**FILES, **files}),
    st.lists(EVENTS, max_size=3) | st.just([finished()]) | st.just([refused()]),
    st.dictionaries(NAMES.filter(lambda name: "/" not in name and name != "."), LEFT, max_size=3),
)
ASKED = st.sampled_from(
    [
        ("/convert", "application/zip"),
        ("/convert", "application/json"),
        ("/convert", "application/octet-stream"),
        ("/inspect", "application/json"),
        ("/inspect", "text/html"),
        ("/convert", "text/markdown"),
        ("/inspect", "application/sarif+json"),
    ]
)


@settings(max_examples=100, deadline=None)
@given(part=PARTS, asked=ASKED)
def test_whatever_a_worker_does(stage: Stage, part: Part, asked: tuple[str, str]) -> None:
    """The answer is sound, its code is documented, and the service goes on."""
    expect_all(stage, asked[0], part, asked[1])


@pytest.mark.parametrize("accept", ["application/zip", "application/json"])
@pytest.mark.parametrize(
    "said",
    [
        finished(verdict="passed\r\nX-Evil: 1"),
        finished(artifact_sha256="ab\r\n\r\ncd"),
        finished(artifact_sha256="A" * 64),
        finished(artifact_sha256=None),
        finished(artifact=None),
        finished(artifact={"filename": "a.pt", "crc32": -1}),
        finished(artifact={"filename": "a.pt", "crc32": 1 << 32}),
        finished(artifact={"filename": "../a.pt", "crc32": 5}),
        finished(artifact={"filename": "report.json", "crc32": 5}),
        finished(artifact={"filename": "absent.pt", "crc32": 5}),
        finished(seconds={"convert": math.nan}),
        finished(seconds={"convert": math.inf}),
        finished(seconds={"read": -1}),
        finished(reports=[{"filename": "report.json"}] * 3),
        line("stage", name="read", done=-1, total=1),
        line("stage", name="files", done=0, total=10**15),
        line("stage", name="read\r\n", done=0, total=1),
        line("ready", facts={}, walls=[]),
        refused(detail="x" * 10_000),
        refused(members={"retry_after_s": "5\r\nX-Evil: 1"}),
        refused(members={"retry_after_s": 10**9}),
        refused(members={"report": {"verdict": "passed"}}),
        refused(members={"found": 10**30}),
        refused(members={"found": math.nan}),
        refused(members={f"a{number}": 1 for number in range(65)}),
        refused(members={"a\r\n": 1}),
        b"nonsense",
    ],
)
def test_a_value_that_makes_no_sense_ends_the_job(stage: Stage, said: bytes, accept: str) -> None:
    """An invalid value in any field is a crash of that worker."""
    response = expect_all(stage, "/convert", Part([said, finished()], FILES), accept)
    assert response.json()["code"] == "worker-crashed"


@pytest.mark.parametrize("code", ["queue-full", "unauthorized", "internal", "no-such-code"])
def test_a_worker_refuses_with_its_own_codes_only(stage: Stage, code: str) -> None:
    """A code that a worker cannot have is answered as an internal error."""
    response = expect_all(stage, "/convert", Part([refused(code=code)]), "*/*")
    assert response.json()["code"] == "internal"


def test_no_inspection_refuses_as_a_conversion(stage: Stage) -> None:
    """An inspection cannot be refused with a code of conversions."""
    response = expect_all(stage, "/inspect", Part([refused(code="device-lost")]), "*/*")
    assert response.json()["code"] == "internal"


@pytest.mark.parametrize("name", ["job.json", "artifact", "upload.pt", "index.html"])
@pytest.mark.parametrize("accept", ["application/octet-stream", "application/json"])
def test_a_name_of_the_services_own_is_a_name_like_others(
    stage: Stage, name: str, accept: str
) -> None:
    """An artifact with a name that the store uses is sent correctly."""
    made = {"filename": name, "crc32": 5}
    part = Part([finished(artifact=made)], {**REPORTS, name: b"content"})
    response = expect_all(stage, "/convert", part, accept)
    link = response.headers["content-location"].replace("/report", "/artifact")
    sent = stage.get(link)
    assert sent.content == b"content"
    assert f'filename="{name}"' in sent.headers["content-disposition"]


def test_the_store_counts_what_lies_there(stage: Stage) -> None:
    """The store measures sizes itself, and keeps no other file of a worker."""
    lies = {"filename": "a.pt", "crc32": 5, "bytes": -(10**15)}
    files = {**FILES, "a.pt": b"A" * 900_000, "beside": b"B" * 3_000_000}
    for _ in range(4):
        part = Part([finished(artifact=lies)], files)
        assert expect_all(stage, "/convert", part, "application/json").status_code == 200
    assert stage.context.jobs.table.kept_bytes > 1_800_000


def test_own_times_count(stage: Stage) -> None:
    """The service measures the total time, and no stage is longer."""
    told = dict.fromkeys(("upload", "queue", "convert", "read", "unknown"), 1e9)
    told |= {f"s{number}": 1.0 for number in range(2000)}
    response = expect_all(stage, "/convert", Part([finished(seconds=told)], FILES), "*/*")
    timing = dict(part.split(";dur=") for part in response.headers["server-timing"].split(", "))
    assert list(timing) == ["upload", "queue", "convert", "read"]
    assert all(float(value) < 100_000 for value in timing.values())


@pytest.mark.parametrize(
    "text", [text for text in TEXTS if text[:3] != b'{"l' and text != TEXTS[0]]
)
@pytest.mark.parametrize("accept", ["application/zip", "application/json"])
def test_a_report_that_is_none(stage: Stage, text: bytes, accept: str) -> None:
    """An invalid report is no answer; a refusal is sent without it."""
    files = {**FILES, "report.json": text}
    is_long = len(text) > MAX_EMBEDDED_BYTES and text.endswith(b"}")
    response = expect_all(stage, "/convert", Part([finished()], files), accept)
    assert response.status_code == (200 if is_long else 500)
    response = expect_all(stage, "/convert", Part([refused()], files), accept)
    assert response.json()["code"] == "verification-failed"
    assert "report" not in response.json()


def test_a_report_that_is_one(stage: Stage) -> None:
    """A valid report is sent unchanged, but the links are the service's."""
    links = b'"links": {"artifact": "http://evil.example"}'
    text = b'{"verdict": "passed", ' + links + b', "a": "\xc3\xa9"}'
    files = {**FILES, "report.json": text}
    response = expect_all(stage, "/convert", Part([refused()], files), "*/*")
    assert response.json()["report"] == json.loads(text)
    response = expect_all(stage, "/inspect", Part([finished()], files), "*/*")
    assert response.content == text
    long = text[:-2] + b"x" * MAX_EMBEDDED_BYTES + text[-2:]
    for each in (text, long):
        files = {**FILES, "report.json": each}
        response = expect_all(stage, "/convert", Part([finished()], files), "application/json")
        assert response.json()["links"]["artifact"].startswith("/jobs/")
        assert response.json()["a"] == json.loads(each)["a"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["report.json", "report.html", "a.pt"])
def test_what_is_no_file_of_the_workers_own(stage: Stage, way: Leave, name: str) -> None:
    """Links, folders, pipes and hard links to foreign files are never opened."""
    if way is is_closed and os.getuid() == 0:
        pytest.skip("a superuser reads it")
    part = Part([finished()], {**FILES, name: way})
    for accept in ("application/zip", "application/json", "application/octet-stream"):
        assert expect_all(stage, "/convert", part, accept).status_code == 500
    accept = "text/html" if name == "report.html" else "application/json"
    expected = 200 if name == "a.pt" else 500
    assert expect_all(stage, "/inspect", part, accept).status_code == expected


@pytest.mark.parametrize("way", WAYS)
def test_something_else_in_the_place_of_the_checkpoint(stage: Stage, way: Leave) -> None:
    """If no wall holds, a worker may replace its link; the service's checkpoint stays."""
    kept: list[bytes] = []

    def exchange(path: Path) -> None:
        way(path.parents[2] / "input" / "upload")
        kept.extend(upload.read_bytes() for upload in (work_dir(stage) / "jobs").glob("*/upload"))

    part = Part([finished()], {**FILES, "exchanged": exchange})
    assert expect_all(stage, "/convert", part, "*/*").status_code == 200
    assert kept == [b"content"]


def test_a_link_in_the_place_of_the_folder(stage: Stage) -> None:
    """A worker may replace the job's folder by a link."""

    def exchange(path: Path) -> None:
        path.parent.rename(path.parents[1] / "elsewhere")
        path.parent.symlink_to(path.parents[1] / "elsewhere")

    for accept in ("application/zip", "application/json"):
        part = Part([finished()], {**FILES, "exchanged": exchange})
        assert expect_all(stage, "/convert", part, accept).status_code == 500
