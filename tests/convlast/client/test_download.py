from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from convlast.errors import OptionError, RemoteError
from tests.convlast.client.answering import ARTIFACT, problem, report
from tests.convlast.client.fake_service import ETAG, ID, Answer, FakeService, cut, status

BROKEN = [
    httpx.ReadError("connection reset"),
    httpx.RemoteProtocolError("peer closed connection"),
    httpx.ReadTimeout("nothing came"),
]


def names_in(folder: Path) -> list[str]:
    """Return what is in a folder, hidden things too."""
    return sorted(path.name for path in folder.iterdir())


def with_headers(**headers: str) -> Any:
    """Return a fault: the answer has other fields."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda answer: replace(answer, headers={**answer.headers, **named})


@pytest.mark.parametrize("error", BROKEN, ids=repr)
def test_a_download_that_breaks_off_goes_on_where_it_was(
    service: FakeService, tmp_path: Path, error: Exception
) -> None:
    """Only the missing bytes are asked for, if the artifact is still the same."""
    service.faults["artifact"] = [cut(300_000, error), cut(200_000, error), cut(0, error)]
    told: list[int] = []
    with service.client() as client:
        client.fetch(ID, tmp_path / "out.pt", progress=lambda _, done, total: told.append(done))

    assert (tmp_path / "out.pt").read_bytes() == ARTIFACT
    assert names_in(tmp_path) == ["out.pt"]
    asked = [each.headers for each in service.of_kind("artifact")]
    assert [each.get("range") for each in asked] == [
        None,
        "bytes=300000-",
        "bytes=500000-",
        "bytes=500000-",
    ]
    assert [each.get("if-range") for each in asked] == [None, ETAG, ETAG, ETAG]
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, len(ARTIFACT))


def test_an_answer_that_ends_too_early_is_a_cut(service: FakeService, tmp_path: Path) -> None:
    """As where a gateway ends a chunked answer in good order."""

    def shortened(answer: Answer) -> Answer:
        headers = {name: each for name, each in answer.headers.items() if name != "Content-Length"}
        return Answer(answer.status, headers, [ARTIFACT[:1000]])

    service.faults["artifact"] = [shortened]
    with service.client() as client:
        client.fetch(ID, tmp_path / "out.pt")
    assert service.of_kind("artifact")[1].headers["range"] == "bytes=1000-"
    assert (tmp_path / "out.pt").read_bytes() == ARTIFACT


@pytest.mark.parametrize("tag", ['W/"one"', ""], ids=["weak", "none"])
def test_without_a_strong_tag_the_whole_is_asked_for_again(
    service: FakeService, tmp_path: Path, tag: str
) -> None:
    """The bytes could be those of another artifact."""
    first = cut(300_000)
    service.faults["artifact"] = [lambda answer: first(with_headers(ETag=tag)(answer))]
    with service.client() as client:
        client.fetch(ID, tmp_path / "out.pt")
    assert "range" not in service.of_kind("artifact")[1].headers
    assert (tmp_path / "out.pt").read_bytes() == ARTIFACT


def test_a_gateway_without_ranges_sends_the_whole_again(
    service: FakeService, tmp_path: Path
) -> None:
    """A 200 begins at nothing."""
    whole = Answer(200, {"Content-Type": "application/octet-stream"}, [ARTIFACT])
    service.faults["artifact"] = [cut(300_000), lambda _: whole]
    with service.client() as client:
        client.fetch(ID, tmp_path / "out.pt")
    assert (tmp_path / "out.pt").read_bytes() == ARTIFACT


def test_a_wrong_range_is_not_put_behind_the_bytes(service: FakeService, tmp_path: Path) -> None:
    """An answer that begins elsewhere is asked for anew, as a whole."""
    service.faults["artifact"] = [cut(300_000), with_headers(Content_Range="bytes 7-9/10")]
    with service.client() as client:
        client.fetch(ID, tmp_path / "out.pt")
    assert "range" not in service.of_kind("artifact")[2].headers
    assert (tmp_path / "out.pt").read_bytes() == ARTIFACT


def test_a_service_that_is_restarted_meanwhile_is_waited_for(
    service: FakeService, tmp_path: Path
) -> None:
    """Neither a refused connection nor a busy service ends a download."""
    away = httpx.ConnectError("refused")
    busy = problem(429, "too-many-requests")
    service.faults["artifact"] = [cut(300_000), *[away] * 20, busy]
    service.faults["report"] = [away] * 20
    service.faults["job"] = [away] * 20
    with service.client() as client:
        client.fetch(ID, tmp_path / "out.pt")
    assert (tmp_path / "out.pt").read_bytes() == ARTIFACT


@pytest.mark.parametrize("nbytes", [0, 300_000])
def test_a_download_that_never_gets_further_leaves_nothing(
    service: FakeService, tmp_path: Path, nbytes: int, no_waiting: list[float]
) -> None:
    """It ends when the patience does, and the file that was there stays."""
    (tmp_path / "out.pt").write_bytes(b"an earlier one")
    no_tag, first = with_headers(ETag=""), cut(nbytes)
    service.faults["artifact"] = [lambda answer: first(no_tag(answer))] * 100
    with (
        service.client(patience_s=20) as client,
        pytest.raises(RemoteError, match=r"broke off: connection reset.*tried \d+ times") as caught,
    ):
        client.fetch(ID, tmp_path / "out.pt")
    assert caught.value.code == "not-ready"
    assert sum(no_waiting) < 30
    assert names_in(tmp_path) == ["out.pt"]
    assert (tmp_path / "out.pt").read_bytes() == b"an earlier one"


@pytest.mark.parametrize(
    "damage",
    [
        lambda answer: replace(answer, pieces=[bytes(len(ARTIFACT))]),
        lambda answer: replace(answer, headers={**answer.headers}, pieces=[ARTIFACT + b"x"]),
        with_headers(Repr_Digest=f"sha-256=:{'A' * 43}=:"),
    ],
    ids=["bytes", "size", "digest"],
)
def test_a_damaged_artifact_is_refused(service: FakeService, tmp_path: Path, damage: Any) -> None:
    """An artifact that does not have the report's digest is not kept."""
    service.faults["artifact"] = [
        lambda answer: damage(with_headers(Content_Length="9999999")(answer))
    ]
    with service.client() as client, pytest.raises(RemoteError, match="damaged") as caught:
        client.fetch(ID, tmp_path / "out.pt")
    assert caught.value.code == "digest-mismatch"
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("kind", ["job", "report", "artifact"])
def test_a_login_page_is_no_answer(service: FakeService, tmp_path: Path, kind: str) -> None:
    """A page with status 200 is told from the service's answer."""
    service.faults[kind] = [httpx.Response(200, headers={"Server": "nginx"}, html="<p>Sign in")]
    with service.client() as client, pytest.raises(RemoteError) as caught:
        client.fetch(ID, tmp_path / "out.pt")
    assert caught.value.message == "nginx answered with text/html, and not the service."
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("now", "code"),
    [
        (status("queued", place=1), "conflict"),
        (status("running"), "conflict"),
        (status("cancelled"), "gone"),
        (status("failed", problem={"code": "out-of-memory"}), "out-of-memory"),
    ],
    ids=lambda each: getattr(each, "state", each),
)
def test_only_a_job_that_succeeded_is_fetched(tmp_path: Path, now: Any, code: str) -> None:
    """The others have a code that says why not."""
    with FakeService(now).client() as client, pytest.raises(RemoteError) as caught:
        client.fetch(ID, tmp_path / "out.pt")
    assert caught.value.code == code


