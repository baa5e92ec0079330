"""The report on one file, drawn from all that was found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from convlast.architectures import Case
from convlast.checkpoints import metadata
from convlast.checkpoints.checkpoint import Checkpoint
from convlast.containers import CONTAINERS, WritableContainer
from convlast.conversion.inference import Inference
from convlast.conversion.job import Source
from convlast.devices import environment_of
from convlast.findings import conversion as findings
from convlast.findings.advice import advise
from convlast.planning.plan import Plan
from convlast.proving.program_runs import ScriptTrial
from convlast.proving.proof import Proven
from convlast.report import Artifact, Finding, InputFile, Layer, Report, Survival, verdict_of
from convlast.report.clock import now
from convlast.writing.request import Written


@dataclass(frozen=True, kw_only=True)
class Made:
    """An artifact in its workplace, and what was found on the way.

    Attributes:
        case: The checkpoint, the plan that was applied, and what was asked for.
        container: The kind of the artifact.
        written: The artifact.
        trial: The runs of a TorchScript program before and after.
        proven: The proof.
        inference: The fp16 smoke.
        survival: What ways of loading do to the layout.
        input_sha256: The input's digest.
        sha256: The artifact's digest.
        crc32: The artifact's CRC.
        roots: The roots of the tensors' digests, of the input and of the artifact.
    """

    case: Case
    container: WritableContainer
    written: Written
    trial: ScriptTrial | None
    proven: Proven
    inference: Inference
    survival: list[Survival]
    input_sha256: str
    sha256: str
    crc32: int
    roots: tuple[str | None, str | None] = (None, None)


def report_of(
    source: Source,
    made: Made,
    filename: str,
    known: list[Finding],
    seconds: dict[str, float],
) -> Report:
    """Return the report.

    Args:
        source: What was converted.
        made: What was made of it.
        filename: The artifact's name.
        known: What was found before the conversion.
        seconds: How long each stage took.
    """
    case, smoke = made.case, made.inference.smoke
    found = [*known, *_findings_of(made)]
    given = input_of(case.checkpoint, case.plan, source.name, made.input_sha256)
    given.tensors_sha256, tensors_sha256 = made.roots
    code = made.container.loading_code(case.checkpoint, has_layout=case.plan.has_layout)
    return Report(
        made_at=now(),
        verdict=verdict_of(found),
        findings=found,
        input=given,
        artifact=Artifact(
            filename=filename,
            sha256=made.sha256,
            crc32=made.crc32,
            bytes=made.written.path.stat().st_size,
            container=made.container.name,
            tensors_sha256=tensors_sha256,
            unchanged=made.written.is_unchanged,
        ),
        options=case.options,
        environment=environment_of(case.device),
        layers=_layers(made.inference),
        proof=made.proven.proof,
        survival=made.survival,
        smoke=smoke,
        advice=advise(
            found,
            smoke,
            filename=source.loaded_as or filename,
            loading_code=code,
            wrapper=case.plan.wrapper_path,
        ),
        seconds=seconds,
    )


def input_of(checkpoint: Checkpoint, plan: Plan, name: str, sha256: str) -> InputFile:
    """Return the part of a report about the input."""
    return InputFile(
        filename=name,
        sha256=sha256,
        bytes=checkpoint.path.stat().st_size,
        container=checkpoint.container,
        wrapper=plan.wrapper,
    )


def _findings_of(made: Made) -> Iterator[Finding]:
    """Yield what was found, in the order of the steps."""
    case, inference = made.case, made.inference
    yield from findings.of_plan(inference.plan)
    yield from findings.of_left_out(case.checkpoint.left_out)
    if made.trial is not None:
        # A model that ran has shown what its code alone only hints at.
        yield from findings.of_script(
            made.trial, case.plan, was_run=inference.smoke.scope == "model"
        )
    yield from findings.of_comparison(made.proven.comparison)
    yield from inference.findings
    yield from findings.of_casts(case.plan.casts)
    yield from findings.of_dropped(_dropped(made), made.container)
    yield from findings.of_result(case.plan, made.container, unchanged=made.written.is_unchanged)


def _dropped(made: Made) -> list[str]:
    """Return the names of the input's records that the artifact does not hold."""
    checkpoint, container = made.case.checkpoint, made.container
    if container.holds_objects or checkpoint.container == container.name:
        return []
    records = CONTAINERS[checkpoint.container].records_of(checkpoint)
    return [name for name in records if name != metadata.MEMBER]


def _layers(inference: Inference) -> list[Layer]:
    layers = inference.plan.layers()
    for layer in layers:
        layer.smoke = inference.layers.get(layer.name)
    return layers
