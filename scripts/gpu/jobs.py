"""What the service is given to convert, and how each answer is told of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import torch
from torch import nn

_LENGTHY = ("activations", "trace", "range")
"""Parts of a report's smoke whose length is told alone."""

_HEADERS = {"Content-Type": "application/octet-stream", "Accept": "application/json"}


@dataclass(frozen=True)
class Job:
    """A file, and what is asked for.

    Attributes:
        file: The checkpoint.
        options: Of the conversion, as the query has them.
    """

    file: Path
    options: Mapping[str, str] = field(default_factory=dict)

    def send(
        self, client: httpx.Client, limit_s: float, filename: str | None = None
    ) -> httpx.Response:
        """Convert it, and wait for the report.

        Args:
            client: Of the service.
            limit_s: How long to wait.
            filename: The name that the service is told. A job that is the same in everything is
                not done again.
        """
        query = {**self.options, "filename": filename or self.file.name}
        content = self.file.read_bytes()
        return client.post(
            "/convert", params=query, content=content, headers=_HEADERS, timeout=limit_s
        )


def jobs(folder: Path, checkpoints: Path, *, rehearse: bool) -> list[Job]:
    """Return what is converted, what matters most first; each kind of smoke is among it.

    Args:
        folder: Where files are made.
        checkpoints: Where real ones lie; some are absent, perhaps all.
        rehearse: Whether tiny inputs will do.
    """
    module, state_dict = made(folder)
    small, video = (
        ("2,16,8,8,8", "2,3,4,32,32") if rehearse else ("2,16,16,32,32", "2,3,16,112,112")
    )
    of_gnina = "2,35,12,12,12" if rehearse else "2,35,48,48,48"
    r3d_18 = {"architecture": "torchvision.models.video.r3d_18", "input_shape": video}
    program = checkpoints / "gnina_default2017_torchscript.pt"
    # Nothing is fastest on a CPU, which refuses that.
    fastest = Job(module, {"select": "fastest", "input_shape": small})
    return [
        Job(module, {"input_shape": small}),
        Job(state_dict, {"smoke": "none"}),
        Job(state_dict, {"smoke": "layers"}),
        Job(program, {"input_shape": of_gnina, "on_failure": "report"}),
        *([] if rehearse else [fastest]),
        Job(checkpoints / "meshnet.pth"),
        Job(folder / "r3d_18.pt", r3d_18),
        Job(checkpoints / "gnina_dense.pt"),
        Job(checkpoints / "hippodeep.pt"),
    ]


def made(folder: Path) -> tuple[Path, Path]:
    """Write a module and its state dict; and r3d_18's, where torchvision is there.

    Returns:
        The module, and its state dict.
    """
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv3d(16, 64, 3, padding=1),
        nn.BatchNorm3d(64),
        nn.ReLU(),
        nn.Conv3d(64, 64, 3, padding=1),
        nn.InstanceNorm3d(64),
        nn.Conv3d(64, 64, 3, padding=1),
        nn.ConvTranspose3d(64, 16, 2, stride=2),
    ).eval()
    module, state_dict = folder / "module.pt", folder / "state_dict.pt"
    torch.save(network, module)
    torch.save(network.state_dict(), state_dict)
    try:
        from torchvision.models.video import r3d_18

        torch.save(r3d_18().state_dict(), folder / "r3d_18.pt")
    except ImportError:
        pass  # the job is told of as absent
    return module, state_dict


def small_file(folder: Path) -> Path:
    """Write a checkpoint of 6 kB: what a job costs beside its file."""
    path = folder / "small.pt"
    torch.save(nn.Conv3d(4, 8, 3).state_dict(), path)
    return path


def told(job: Job, answer: httpx.Response) -> dict[str, Any]:
    """Return what matters of an answer."""
    body = answer.json()
    about: dict[str, Any] = {
        "file": job.file.name,
        "options": dict(job.options),
        "status": answer.status_code,
        "took_s": answer.elapsed.total_seconds(),
    }
    if answer.status_code != httpx.codes.OK:
        problem = {name: str(value)[:600] for name, value in body.items() if name != "report"}
        return {**about, "error": f"the service answered {answer.status_code}", "problem": problem}
    report = body.get("report", body)
    kept = ("verdict", "seconds", "advice", "environment", "artifact")
    return {
        **about,
        **{name: report.get(name) for name in kept},
        "findings": [(f["code"], f["severity"], f["message"][:240]) for f in report["findings"]],
        "smoke": _shortened(report.get("smoke") or {}),
        "layers": [(each["name"], each["status"], each.get("smoke")) for each in report["layers"]],
    }


def _shortened(smoke: dict[str, Any]) -> dict[str, Any]:
    return {**smoke, **{name: len(smoke[name]) for name in _LENGTHY if smoke.get(name)}}
