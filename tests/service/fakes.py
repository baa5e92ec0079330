"""A fake task that does what the first word of the checkpoint says.

It replaces `service.workers.conversion`, needs no torch, and shows how the service handles each
kind of behaviour of a worker.
"""

from __future__ import annotations

import gc
import hashlib
import os
import signal
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from convlast.errors import (
    LimitExceededError,
    NoConv3dWeightsError,
    UnsafeCheckpointError,
    VerificationError,
)
from convlast.options import Options
from convlast.progress import Progress
from convlast.report import Advice, Artifact, Environment, Finding, InputFile, Layer, Report
from service.workers import REPORT_HTML, REPORT_JSON, Finished, Made
from service.workers.messages import LocalJob

COPY_BYTES = 1 << 20
PROGRESS: list[Progress] = []
"""The progress callback of the running job."""


def warm(device: str, threads: int | None) -> dict[str, Any]:
    """Be warm at once."""
    return probe(device)


def probe(device: str) -> dict[str, Any]:
    """Report a healthy device with a known trouble."""
    return {
        "device": device,
        "torch": "none",
        "known_trouble": ["no-cudnn: There is none."],
        "memory_free_bytes": 1,
        "memory_total_bytes": 2,
        "frozen_objects": gc.get_freeze_count(),
    }


def run(job: LocalJob, device: str, progress: Progress) -> Finished:
    """Do what the first word of the checkpoint says, then copy the checkpoint as the artifact."""
    PROGRESS[:] = [progress]
    progress("read", 1, 1)
    # The file stays open meanwhile, so that a test can find the process of the job.
    with job.source.open("rb") as file:
        words = file.read(200).split()
        verb = words[0].decode(errors="replace") if words else ""
        VERBS.get(verb, _nothing)(job, words[1:])
    artifact = None if job.verb == "inspect" else _copy(job)
    report = _report(job, device, artifact)
    report.advice = _advice(verb, words[1:])
    report.layers = _layers(verb, words[1:])
    job.sign(report)
    json_path, html_path = job.folder / REPORT_JSON, job.folder / REPORT_HTML
    json_path.write_text(report.model_dump_json())
    html_path.write_text("<!doctype html><title>report</title>")
    return Finished(
        verdict=report.verdict,
        artifact=_made(artifact) if artifact else None,
        artifact_sha256=report.artifact.sha256 if report.artifact else None,
        environment=report.environment,
        reports=[_made(json_path), _made(html_path)],
        seconds={"read": 0.001, "write": 0.002},
    )


def _advice(verb: str, words: list[bytes]) -> Advice | None:
    """`advises DECISION`: have the report advise it."""
    if verb != "advises":
        return None
    return Advice.model_validate({"decision": words[0].decode(), "reasons": [], "load": ""})


def _layers(verb: str, words: list[bytes]) -> list[Layer]:
    """`lists LAYERS`: report this many layers."""
    return [_layer(number) for number in range(int(words[0]))] if verb == "lists" else []


def _nothing(job: LocalJob, words: list[bytes]) -> None:
    pass


def _sleeps(job: LocalJob, words: list[bytes]) -> None:
    """`sleeps SECONDS`."""
    time.sleep(float(words[0]))


def _hangs(job: LocalJob, words: list[bytes]) -> None:
    while True:
        time.sleep(1)


def _crashes(job: LocalJob, words: list[bytes]) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _crashes_once(job: LocalJob, words: list[bytes]) -> None:
    """`crashes-once`: crash, unless a second attempt at this job is written down."""
    # The store is beside the workers' folders, and Landlock does not hide that a path exists.
    work_dir = job.folder.parents[3]
    if not (work_dir / "store" / job.id / "attempt-2").exists():
        _crashes(job, words)


def _prints(job: LocalJob, words: list[bytes]) -> None:
    """`prints TEXT`: print much, then a text and control characters, and crash."""
    sys.stdout.write("noise\n" * 10_000)
    sys.stdout.flush()
    os.write(2, words[0] + b" \x1b[2J\n")
    os.kill(os.getpid(), signal.SIGSEGV)


def _tells(job: LocalJob, words: list[bytes]) -> None:
    """`tells`: report progress very often."""
    for done in range(20_000):
        PROGRESS[0]("write", done, 20_000)
    for total in range(1, 4):
        PROGRESS[0]("files", 0, total)


def _counts(job: LocalJob, words: list[bytes]) -> None:
    """`counts SECONDS`: report progress twenty times a second."""
    total = int(float(words[0]) * 20)
    for done in range(1, total + 1):
        time.sleep(0.05)
        PROGRESS[0]("write", done, total)


