from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pytest

from convlast.report.rendering import assets
from service.connection.protection import ANY_HOST, CSP, FIELDS, is_trusted
from tests.service.running import Running, served

ORIGIN = "https://ml.example.org"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a service with keys, without documentation, with one allowed origin."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "keys").write_text("alice:s3cret-key\n")
    with served(
        folder,
        api_keys_file=folder / "keys",
        docs=False,
        metrics_need_key=True,
        cors_origins=ORIGIN,
    ) as running:
        yield running


def answers(service: Running) -> Iterator[httpx.Response]:
    """Fetch one answer of each kind."""
    yield service.convert(b"fine")
    yield service.convert(b"fine", headers={"Accept": "application/octet-stream"})
    yield service.convert(b"refuses")
    yield service.convert(b"raises")
    report = service.convert(b"fine", headers={"Accept": "application/json"})
    yield report
    with service.client() as client:
        for link in report.json()["links"].values():
            yield client.get(link)
            yield client.head(link)
        for path in ("/livez", "/readyz", "/metrics", "/version", "/docs", "/openapi.json"):
            yield client.get(path)
        yield client.get("/nowhere")
        yield client.put("/convert")


def test_every_answer_is_protected(service: Running) -> None:
    """Every answer forbids browsers to sniff, store, frame or run it, except a report's script."""
    for answer in answers(service):
        for name, value in FIELDS.items():
            if name == CSP:
                assert "default-src 'none'" in answer.headers[name]
                assert "frame-ancestors 'none'" in answer.headers[name]
                is_page = answer.headers.get("Content-Type", "").startswith("text/html")
                assert is_page or "script" not in answer.headers[name]
            else:
                assert answer.headers[name] == value, answer.url


def test_only_pages_have_styles(service: Running) -> None:
    """Only reports and the documentation may have styles; a report's script runs apart from us."""
    links = service.convert(b"fine", headers={"Accept": "application/json"}).json()["links"]
    with service.client() as client:
        of_report = client.get(links["html"]).headers[CSP]
        assert f"style-src {assets.source_of(assets.STYLE)};" in of_report
        assert f"script-src {assets.source_of(assets.SCRIPT)};" in of_report
        assert of_report.endswith("; sandbox allow-scripts")
        assert "style-src 'sha256-" in client.get("/docs").headers[CSP]
        assert "style-src" not in client.get("/livez").headers[CSP]


def test_what_is_not_http_is_answered_with_a_problem(service: Running) -> None:
    """A request that the parser rejects is answered with a problem too."""
    with service.connect() as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"x-content-type-options: nosniff" in head
    assert b'"code": "malformed-request"' in body


def test_the_documentation_can_be_switched_off(guarded: Running) -> None:
    """With DOCS=false the page and the document are missing, and conversions work."""
    for path in ("/docs", "/docs/", "/redoc", "/openapi.json", "/docs/oauth2-redirect"):
        assert httpx.get(guarded.url + path, trust_env=False).json()["code"] == "not-found"
    assert (
        guarded.convert(b"fine", headers={"Authorization": "Bearer s3cret-key"}).status_code == 200
    )


def test_counters_can_ask_for_a_key(guarded: Running) -> None:
    """With METRICS_NEED_KEY the metrics need a key, and probes do not."""
    with guarded.client() as client:
        assert client.get("/metrics").json()["code"] == "unauthorized"
        assert client.get("/metrics", headers={"Authorization": "Bearer s3cret-key"}).is_success
        assert client.get("/livez").is_success


def test_no_page_of_another_origin_may_call(service: Running) -> None:
    """By default no answer has CORS fields, and every preflight is refused."""
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    with service.client() as client:
        for answer in (client.get("/version", headers=headers), client.options("/convert")):
            assert not any(name.startswith("access-control") for name in answer.headers)


def test_named_origins_may_call(guarded: Running) -> None:
    """Only the configured origin may read answers and problems, and without cookies."""
    asks = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    with guarded.client() as client:
        preflight = client.options("/convert", headers={"Origin": ORIGIN, **asks})
        other = client.options("/convert", headers={"Origin": "https://other.org", **asks})
        refused = client.get("/jobs/1/report", headers={"Origin": ORIGIN})
        foreign = client.get("/jobs/1/report", headers={"Origin": "https://other.org"})
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert refused.headers["access-control-allow-origin"] == ORIGIN
    assert "Repr-Digest" in refused.headers["access-control-expose-headers"]
    assert (other.status_code, other.json()["code"]) == (400, "malformed-request")
    assert "CONVLAST_CORS_ORIGINS" in other.json()["detail"]
    assert "Origin" in other.headers["vary"]
    for answer in (other, foreign):
        assert "access-control-allow-origin" not in answer.headers
    for answer in (preflight, refused):
        assert "access-control-allow-credentials" not in answer.headers
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("host", "is_served"),
    [
        ("127.0.0.1:8000", True),
        ("[::1]:8000", True),
        ("LOCALHOST", True),
        ("convlast.localhost:8000", True),
        ("host.docker.internal:8000", True),
        ("convlast", True),
        ("", True),
        ("named.example.org:8000", True),
        ("named.example.org.", True),
        ("evil.example:8000", False),
        ("evil.example.", False),
        ("evilinternal.example", False),
        ("127.0.0.1.evil.example", False),
        ("[::1].evil.example", False),
        ("evil.example:8000@127.0.0.1", False),
    ],
)
def test_a_name_that_a_stranger_can_make_lead_here(host: str, is_served: bool) -> None:
    """Only addresses, names that nobody can register, and configured names are trusted."""
    assert is_trusted(host, ["named.example.org"]) == is_served
    assert is_trusted(host, [ANY_HOST])


def test_a_page_that_made_its_name_lead_here_is_refused(service: Running) -> None:
    """Without keys, a request to an untrusted name can neither convert nor read jobs."""
    with service.client(headers={"Host": "evil.example:8000"}) as client:
        for refused in (client.post("/convert", content=b"fine"), client.get("/jobs/1/report")):
            assert refused.json()["code"] == "unauthorized"
            assert "CONVLAST_TRUSTED_HOSTS" in refused.json()["detail"]
            assert "evil" not in refused.text
        assert client.get("/livez").is_success


def test_a_form_that_a_page_of_another_origin_sends_is_refused(service: Running) -> None:
    """Without keys, a page of another origin cannot convert; one of our origin can."""
    for origin in (ORIGIN, "null", f"{service.url}0", "http://localhost"):
        refused = service.convert(b"fine", headers={"Origin": origin})
        assert refused.json()["code"] == "unauthorized", origin
    assert service.convert(b"fine", headers={"Origin": service.url}).is_success


def test_a_key_is_worth_more_than_a_name(guarded: Running) -> None:
    """With a key, the name and the origin do not matter."""
    headers = {"Host": "ml.example.org", "Origin": "https://other.org"}
    answer = guarded.convert(b"fine", headers={**headers, "Authorization": "Bearer s3cret-key"})
    assert answer.is_success


def test_no_address_is_made_of_the_host_field(service: Running) -> None:
    """No redirection contains the Host field, which can be forged."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        connection.sendall(
            b"GET /livez/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
        )
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 404")
    assert b"evil" not in answer
