"""The task of the workers: runs convlast. Only the fork server imports it, and torch with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch

from convlast import conversion, inspection
from convlast.bytes.digest import crc32
from convlast.containers import open_checkpoint
from convlast.devices import device_errors_translated, resolve, troubles_on, unused_gpu
from convlast.errors import DeviceUnavailableError
from convlast.options import Options
from convlast.progress import Progress, silent
from convlast.report import Report
from convlast.report.rendering import html
from service.workers import REPORT_HTML, REPORT_JSON, Finished, Made
from service.workers.messages import LocalJob
from service.workers.preloading import gpus_hidden, preload
from service.workers.warming import warm_up

REHEARSAL = "rehearsal-"
"""Prefix of the folder that is used during a rehearsal."""

_FULLY, _BRIEFLY = Options(), Options(smoke="none")
_rehearsed_on: set[str] = set()

preload()  # in the fork server, which imports this module


def warm(device: str, threads: int | None = None) -> dict[str, Any]:
    """Warm up this process, and return facts about the device.

    If the fork server has rehearsed, this opens a small checkpoint. Its job would otherwise wait
    for the kernel to copy the memory that this process shares with the fork server, page by page;
    the pages that opening writes to are copied now, at the same cost.

    Otherwise this does one small conversion, since the first one takes longer. It has no smoke:
    `warm_up` starts what a smoke uses on the device, and a whole smoke would delay the next worker
    by more than its job would gain. A worker that cannot convert is never ready.

    Args:
        device: The device.
        threads: How many threads to compute with on the CPU; none: as PyTorch chooses.

    Raises:
        ConvlastError: If the device is absent, fails or is full, or the conversion fails.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    where = resolve(device)
    if where.type not in _rehearsed_on:
        with device_errors_translated(where):
            warm_up(where)
        _convert_a_small_one(device, _BRIEFLY)
    else:
        # On a full disk the job says what is wrong, if it has no room either.
        with suppress(OSError), _small_checkpoint() as source:
            open_checkpoint(source)
    return probe(device)


def rehearse(*, fully: bool) -> None:
    """Do one small conversion on the CPU, with one thread, for all processes forked from this one.

    GNU's OpenMP hangs in a child if its parent had a pool of threads, so there must be none.

    Args:
        fully: Whether to run a smoke too.

    Raises:
        ConvlastError: If the conversion fails.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with gpus_hidden():
            warm_up(torch.device("cpu"))
            _convert_a_small_one("cpu", _FULLY if fully else _BRIEFLY)
    finally:
        torch.set_num_threads(threads)
    _rehearsed_on.add("cpu")


def _convert_a_small_one(device: str, options: Options) -> None:
    with _small_checkpoint() as source:
        job = LocalJob(
            id="rehearsal",
            verb="convert",
            source=source,
            folder=source.parent,
            filename="rehearsal.pt",
            options=options,
        )
        run(job, device, silent)


@contextmanager
def _small_checkpoint() -> Iterator[Path]:
    """Yield a checkpoint with one convolution, in a folder of its own."""
    with TemporaryDirectory(prefix=REHEARSAL) as folder:
        source = Path(folder, "upload")
        source.write_bytes(_small_file())
        yield source


@cache
def _small_file() -> bytes:
    """Return its bytes; the fork server makes them for all workers."""
    file = BytesIO()
    torch.save({"conv.weight": torch.zeros(2, 2, 1, 1, 2), "bias": torch.zeros(2)}, file)
    return file.getvalue()


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
            "gpus": torch.cuda.device_count(),
            "compute_capability": ".".join(map(str, torch.cuda.get_device_capability(where))),
            "memory_free_bytes": free_bytes,
            "memory_total_bytes": total_bytes,
        }
    return facts


def run(job: LocalJob, device: str, progress: Progress) -> Finished:
    """Convert or inspect a checkpoint, and write the artifact and both reports.

    Raises:
        ConvlastError: If the library refuses.
    """
    artifact: Path | None = None
    source = conversion.Source(
        job.source, job.filename, job.sha256, loaded_as=job.loaded_as, is_packed=job.is_packed
    )
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
        input_tensors_sha256=report.input.tensors_sha256,
        artifact_tensors_sha256=report.artifact.tensors_sha256 if report.artifact else None,
        environment=report.environment,
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
