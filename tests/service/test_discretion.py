"""Neither an answer nor the log contains a key, a path, or file contents."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

import httpx
import pytest

from service.telemetry import logs
from tests.service.running import Running, served

KEY, WRONG_KEY = "marker-key-8c21", "marker-wrong-5f10"
CONTENT, NAME, VALUE = "marker-content-77d3", "marker-name-b0a4", "marker-value-e965"
VERBS = ("raises", "crashes", "exits", "babbles", "refuses", "exhausts-memory", "fills-the-disk")


@pytest.fixture(scope="module")
def discreet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a service with a key, and with folders whose name is easy to find."""
    folder = tmp_path_factory.mktemp("marker-path-21f6")
    (folder / "keys").write_text(f"alice:{KEY}\n")
    with served(folder, api_keys_file=folder / "keys", job_timeout_s=20) as running:
        yield running


def post(service: Running, path: str, **request: object) -> httpx.Response:
    """Send a POST with the key."""
    given = request.pop("headers", {})
    assert isinstance(given, dict)
    headers = {"Authorization": f"Bearer {KEY}", **given}
    with service.client() as client:
        return client.post(path, headers=headers, **request)  # type: ignore[arg-type]


def answers(service: Running) -> Iterator[httpx.Response]:
    """Provoke all kinds of refusals and failures, with markers in everything that is sent."""
    raw = {"Content-Type": "application/octet-stream"}
    for verb in VERBS:
        content = f"{verb} {CONTENT}".encode()
        yield post(service, "/convert", files={"checkpoint": (f"{NAME}.pt", content)})
    yield service.convert(CONTENT.encode(), headers={"Authorization": f"Bearer {WRONG_KEY}"})
    yield service.convert(CONTENT.encode(), headers={"Authorization": WRONG_KEY})
    yield post(service, f"/convert?smoke={VALUE}", content=CONTENT, headers=raw)
    yield post(service, f"/convert?input_shape={VALUE}", content=CONTENT, headers=raw)
    yield post(service, f"/{VALUE}", content=CONTENT)
    yield post(service, "/convert", content=CONTENT, headers={"Content-Type": f"text/{VALUE}"})
    for field in ("Content-Digest", "Content-Disposition"):
        value = f"attachment; filename*999=0{VALUE}" if field.endswith("ion") else VALUE
        yield post(service, "/convert", content=b"hangs", headers={**raw, field: value})
    form = {"Content-Type": "multipart/form-data; boundary=edge"}
    yield post(service, "/convert", content=f"--edge\r\n{CONTENT}\r\n\r\n", headers=form)
    for path in (f"/jobs/{VALUE}/artifact", "/jobs/..%2f..%2fkeys/report", "/readyz", "/version"):
        with service.client() as client:
            yield client.get(path, headers={"Authorization": f"Bearer {KEY}"})


def test_answers_and_log_tell_nothing(discreet: Running) -> None:
    """No marker appears in an answer or in the log."""
    for answer in answers(discreet):
        for marker in (KEY, WRONG_KEY, CONTENT, VALUE, "marker-path", "Traceback", 'File "'):
            assert marker not in answer.text, answer.request.url
            assert marker not in str(answer.headers), answer.request.url
    log = discreet.log.read_text()
    assert "job failed" in log
    for marker in (KEY, WRONG_KEY, CONTENT, NAME, VALUE, "marker-path"):
        assert marker not in log


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "a\x00b.pt", "a\nb.pt", "x" * 300 + ".pt", "..", "-rf", "a\u202eb.pt"],
)
def test_hostile_filenames_stay_names(discreet: Running, name: str) -> None:
    """A hostile file name becomes one harmless name of the artifact, not a path."""
    response = post(
        discreet,
        "/convert",
        content=b"fine",
        params={"filename": name},
        headers={"Content-Type": "application/octet-stream", "Accept": "application/octet-stream"},
    )
    assert response.status_code == 200
    disposition = response.headers["content-disposition"]
    assert "/" not in disposition.replace("UTF-8''", "")
    assert len(disposition) < 700


def test_an_outline_has_no_message() -> None:
    """Of chained exceptions only frames and types are kept, and no message."""
    try:
        try:
            raise ValueError(f"{CONTENT}\n{CONTENT}\n  {CONTENT}")
        except ValueError as error:
            raise KeyError(CONTENT) from error
    except KeyError:
        outline = logs.outline(traceback.format_exc())
    assert CONTENT not in outline
    assert [line.rpartition(" ")[2] for line in outline.splitlines()] == ["ValueError", "KeyError"]
