from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import zipfile
from pathlib import Path

import pytest

from convlast.report import Report
from tests.service.running import Running

CONTENT = b"a checkpoint of some kind" * 1000


def test_curl_gets_artifact_and_report_in_one_zip(service: Running, tmp_path: Path) -> None:
    """One request returns the artifact and both reports, and nothing is stored."""
    before = service.settled_files()
    checkpoint = tmp_path / "model.pt"
    checkpoint.write_bytes(CONTENT)
    target = tmp_path / "out.zip"
    command = ["curl", "-sS", "--fail-with-body", "-F", f"checkpoint=@{checkpoint}"]
    subprocess.run([*command, "-o", str(target), f"{service.url}/convert"], check=True)
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        names = ["model.channels_last_3d.pt", "report.json", "report.html", "provenance.json"]
        assert archive.namelist() == names
        assert archive.read(names[0]) == CONTENT
        report = Report.model_validate_json(archive.read("report.json"))
    assert report.input.filename == "model.pt"
    assert report.artifact
    assert report.artifact.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert service.settled_files() == before


def test_the_zip_has_a_length_and_timing(service: Running) -> None:
    """The answer has a length, the time of each stage, and `Vary`."""
    response = service.convert(CONTENT)
    assert response.headers["content-type"] == "application/zip"
    assert int(response.headers["content-length"]) == len(response.content)
    assert response.headers["vary"] == "Accept"
    assert 'filename="m.channels_last_3d.pt.zip"' in response.headers["content-disposition"]
    for stage in ("upload", "queue", "convert", "read", "write"):
        assert f"{stage};dur=" in response.headers["server-timing"]


def test_json_is_the_report_with_links(service: Running) -> None:
    """The body is the report, and its links lead to the stored files."""
    response = service.convert(CONTENT, headers={"Accept": "application/json"})
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    links = body.pop("links")
    Report.model_validate(body)
    with service.client() as client:
        assert client.get(links["artifact"]).content == CONTENT
        assert client.get(links["report"]).json() == body
        assert client.get(links["html"]).headers["content-type"].startswith("text/html")


def test_octet_stream_is_the_artifact(service: Running) -> None:
    """The body is the artifact; the headers have its digest, its name and a link to the report."""
    response = service.convert(CONTENT, headers={"Accept": "application/octet-stream"})
    assert response.content == CONTENT
    digest = hashlib.sha256(CONTENT).digest()
    assert response.headers["repr-digest"] == f"sha-256=:{base64.b64encode(digest).decode()}:"
    assert response.headers["etag"] == f'"{digest.hex()}"'
    assert 'filename="m.channels_last_3d.pt"' in response.headers["content-disposition"]
    assert response.links["describedby"]["url"].endswith("/report")
    with service.client() as client:
        assert client.get(response.links["describedby"]["url"]).json()["verdict"] == "passed"


@pytest.mark.parametrize("in_header", [True, False])
def test_a_raw_body_takes_its_options_from_the_query(service: Running, in_header: bool) -> None:
    """Options and the file name can be in the query."""
    params = {"memory_format": "channels_last", "select": ["encoder.*", "decoder.*"]}
    headers = {"Content-Type": "application/octet-stream"}
    if in_header:
        headers["Content-Disposition"] = "attachment; filename*=UTF-8''mod%C3%A8le.pt"
    else:
        params["filename"] = "../modèle.pt"
    with service.client() as client:
        response = client.post("/convert", content=CONTENT, params=params, headers=headers)
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.namelist()[0] == "modèle.channels_last_3d.pt"
        report = json.loads(archive.read("report.json"))
    assert report["options"]["select"] == ["encoder.*", "decoder.*"]


def test_a_form_takes_its_options_from_fields(service: Running) -> None:
    """Each option is a field; an empty one is ignored, and `select` may come twice."""
    fields = {"smoke": "none", "architecture": "", "select": ["a.*, b.*", "c"]}
    response = service.convert(CONTENT, data=fields, headers={"Accept": "application/json"})
    options = response.json()["options"]
    assert (options["smoke"], options["architecture"]) == ("none", None)
    assert options["select"] == ["a.*", "b.*", "c"]


@pytest.mark.parametrize(
    ("query", "fields", "option"),
    [
        ("?smok=none", {}, "smok"),
        ("", {"smok": "none"}, "smok"),
        ("", {"input_shape": "1,2"}, "input_shape"),
        ("?smoke=none", {"smoke": "layers"}, "smoke"),
        ("", {"smoke": ["none", "auto"]}, "smoke"),
    ],
)
def test_bad_options_are_named(
    service: Running, query: str, fields: dict[str, str], option: str
) -> None:
    """An option that is unknown, bad, or given twice is refused by name."""
    with service.client() as client:
        files = {"checkpoint": ("m.pt", CONTENT)}
        response = client.post(f"/convert{query}", files=files, data=fields)
    assert response.status_code == 422
    assert response.json()["option"] == option


def test_a_content_digest_is_checked(service: Running) -> None:
    """A body that matches its digest is accepted, and a damaged one refused."""
    digest = base64.b64encode(hashlib.sha512(CONTENT).digest()).decode()
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Digest": f"sha-512=:{digest}:",
    }
    with service.client() as client:
        assert client.post("/convert", content=CONTENT, headers=headers).status_code == 200
        assert client.post("/convert", content=b"damaged", headers=headers).status_code == 400


def test_a_body_without_a_length_is_taken(service: Running) -> None:
    """A chunked body, such as one from a pipe, is accepted."""
    headers = {"Content-Type": "application/octet-stream", "Accept": "application/octet-stream"}
    pieces = (CONTENT[start : start + 1000] for start in range(0, len(CONTENT), 1000))
    with service.client() as client:
        assert client.post("/convert", content=pieces, headers=headers).content == CONTENT


def test_the_request_id_comes_back(service: Running) -> None:
    """A harmless request id of the client is kept, and any other is replaced."""
    with service.client() as client:
        given = client.get("/livez", headers={"X-Request-ID": "deploy-42"})
        harmful = client.get("/livez", headers={"X-Request-ID": "a b\tc"})
    assert given.headers["x-request-id"] == "deploy-42"
    assert len(harmful.headers["x-request-id"]) == 16
