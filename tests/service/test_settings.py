from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from convlast.options import Limits
from scripts import tables
from service.settings import Settings, SettingsError
from tests.service.running import ROOT

EVERYWHERE = "0.0.0.0"  # noqa: S104  # nothing is bound to it


def test_variables_become_fields() -> None:
    """Each variable sets the field of its name, and other variables are ignored."""
    settings = Settings.from_environment(
        {
            "CONVLAST_PORT": "9000",
            "CONVLAST_ALLOW_PROGRAMS": "true",
            "CONVLAST_ARCHITECTURE_PREFIXES": "torchvision., monai.",
            "PATH": "/bin",
        }
    )
    assert (settings.port, settings.allow_programs) == (9000, True)
    assert settings.architecture_prefixes == ("torchvision.", "monai.")


def test_prefixes_and_networks_are_lists() -> None:
    """A bucket as a whole needs no slash at its end."""
    settings = Settings.from_environment(
        {
            "CONVLAST_SOURCES": "s3://bucket, https://host/models/",
            "CONVLAST_TARGETS": "file:///converted/",
            "CONVLAST_PRIVATE_NETWORKS": "10.1.0.0/16,fd00::/8",
        }
    )
    assert settings.sources == ("s3://bucket", "https://host/models/")
    assert settings.targets == ("file:///converted/",)
    assert settings.private_networks == ("10.1.0.0/16", "fd00::/8")


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1", "cuda:0,2"])
def test_devices_have_names(device: str) -> None:
    """One GPU, some, or all of them can be named."""
    assert Settings.from_environment({"CONVLAST_DEVICE": device}).device == device


def test_limits_are_those_of_the_library() -> None:
    """The library's limits are settings with the same names."""
    settings = Settings.from_environment({"CONVLAST_MAX_TENSORS": "7"})
    assert settings.limits == Limits(max_tensors=7)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"CONVLAST_SOURCES": "s3://bucket/m.pt"}, "CONVLAST_SOURCES has a bad value: "),
        ({"CONVLAST_SOURCES": "/models/"}, "CONVLAST_SOURCES has a bad value: "),
        ({"CONVLAST_SOURCES": "https://u:p@host/"}, "CONVLAST_SOURCES has a bad value: "),
        ({"CONVLAST_SOURCES": "https://host/?a=b"}, "CONVLAST_SOURCES has a bad value: "),
        ({"CONVLAST_TARGETS": "https://host/"}, "CONVLAST_TARGETS cannot name https://"),
        ({"CONVLAST_PRIVATE_NETWORKS": "10.1.0.1/16"}, "CONVLAST_PRIVATE_NETWORKS has a bad"),
        ({"CONVLAST_PROT": "1"}, "There is no setting CONVLAST_PROT."),
        ({"CONVLAST_PORT": "ninety"}, "CONVLAST_PORT has a bad value: "),
        ({"CONVLAST_DEVICE": "cuda:0,"}, "CONVLAST_DEVICE has a bad value: name auto, cpu"),
        ({"CONVLAST_WORKERS": "0"}, "CONVLAST_WORKERS has a bad value: "),
        ({"CONVLAST_WARM_WORKERS": "-1"}, "CONVLAST_WARM_WORKERS has a bad value: "),
        ({"CONVLAST_DEVICE": "tpu"}, "CONVLAST_DEVICE has a bad value: name auto, cpu"),
        ({"CONVLAST_MAX_UPLOAD_BYTES": "0"}, "CONVLAST_MAX_UPLOAD_BYTES has a bad value: "),
        ({"CONVLAST_WORK_DIR": ""}, "CONVLAST_WORK_DIR has a bad value: name a path"),
        ({"CONVLAST_API_KEYS_FILE": ""}, "CONVLAST_API_KEYS_FILE has a bad value: name a path"),
        ({"CONVLAST_CORS_ORIGINS": "*"}, "CONVLAST_CORS_ORIGINS has a bad value: name origins"),
        ({"CONVLAST_CORS_ORIGINS": "https://a.org/"}, "CONVLAST_CORS_ORIGINS has a bad value: "),
        ({"CONVLAST_ROOT_PATH": "convlast"}, "CONVLAST_ROOT_PATH has a bad value: name a path"),
        ({"CONVLAST_ROOT_PATH": "/convlast/"}, "CONVLAST_ROOT_PATH has a bad value: name a path"),
        ({"CONVLAST_TRUSTED_HOSTS": "a.org:80"}, "CONVLAST_TRUSTED_HOSTS has a bad value: "),
        ({"CONVLAST_HOST": EVERYWHERE}, "CONVLAST_API_KEYS_FILE"),
        ({"CONVLAST_HOST": "example.org"}, "CONVLAST_ALLOW_ANONYMOUS=true"),
    ],
)
def test_bad_settings_are_refused_in_one_line(environment: dict[str, str], message: str) -> None:
    """A setting that is unknown, bad or open by accident is refused in one line."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(environment)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    """On loopback the service starts without keys."""
    assert Settings.from_environment({"CONVLAST_HOST": host}).host == host


@pytest.mark.parametrize(
    "more", [{"CONVLAST_ALLOW_ANONYMOUS": "1"}, {"CONVLAST_API_KEYS_FILE": "keys"}]
)
def test_another_address_needs_keys_or_intent(more: dict[str, str]) -> None:
    """On another address it starts only with keys or ALLOW_ANONYMOUS."""
    assert Settings.from_environment({"CONVLAST_HOST": EVERYWHERE, **more}).host == EVERYWHERE


def test_every_setting_is_documented() -> None:
    """The table of settings describes every setting."""
    table = tables.settings()
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert f"| `CONVLAST_{name.upper()}` |" in table


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("CONVLAST_NONSENSE", "1", "There is no setting CONVLAST_NONSENSE."),
        ("CONVLAST_API_KEYS_FILE", "/nowhere/keys", "CONVLAST_API_KEYS_FILE cannot be read"),
        ("CONVLAST_DEVICE", "cuda:63", "The device cuda:63 cannot be used"),
        ("CONVLAST_WORK_DIR", "/proc/nowhere", "CONVLAST_WORK_DIR cannot be used"),
    ],
)
def test_a_bad_start_ends_with_one_line(
    tmp_path: Path, name: str, value: str, message: str
) -> None:
    """`python -m service` logs one line of JSON about the bad setting, and exits with 2."""
    assert message in start_in_vain(tmp_path, name, value)


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    """A port that is in use is reported with its setting."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = start_in_vain(tmp_path, "CONVLAST_PORT", str(port))
    assert f"CONVLAST_PORT={port} cannot be used: Address already in use." in line


def start_in_vain(work_dir: Path, name: str, value: str) -> str:
    """Start the service with a bad setting, and return the problem that it logs last."""
    ended = subprocess.run(
        [sys.executable, "-m", "service"],
        cwd=ROOT,
        env={**os.environ, "CONVLAST_WORK_DIR": str(work_dir), name: value},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    *earlier, last = map(json.loads, ended.stderr.splitlines())
    assert [line["event"] for line in earlier] in ([], ["starting"])
    assert (last["event"], last["level"]) == ("cannot start", "critical")
    return str(last["problem"])
