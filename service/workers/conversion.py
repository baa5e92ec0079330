"""The task of the workers: runs convlast. Only the fork server imports it, and torch with it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch

from convlast import conversion, inspection
from convlast.bytes.digest import crc32
from convlast.devices import device_errors_translated, resolve, troubles_on, unused_gpu
from convlast.errors import DeviceUnavailableError
from convlast.options import Options
from convlast.progress import Progress, silent
from convlast.report import Report
from convlast.report.rendering import html
from service.workers import REPORT_HTML, REPORT_JSON, Finished, Job, Made
from service.workers.preloading import preload
from service.workers.warming import warm_up

REHEARSAL = "rehearsal-"
"""Prefix of the folder that a worker uses during its warm-up."""

preload()  # in the fork server, which imports this module


def warm(device: str) -> dict[str, Any]:
    """Warm up this process with one small conversion, since the first one takes longer.

    The conversion has no smoke: `warm_up` starts what a smoke uses on the device, and a whole smoke
    would delay the next worker by more than its job would gain. A worker that cannot convert is
    never ready.

    Raises:
        ConvlastError: If the device is absent, fails or is full, or the conversion fails.
    """
    where = resolve(device)
    with device_errors_translated(where):
        warm_up(where)
    with TemporaryDirectory(prefix=REHEARSAL) as folder:
        source = Path(folder, "upload")
        torch.save({"conv.weight": torch.zeros(2, 2, 1, 1, 2), "bias": torch.zeros(2)}, source)
        job = Job(
            id="rehearsal",
            verb="convert",
            source=source,
            folder=Path(folder),
            filename="rehearsal.pt",
            options=Options(smoke="none"),
        )
        run(job, device, silent)
    return probe(device)


def probe(device: str) -> dict[str, Any]:
    """Do one small operation on the device, and return facts about it.

    Raises:
        DeviceError: If the device does not answer.
    """
    where = resolve(device)
    with device_errors_translated(where):
        total = int(torch.ones(8, device=where).sum().item())
    if total != 8:
        raise DeviceUnavailableError(f"The device {where} computes a wrong sum of eight ones.")
    troubles = [*troubles_on(where), *unused_gpu(device)]
    facts: dict[str, Any] = {
        "torch": torch.__version__,
        "device": str(where),
        "known_trouble": [f"{t.code}: {t.message} {t.cure}" for t in troubles],
    }
    if where.type == "cuda":
        free_bytes, total_bytes = torch.cuda.mem_get_info(where)
        facts |= {
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "gpu": torch.cuda.get_device_name(where),
            "compute_capability": ".".join(map(str, torch.cuda.get_device_capability(where))),
            "memory_free_bytes": free_bytes,
            "memory_total_bytes": total_bytes,
        }
    return facts


def run(job: Job, device: str, progress: Progress) -> Finished:
    """Convert or inspect a checkpoint, and write the artifact and both reports.

    Raises:
        ConvlastError: If the library refuses.
    """
    artifact: Path | None = None
    source = conversion.Source(job.source, job.filename, job.sha256)
    if job.verb == "inspect":
        report = inspection.inspect(
            source,
            job.options,
            limits=job.limits,
            allow_programs=job.allow_programs,
            progress=progress,
        )
    else:
        report, artifact = conversion.convert_into(
            source,
            job.folder,
            job.options,
            conversion.JobSettings(
                device, job.limits, job.allow_programs, job.architecture_prefixes, progress
            ),
        )
    job.sign(report)
    began_s = perf_counter()
    files = _write_reports(report, job.folder)
    made_artifact = None
    if artifact and report.artifact:
        made_artifact = _made(artifact, report.artifact.crc32)
    return Finished(
        verdict=report.verdict,
        artifact=made_artifact,
        artifact_sha256=report.artifact.sha256 if report.artifact else None,
        reports=[_made(path, crc32(path.read_bytes())) for path in files],
        seconds={**report.seconds, "report": perf_counter() - began_s},
    )


def _write_reports(report: Report, folder: Path) -> list[Path]:
    json_path, html_path = folder / REPORT_JSON, folder / REPORT_HTML
    json_path.write_text(report.model_dump_json())
    html_path.write_text(html.render(report))
    return [json_path, html_path]


def _made(path: Path, crc: int | None) -> Made:
    return Made(filename=path.name, crc32=crc)
