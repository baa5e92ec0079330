"""`verify`: is one file the other one converted, and nothing else?"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path

import torch

from convlast.bytes.digest import sha256_of
from convlast.bytes.reclaiming import collecting_seldom
from convlast.checkpoints.checkpoint import Checkpoint
from convlast.checkpoints.manifest import Manifest
from convlast.checkpoints.tree import Entry, KeyPath, walk
from convlast.containers import CONTAINERS, is_folder, open_checkpoint
from convlast.conversion.file_report import input_of
from convlast.devices import environment_of, on_the_cpu
from convlast.findings import conversion as findings
from convlast.folders import open_folder
from convlast.layout.memory_format import Place, place_of, strides_of
from convlast.options import Limits, Options
from convlast.places.workplace import temporary_folder
from convlast.planning.casting import DTYPES, WIDER
from convlast.planning.plan import Plan, make_plan
from convlast.progress import Portions, Progress, silent
from convlast.proving.comparison import Comparison, Walked, compare, proof_of
from convlast.proving.record_comparison import compare_records
from convlast.report import Artifact, Layer, Report, Status, verdict_of
from convlast.report.clock import now
from convlast.verification.folder import FolderVerification

_LIMITS = Limits()


@on_the_cpu()
def verify(
    original: str | os.PathLike[str],
    converted: str | os.PathLike[str],
    *,
    limits: Limits = _LIMITS,
    allow_programs: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Prove that one checkpoint is the other with its convolution weights laid out anew.

    Every tensor is compared bit for bit; keys, order, aliases, dtypes and device tags must be
    the same, and only convolution weights may have other strides. Of an artifact that says that it
    was cast to fp16 (`dtype=float16`), what is in fp16 must be the cast of what was wider. In a
    model folder or an archive of one, every other file must be the same byte for byte; either may
    be packed, or not.

    Args:
        original: The checkpoint, or model folder, as it was.
        converted: What was made of it.
        limits: What the files may cost.
        allow_programs: Whether files that hold code may be opened.
        progress: Called as `progress(stage, done, total)`, in bytes; the stages are `compare` and
            `digest`, or for model folders `files`.

    Returns:
        A report; its verdict is `failed` if anything else differs.

    Raises:
        ConvlastError: If one of the files cannot be opened.
    """
    Limits.require(limits, "limits")
    before, after, advance = Path(original), Path(converted), progress or silent
    if is_folder(before) and is_folder(after):
        with (
            temporary_folder() as workplace,
            open_folder(before, workplace, limits, advance) as one,
            open_folder(after, workplace, limits, advance) as other,
        ):
            verifying = FolderVerification(one, other, verify_file, allow_programs=allow_programs)
            return verifying.run(before.resolve().name, after.resolve().name, advance)
    return verify_file(
        open_checkpoint(before, limits=limits, allow_programs=allow_programs),
        open_checkpoint(after, limits=limits, allow_programs=allow_programs),
        limits,
        progress=advance,
    )


@collecting_seldom()
def verify_file(
    before: Checkpoint,
    after: Checkpoint,
    limits: Limits,
    beside: Mapping[str, torch.Tensor] | None = None,
    progress: Progress = silent,
) -> Report:
    """Prove it of two opened files; `beside` as for `make_plan`.

    Raises:
        NoConv3dWeightsError: If the first has no convolution's weight.
    """
    plan = make_plan(before, "channels_last_3d", limits=limits, beside=beside)
    entries = walk(after.root, limits, keep_originals=False)
    containers = CONTAINERS[before.container], CONTAINERS[after.container]
    comparison = compare(
        Walked(before, plan.entries),
        Walked(after, entries),
        dtypes=_dtypes_cast_to(plan, entries, after.manifest),
        holds_objects=all(container.holds_objects for container in containers),
        progress=progress,
    )
    strides = {
        entry.path: after.stride_seen(entry.path[-1], entry.value)
        for entry in entries
        if isinstance(entry.value, torch.Tensor)
    }
    given = _strides_given(plan, before.manifest)
    _check_strides(plan, given, strides, comparison, holds_strides=after.holds_strides)
    compare_records(before, after, comparison)
    layers = [
        _layer(layer, strides.get(decision.candidate.path))
        for layer, decision in zip(plan.layers(), plan.decisions, strict=True)
    ]
    found = list(findings.of_comparison(comparison))
    digest = _digesting((before.path, after.path), progress)
    return Report(
        made_at=now(),
        verdict=verdict_of(found),
        findings=found,
        input=input_of(before, plan, before.path.name, digest(before.path)),
        artifact=Artifact(
            filename=after.path.name,
            sha256=digest(after.path),
            bytes=after.path.stat().st_size,
            container=after.container,
        ),
        options=Options(),
        environment=environment_of(torch.device("cpu")),
        layers=layers,
        proof=proof_of(comparison),
    )