def test_an_inspection_has_no_artifact(service: FakeService, tmp_path: Path) -> None:
    """The message says so, and its report can be had."""
    service.told = report().model_copy(update={"artifact": None})
    with service.client() as client:
        with pytest.raises(RemoteError, match="has no artifact"):
            client.fetch(ID, tmp_path / "out.pt")
        assert client.report(ID).artifact is None


@pytest.mark.parametrize("target", ["out", "out/model.channels_last_3d.pt"])
def test_a_file_that_is_there_may_have_to_stay(
    service: FakeService, tmp_path: Path, target: str
) -> None:
    """It is replaced by default, and with overwrite=False refused, in a folder too."""
    place = tmp_path / "out" / "model.channels_last_3d.pt"
    place.parent.mkdir()
    place.write_bytes(b"an earlier one")
    with service.client() as client:
        with pytest.raises(OptionError, match="is there already"):
            client.fetch(ID, tmp_path / target, overwrite=False)
        assert place.read_bytes() == b"an earlier one"
        client.fetch(ID, tmp_path / target)
    assert place.read_bytes() == ARTIFACT


def test_an_id_is_no_path(service: FakeService, tmp_path: Path) -> None:
    """What is no id is asked of nobody."""
    with service.client() as client:
        for wrong in ("", "../convert", ID.upper(), ID + "/events"):
            with pytest.raises(OptionError, match="id of a job"):
                client.fetch(wrong, tmp_path / "out.pt")
            with pytest.raises(OptionError, match="id of a job"):
                list(client.follow(wrong))
    assert not service.seen