def _kills_itself(job: LocalJob, words: list[bytes]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _spoils(job: LocalJob, words: list[bytes]) -> None:
    """`spoils`: try to change, to replace and to remove the checkpoint, and be killed."""
    own = job.folder / "own"
    own.write_bytes(b"hostile")
    attempts: list[Callable[[], object]] = [
        lambda: job.source.write_bytes(b"hostile"),
        lambda: own.replace(job.source),
        lambda: job.source.chmod(0),
        lambda: job.source.rename(job.folder / "taken"),
        job.source.unlink,
    ]
    for attempt in attempts:
        with suppress(OSError):
            attempt()
    _kills_itself(job, words)


def _exits(job: LocalJob, words: list[bytes]) -> None:
    os._exit(3)


def _babbles(job: LocalJob, words: list[bytes]) -> None:
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b'{"event": "nonsense"}\n')
        except OSError:
            continue


def _reads(job: LocalJob, words: list[bytes]) -> None:
    """`reads PATH`: tell whether a file can be read."""
    try:
        Path(words[0].decode()).read_bytes()
    except OSError as error:
        raise UnsafeCheckpointError(f"Refused: {error.strerror}.", names=[]) from None


def _raises(job: LocalJob, words: list[bytes]) -> None:
    raise RuntimeError("a secret of the machine")


def _exhausts_memory(job: LocalJob, words: list[bytes]) -> None:
    raise MemoryError


def _fills_the_disk(job: LocalJob, words: list[bytes]) -> None:
    raise OSError(28, "No space left on device")


def _refuses(job: LocalJob, words: list[bytes]) -> None:
    raise UnsafeCheckpointError("The pickle asks for os.system.", names=["os.system"])


def _exceeds(job: LocalJob, words: list[bytes]) -> None:
    """`exceeds FOUND`."""
    found = int(words[0]) if words else 2
    raise LimitExceededError("Too many tensors", limit="max_tensors", allowed=1, found=found)


def _has_no_weights(job: LocalJob, words: list[bytes]) -> None:
    raise NoConv3dWeightsError("None of the 2 tensors is a weight of a 3-D convolution.")


def _fails_verification(job: LocalJob, words: list[bytes]) -> None:
    """`fails-verification LAYERS`: with a report of this many layers."""
    report = _report(job, "cpu", None)
    report.verdict = "failed"
    report.findings = [Finding(code="values-differ", severity="error", message="They differ.")]
    report.layers = [_layer(number) for number in range(int(words[0]) if words else 0)]
    raise VerificationError("The values differ.", report=report)


def _raises_code(job: LocalJob, words: list[bytes]) -> None:
    """`raises-code CODE`: raise the library's error with this code."""
    from convlast import errors

    code = words[0].decode()
    found = next(each for each in vars(errors).values() if getattr(each, "code", None) == code)
    error = found.__new__(found)
    errors.ConvlastError.__init__(error, "As it was asked for.")
    raise error


VERBS: dict[str, Callable[[LocalJob, list[bytes]], None]] = {
    "sleeps": _sleeps,
    "hangs": _hangs,
    "crashes": _crashes,
    "crashes-once": _crashes_once,
    "prints": _prints,
    "tells": _tells,
    "counts": _counts,
    "kills-itself": _kills_itself,
    "spoils": _spoils,
    "exits": _exits,
    "babbles": _babbles,
    "raises": _raises,
    "reads": _reads,
    "exhausts-memory": _exhausts_memory,
    "fills-the-disk": _fills_the_disk,
    "refuses": _refuses,
    "exceeds": _exceeds,
    "has-no-weights": _has_no_weights,
    "fails-verification": _fails_verification,
    "raises-code": _raises_code,
}


def _copy(job: LocalJob) -> Path:
    """Copy the checkpoint as an artifact of this name."""
    stem, _, extension = job.filename.rpartition(".")
    name = f"{stem or extension}.{job.options.memory_format}.{extension if stem else 'pt'}"
    target = job.folder / name
    with job.source.open("rb") as source, target.open("wb") as copy:
        while chunk := source.read(COPY_BYTES):
            copy.write(chunk)
    return target


def _report(job: LocalJob, device: str, artifact: Path | None) -> Report:
    return Report(
        verdict="passed",
        input=InputFile(
            filename=job.filename,
            sha256=_sha256(job.source),
            bytes=job.source.stat().st_size,
            container="torch",
        ),
        artifact=Artifact(
            filename=artifact.name,
            sha256=_sha256(artifact),
            bytes=artifact.stat().st_size,
            container="torch",
        )
        if artifact
        else None,
        options=job.options if job.verb == "convert" else Options(),
        environment=Environment(
            convlast="0", python="3", torch="none", device=device, platform="test"
        ),
        layers=[],
    )


def _layer(number: int) -> Layer:
    return Layer(
        name=f"encoder.{number}.weight",
        kind="Conv3d",
        evidence="its bias",
        shape=[1] * 5,
        dtype="float32",
        stride_before=[1] * 5,
        stride_after=[1] * 5,
        status="converted",
        bytes=4,
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _made(path: Path) -> Made:
    crc32 = 0
    with path.open("rb") as file:
        while chunk := file.read(COPY_BYTES):
            crc32 = zlib.crc32(chunk, crc32)
    return Made(filename=path.name, crc32=crc32)
