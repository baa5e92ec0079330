from __future__ import annotations

import pytest

from tests.service.running import Running

CONTENT = bytes(range(256)) * 8000


@pytest.fixture(scope="module")
def link(service: Running) -> str:
    """Convert a checkpoint, and return the URL of its artifact."""
    response = service.convert(CONTENT, headers={"Accept": "application/json"})
    artifact: str = response.json()["links"]["artifact"]
    return artifact


def test_an_artifact_is_downloaded_whole(service: Running, link: str) -> None:
    """Without a range the whole artifact is sent, with length, digest and name."""
    with service.client() as client:
        response = client.get(link)
        head = client.head(link)
    assert response.status_code == 200
    assert response.content == CONTENT
    assert head.status_code == 200
    for name in ("content-length", "etag", "repr-digest", "content-disposition", "accept-ranges"):
        assert head.headers[name] == response.headers[name]


def test_a_head_has_no_range(service: Running, link: str) -> None:
    """HEAD ignores `Range`, inside the artifact or not (RFC 9110, section 14.2)."""
    with service.client() as client:
        for field in ("bytes=0-9", f"bytes={len(CONTENT)}-"):
            head = client.head(link, headers={"Range": field})
            assert (head.status_code, head.headers["content-length"]) == (200, str(len(CONTENT)))


def test_whatever_is_read_has_a_head(service: Running, link: str) -> None:
    """HEAD is GET without a body, and a refusal of another method names both."""
    job = link.removesuffix("/artifact")
    paths = (link, f"{job}/report", f"{job}/report.html", "/livez", "/readyz", "/version")
    with service.client() as client:
        for path in (*paths, "/metrics", "/docs", "/openapi.json"):
            head, refused = client.head(path), client.delete(path)
            assert (head.status_code, head.content) == (200, b""), path
            assert head.headers["content-type"] == client.get(path).headers["content-type"]
            assert refused.status_code == 405
            assert set(refused.headers["allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize(
    ("field", "start", "end"),
    [("bytes=0-99", 0, 100), ("bytes=1500000-", 1_500_000, None), ("bytes=-7", -7, None)],
)
def test_a_part_of_an_artifact(
    service: Running, link: str, field: str, start: int, end: int | None
) -> None:
    """An aborted download can be resumed."""
    with service.client() as client:
        response = client.get(link, headers={"Range": field})
    assert response.status_code == 206
    assert response.content == CONTENT[start:end]
    first = start % len(CONTENT)
    last = (end or len(CONTENT)) - 1
    assert response.headers["content-range"] == f"bytes {first}-{last}/{len(CONTENT)}"


def test_conditions_are_understood(service: Running, link: str) -> None:
    """If-None-Match and If-Range are honoured."""
    with service.client() as client:
        etag = client.get(link).headers["etag"]
        fresh = client.get(link, headers={"If-None-Match": f'"other", W/{etag}'})
        later = client.get(link, headers=[("If-None-Match", '"x"'), ("If-None-Match", etag)])
        same = client.get(link, headers={"Range": "bytes=0-9", "If-Range": etag})
        other = client.get(link, headers={"Range": "bytes=0-9", "If-Range": '"other"'})
    assert (fresh.status_code, fresh.content) == (304, b"")
    assert later.status_code == 304
    assert (same.status_code, len(same.content)) == (206, 10)
    assert (other.status_code, len(other.content)) == (200, len(CONTENT))


def test_a_range_beyond_the_end_says_where_the_end_is(service: Running, link: str) -> None:
    """The refusal states the length."""
    with service.client() as client:
        response = client.get(link, headers={"Range": f"bytes={len(CONTENT)}-"})
    assert response.status_code == 416
    assert response.headers["content-range"] == f"bytes */{len(CONTENT)}"


def test_a_report_follows_accept(service: Running, link: str) -> None:
    """`/report` answers with JSON or with a page."""
    report = link.replace("/artifact", "/report")
    with service.client() as client:
        assert client.get(report).json()["verdict"] == "passed"
        page = client.get(report, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        refused = client.get(report, headers={"Accept": "application/zip"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert refused.json()["code"] == "not-acceptable"
    assert page.headers["vary"] == refused.headers["vary"] == "Accept"