def _digesting(paths: Sequence[Path], progress: Progress) -> Callable[[Path], str]:
    """Return what computes the digests of these files, with one progress for all."""
    total = sum(path.stat().st_size for path in paths)
    portions = Portions(progress, "digest", total)
    return lambda path: sha256_of(path, portions.add)


def _dtypes_cast_to(
    plan: Plan, entries: Sequence[Entry], manifest: Manifest | None
) -> dict[KeyPath, torch.dtype]:
    """Return the new dtypes of the tensors that were cast on purpose, as the artifact says."""
    dtype = DTYPES.get(manifest.dtype) if manifest else None
    if dtype is None:
        return {}
    wide = {
        entry.path
        for entry in plan.entries
        if entry.original is not None and entry.original.dtype in WIDER
    }
    return {
        entry.path: dtype
        for entry in entries
        if entry.path in wide
        and isinstance(entry.value, torch.Tensor)
        and entry.value.dtype == dtype
    }


def _strides_given(plan: Plan, manifest: Manifest | None) -> Mapping[Place, Set[tuple[int, ...]]]:
    """Return the strides that a conversion gives each weight, or an undo, or that it keeps."""
    given: dict[Place, set[tuple[int, ...]]] = {}
    for decision in plan.decisions:
        shape = tuple(decision.original.shape)
        first = manifest.stride_before(decision.name, shape) if manifest else None
        given.setdefault(place_of(decision.original), set()).update(
            (
                strides_of(shape, "channels_last_3d"),
                strides_of(shape, "contiguous_format"),
                first or decision.stride_before,
                decision.stride_before,
            )
        )
    return given


def _check_strides(
    plan: Plan,
    given: Mapping[Place, Set[tuple[int, ...]]],
    strides: dict[KeyPath, tuple[int, ...]],
    comparison: Comparison,
    *,
    holds_strides: bool,
) -> None:
    """Note strides that no conversion gives.

    A tensor that is not a convolution weight, nor an alias of one, must have kept its own, or
    become contiguous where the container holds no strides.
    """
    for entry in plan.entries:
        tensor, stride = entry.original, strides.get(entry.path)
        if tensor is None or stride is None or stride == tensor.stride():
            continue
        allowed = given.get(place_of(tensor), set())
        if not holds_strides:
            allowed = allowed | {torch.empty(tensor.shape, device="meta").stride()}
        if stride not in allowed:
            comparison.differ(
                "strides", entry.path, f"Its strides {tensor.stride()} became {stride}."
            )


def _layer(layer: Layer, stride: tuple[int, ...] | None) -> Layer:
    """Say what became of a layer, from its strides in both files."""
    after = list(stride) if stride is not None else layer.stride_before
    if after != layer.stride_before:
        status: Status = "converted"
    elif after == list(strides_of(layer.shape, "channels_last_3d")):
        status = "already"
    else:
        status = "skipped" if layer.status == "skipped" else "kept"
    return layer.model_copy(update={"stride_after": after, "status": status})
