"""The shell lines and the pipelines of docs/jobs.md, through a proxy that cuts idle connections."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from tests.service.conftest import Impatient
from tests.service.running import ROOT, Serve, wait_for

PAGE = (ROOT / "docs" / "jobs.md").read_text()
NEEDS_CURL = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
FILLER = bytes(1 << 20)


def blocks(language: str) -> list[str]:
    """Return the code blocks of the page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the script of the page."""
    folder = tmp_path / "pipeline"
    folder.mkdir()
    script, *_ = blocks("sh")
    (folder / "convert.sh").write_text(script)
    return folder


def convert(folder: Path, url: str, key: str = "") -> subprocess.CompletedProcess[str]:
    """Run the script for `model.pt`."""
    return subprocess.run(
        ["sh", "convert.sh", "model.pt"],
        cwd=folder,
        env={**os.environ, "CONVLAST_URL": url, "CONVLAST_API_KEY": key},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def artifact_in(archive: Path) -> bytes:
    """Return the artifact in an archive."""
    with zipfile.ZipFile(archive) as files:
        return files.read("model.channels_last_3d.pt")


@NEEDS_CURL
def test_a_long_job_is_converted_through_a_gateway(
    serve: Serve, impatient: Impatient, folder: Path
) -> None:
    """Though each wait is cut, and uploads its bytes once; a retry uploads nothing."""
    proxy = impatient(serve(), idle_s=1.5)
    content = b"sleeps 8 " + FILLER
    (folder / "model.pt").write_bytes(content)

    done = convert(folder, proxy.url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert artifact_in(folder / "out.zip") == content
    assert proxy.cut >= 2
    assert len(content) < proxy.uploaded_bytes < 1.1 * len(content)

    sent_bytes = proxy.uploaded_bytes
    (folder / "out.zip").unlink()
    assert convert(folder, proxy.url).returncode == 0
    assert artifact_in(folder / "out.zip") == content
    assert proxy.uploaded_bytes - sent_bytes < 4096


@NEEDS_CURL
def test_the_script_goes_on_after_the_service_was_killed(
    serve: Serve, impatient: Impatient, folder: Path
) -> None:
    """And restarted: it finds its job again."""
    service = serve()
    (folder / "model.pt").write_bytes(b"sleeps 3 " + FILLER)
    proxy = impatient(service, idle_s=5)
    running = subprocess.Popen(
        ["sh", "convert.sh", "model.pt"],
        cwd=folder,
        env={**os.environ, "CONVLAST_URL": proxy.url},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for((folder / "job.json").is_file)
        service.process.kill()
        service.process.wait()
        serve(port=service.port)
        assert running.wait(120) == 0
    finally:
        running.kill()
    assert artifact_in(folder / "out.zip") == b"sleeps 3 " + FILLER


@NEEDS_CURL
@pytest.mark.parametrize(
    ("content", "code"), [(b"refuses", "unsafe-checkpoint"), (b"", "not-a-checkpoint")]
)
def test_a_refusal_is_shown(serve: Serve, folder: Path, content: bytes, code: str) -> None:
    """Whether the job fails or the upload is refused: the exit status is 1."""
    (folder / "model.pt").write_bytes(content)
    done = convert(folder, serve().url)
    assert done.returncode == 1
    assert code in done.stdout
    assert not (folder / "out.zip").exists()


@NEEDS_CURL
def test_a_key_is_sent(serve: Serve, folder: Path, tmp_path: Path) -> None:
    """If there is one; else the refusal is shown."""
    (tmp_path / "keys").write_text("ada:key-of-ada\n")
    service = serve(api_keys_file=tmp_path / "keys")
    (folder / "model.pt").write_bytes(b"fine")
    assert "unauthorized" in convert(folder, service.url).stdout
    assert convert(folder, service.url, "key-of-ada").returncode == 0


@pytest.mark.parametrize("text", blocks("yaml"), ids=["GitLab", "GitHub", "Argo"])
def test_a_pipeline_calls_the_script(text: str) -> None:
    """It is YAML, and names the service for the script."""
    parsed: Any = yaml.safe_load(text)
    assert "convert.sh" in str(parsed)
    assert "CONVLAST_URL" in str(parsed)
