from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import httpx

from tests.service.running import Running, Serve, wait_for


def fetch(service: Running, path: str) -> httpx.Response:
    """Send a GET without a key."""
    return httpx.get(service.url + path, trust_env=False)


def lane_of(service: Running) -> dict[str, Any]:
    """Return what `/readyz` tells of the only lane."""
    (lane,) = fetch(service, "/readyz").json()["checks"]["converters"]["lanes"]
    return dict(lane)


def ends_of(lane: dict[str, Any]) -> int:
    """Return how many workers of a lane have ended."""
    return sum(lane["worker_ends"].values())


def test_ready_tells_what_was_checked(service: Running) -> None:
    """`/readyz` reports the workers, their device, and the disk."""
    checks = fetch(service, "/readyz").json()["checks"]
    assert checks["converters"]["since_probe_s"] < 60
    assert checks["converters"]["facts"]["device"] == "cpu"
    assert checks["storage"]["problem"] is None
    assert checks["draining"] is False


def test_each_lane_is_named(service: Running) -> None:
    """`/readyz` and `/metrics` tell for each device whether it works, and what it did."""
    assert service.convert(b"fine").is_success
    wait_for(lambda: lane_of(service)["worker_starts"] > ends_of(lane_of(service)) >= 1)
    lane = lane_of(service)
    assert lane.pop("jobs") >= 1
    assert lane.pop("worker_starts") > ends_of(lane)
    del lane["worker_ends"]
    assert lane.pop("failures") == 0
    assert lane == {"device": "cpu", "gpu": None, "ready": True, "busy": False, "problem": None}
    text = fetch(service, "/metrics").text
    for name in ("lanes", "ready", "busy"):
        value = 0.0 if name == "busy" else 1.0
        assert f'convlast_device_{name}{{device="cpu",workers="converters"}} {value}' in text
    assert 'convlast_device_jobs_total{device="cpu",workers="inspectors"}' in text
    assert 'convlast_jobs_waiting{workers="converters"} 0.0' in text


def test_version(service: Running) -> None:
    """`/version` has the versions and the device, and no value that keeps changing."""
    body = fetch(service, "/version").json()
    assert {"convlast", "torch", "device"} <= set(body)
    assert not any(name.startswith("memory") for name in body)


def test_metrics_count_requests_stages_and_bytes(service: Running) -> None:
    """A conversion is counted by route, status and code, and each of its stages is timed."""
    received_bytes = service.metric("convlast_received_bytes_total")
    service.convert(b"x" * 10_000)
    service.convert(b"refuses")
    text = fetch(service, "/metrics").text
    assert 'route="/convert",status="200"' in text
    assert 'code="unsafe-checkpoint"' in text
    assert 'convlast_stage_seconds_count{stage="queue",verb="convert"}' in text
    assert service.metric("convlast_received_bytes_total") > received_bytes + 10_000
    assert service.metric("convlast_places_taken") == 0


def test_what_is_known_against_the_device_is_a_warning(service: Running) -> None:
    """A known trouble of the device is a warning, and the service is ready."""
    body = fetch(service, "/readyz").json()
    assert body["status"] == "ready"
    assert "no-cudnn: There is none." in body["checks"]["warnings"]


def test_a_work_folder_that_cannot_be_made_is_noticed(serve: Serve) -> None:
    """If the work folder cannot be made, the service is alive but not ready."""
    service = serve()
    service.work_dir.rename(service.work_dir.with_name("moved"))
    service.work_dir.write_bytes(b"in the way")
    for response in (fetch(service, "/readyz"), service.convert(b"fine")):
        assert response.json()["code"] == "not-ready"
        assert response.headers["retry-after"]
        assert "work folder" in response.json()["detail"]
        assert str(service.work_dir) not in response.text
    assert fetch(service, "/livez").status_code == 200


def test_a_broken_file_of_keys_is_named(serve: Serve, tmp_path: Path) -> None:
    """If the key file breaks, the old keys stay valid and `/readyz` has a warning."""
    keys = tmp_path / "keys"
    keys.write_text("alice:s3cret-key\n")
    keys.chmod(0o600)
    service = serve(api_keys_file=keys)
    keys.write_text("")

    def warnings() -> list[str]:
        body = fetch(service, "/readyz").json()
        assert body["status"] == "ready"
        return list(body["checks"]["warnings"])

    wait_for(lambda: any("holds no key" in warning for warning in warnings()))
    assert service.convert(b"fine", headers={"Authorization": "Bearer s3cret-key"}).is_success
    assert "CONVLAST_API_KEYS_FILE holds no key" in service.log.read_text()


def test_an_idle_worker_that_is_killed_is_replaced(serve: Serve) -> None:
    """Killing all children of the service, the fork server too, costs no job."""
    service = serve()
    for pid in service.descendants():
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: service.convert(b"fine").status_code == 200)
    wait_for(lambda: fetch(service, "/readyz").status_code == 200)


def test_a_path_with_a_slash_too_many_is_told_the_right_one(service: Running) -> None:
    """Nothing is redirected: the refusal names the path that was meant."""
    assert fetch(service, "/version/").json()["detail"] == (
        "There is nothing here. Did you mean /version?"
    )
    assert fetch(service, "/versions").json()["detail"] == "There is nothing here."


def test_a_method_that_is_not_allowed_is_told_the_others(service: Running) -> None:
    """In the header that HTTP has for it, and in words."""
    refusal = httpx.put(service.url + "/convert", trust_env=False)
    assert refusal.status_code == 405
    assert refusal.headers["allow"] in refusal.json()["detail"]
    assert "POST" in refusal.headers["allow"]
