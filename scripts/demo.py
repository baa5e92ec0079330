"""Start the service, send it a checkpoint, show what it answers, and stop it (`make demo`).

The checkpoint is made here, and small: a 3-D network with transposed convolutions, a batch norm
whose variance does not fit into fp16, and a 5-D parameter that is no convolution's weight.
What comes back lies in the folder `demo` afterwards.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import httpx
import torch
from rich.console import Console
from torch import nn

from convlast.report import Report
from convlast.report.rendering.terminal import render

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "demo"
LOG = "service.log"
START_S = 120
NEXT = f"""What to try next:
  open {FOLDER.name}/report.html in a browser
  .venv/bin/convlast inspect YOUR_MODEL.pt
  make serve"""


def main() -> None:
    """Do all of it."""
    argparse.ArgumentParser(
        prog="python -m scripts.demo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    console = Console(markup=False, highlight=False)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    checkpoint = make_checkpoint(FOLDER / "segmenter.pt")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    console.print(f"The service starts on {url}; its log is {FOLDER.name}/{LOG}.")
    with (FOLDER / LOG).open("wb") as log:
        service = subprocess.Popen(  # this project's own service
            [sys.executable, "-m", "service"],
            env={**os.environ, "CONVLAST_PORT": str(port)},  # noqa: TID251  # handed on, not read
            cwd=ROOT,
            stderr=log,
        )
    try:
        wait_until_ready(f"{url}/readyz", service)
        answer = FOLDER / "answer.zip"
        console.print(f"It is ready, and converts {FOLDER.name}/{checkpoint.name}.\n")
        send(checkpoint, f"{url}/convert", answer)
    finally:
        service.terminate()
        service.wait(timeout=60)
    with zipfile.ZipFile(answer) as archive:
        archive.extractall(FOLDER)
    answer.unlink()
    report = Report.model_validate_json((FOLDER / "report.json").read_bytes())
    console.print(render(report), crop=False)
    made = ", ".join(sorted(path.name for path in FOLDER.iterdir()))
    console.print(f"\nIn {FOLDER.name}/: {made}\n\n{NEXT}", crop=False, soft_wrap=True)


def make_checkpoint(path: Path) -> Path:
    """Save the checkpoint of a small segmentation network."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv3d(1, 16, 3, padding=1),
        nn.BatchNorm3d(16),
        nn.ReLU(),
        nn.Conv3d(16, 32, 3, stride=2, padding=1),
        nn.BatchNorm3d(32),
        nn.ReLU(),
        nn.ConvTranspose3d(32, 16, 2, stride=2),
        nn.Conv3d(16, 3, 1),
    )
    state_dict = network.state_dict()
    state_dict["4.running_var"][0] = 1e6
    state_dict["position"] = torch.zeros(1, 16, 4, 4, 4)
    torch.save({"epoch": 12, "network_weights": state_dict}, path)
    return path


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def wait_until_ready(url: str, service: subprocess.Popen[bytes]) -> None:
    """Wait until the service would take a job."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if service.poll() is not None:
            log = (FOLDER / LOG).read_text()
            sys.exit(f"The service stopped with status {service.returncode}.\n{log}")
        try:
            if httpx.get(url).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    sys.exit(f"The service was not ready within {START_S} s.")


def send(checkpoint: Path, url: str, answer: Path) -> None:
    """Send a checkpoint, and keep the answer."""
    with checkpoint.open("rb") as file:
        response = httpx.post(url, files={"checkpoint": (checkpoint.name, file)}, timeout=300)
    if response.is_error:
        sys.exit(f"{response.status_code}: {response.text}")
    answer.write_bytes(response.content)


if __name__ == "__main__":
    main()
