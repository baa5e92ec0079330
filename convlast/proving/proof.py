"""The proof: the file that was written, loaded anew and compared with the input, bit for bit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from convlast.bytes.reclaiming import collecting_seldom
from convlast.checkpoints import PROGRAMS, Checkpoint, open_checkpoint
from convlast.checkpoints.tree import KeyPath, walk
from convlast.layout.memory_format import laid_out, place_of
from convlast.options import Limits
from convlast.planning.casting import Casts
from convlast.planning.plan import LayerPlan, Plan
from convlast.proving.comparison import Comparison, compare, proof_of
from convlast.proving.reloading import reload_torch, tensors_by_torch
from convlast.report import Proof, Survival
from convlast.writing.permutation import bits_of
from convlast.writing.readback import Match


@dataclass(frozen=True)
class Proven:
    """What was found.

    Attributes:
        proof: For the report.
        comparison: Each difference.
        survival: What loading does to the layout, as far as it was tried.
    """

    proof: Proof
    comparison: Comparison
    survival: list[Survival]
    artifact: Checkpoint
    tensors: dict[KeyPath, torch.Tensor]

    def read_converted(self, decision: LayerPlan) -> torch.Tensor:
        """Read a weight from the artifact with the strides its users will see."""
        tensor = self.artifact.read(self.tensors[decision.candidate.path])
        if tensor.stride() == decision.stride_after:
            return tensor
        # A safetensors file: this is what convlast.load does with its manifest.
        return laid_out(tensor, decision.stride_after)


@collecting_seldom()
def prove(
    checkpoint: Checkpoint,
    plan: Plan,
    artifact: Path,
    casts: Casts,
    limits: Limits,
    matches: frozenset[Match] = frozenset(),
) -> Proven:
    """Load an artifact anew and compare it with the input.

    Args:
        checkpoint: The input.
        plan: What was to be done.
        artifact: The file that was made.
        casts: What became fp16.
        limits: Those of opening it.
        matches: Bytes of the file that were read back, and are those of the input. A tensor that
            PyTorch finds there has the input's values; all others are read and compared.

    Raises:
        CheckpointError: If it cannot be loaded, which would be our fault.
    """
    holds_strides = not artifact.name.endswith(".safetensors")
    is_program = checkpoint.container in PROGRAMS
    if holds_strides and not is_program:
        loaded: Checkpoint = reload_torch(artifact, checkpoint.asks_for)
    else:
        loaded = open_checkpoint(artifact, limits=limits, allow_programs=True)
    entries = walk(loaded.root, limits, keep_originals=False)
    comparison = compare(
        checkpoint,
        loaded,
        plan.entries,
        entries,
        cast=frozenset(casts.paths),
        is_flat=not holds_strides,
        matches=matches,
    )
    tensors = {
        entry.path: entry.value for entry in entries if isinstance(entry.value, torch.Tensor)
    }
    if holds_strides:
        _check_strides(plan, comparison, tensors)
    if is_program:
        _check_by_torch(loaded, comparison, tensors, artifact)
    proof = proof_of(comparison, is_cast=bool(casts.paths))
    return Proven(proof, comparison, _survival(checkpoint, holds_strides), loaded, tensors)


def _check_strides(
    plan: Plan, comparison: Comparison, tensors: dict[KeyPath, torch.Tensor]
) -> None:
    """Check each tensor's strides against the plan, and the plan against PyTorch itself."""
    planned = {place_of(decision.original): decision.stride_after for decision in plan.conversions}
    for entry in plan.entries:
        loaded = tensors.get(entry.path)
        if loaded is None or entry.original is None:
            continue
        if loaded.stride() != planned.get(place_of(entry.original), entry.original.stride()):
            comparison.differ("strides", entry.path, f"Its strides are {loaded.stride()}.")
    if plan.memory_format != "channels_last_3d":
        return
    for decision in plan.decisions:
        if decision.status != "converted":
            continue
        expected = _strides_by_pytorch(decision.original.shape)
        if decision.stride_after != expected:
            comparison.differ(
                "strides", decision.candidate.path, f"PyTorch's function gives {expected}."
            )


def _check_by_torch(
    loaded: Checkpoint,
    comparison: Comparison,
    tensors: dict[KeyPath, torch.Tensor],
    artifact: Path,
) -> None:
    """Check that PyTorch's own loader finds in a program what was found there without it."""
    for name, theirs in tensors_by_torch(artifact, loaded.container).items():
        ours = tensors.get((name,))
        if ours is None:
            continue
        if theirs.stride() != ours.stride():
            comparison.differ("strides", (name,), f"PyTorch loads the strides {theirs.stride()}.")
        elif not torch.equal(bits_of(theirs.cpu()), bits_of(loaded.read(ours))):
            comparison.differ("values", (name,), "PyTorch loads other values.")


@cache
def _strides_by_pytorch(shape: torch.Size) -> tuple[int, ...]:
    """Let PyTorch's own function lay out a weight of this shape; it needs no memory for that."""
    owner = torch.nn.Conv3d(1, 1, 1, device="meta")
    owner.weight = torch.nn.Parameter(torch.empty(shape, device="meta"))
    torch.nn.utils.convert_conv3d_weight_memory_format(owner, torch.channels_last_3d)
    return owner.weight.stride()


def _survival(checkpoint: Checkpoint, holds_strides: bool) -> list[Survival]:
    """Tell what the loading that was done here did to the layout."""
    if checkpoint.container in PROGRAMS:
        route = {
            "torchscript": "torch.jit.load(path)",
            "program": "torch.export.load(path)",
        }[checkpoint.container]
        message = "Tried on the whole artifact: every stride is there."
        return [Survival(route=route, survives=True, message=message)]
    if not holds_strides:
        return [
            Survival(
                route="safetensors.torch.load_file(path)",
                survives=False,
                message="safetensors holds no strides. Use convlast.load or convlast.load_into.",
            )
        ]
    allowed = ", with its classes in torch.serialization.safe_globals" * bool(checkpoint.asks_for)
    return [
        Survival(
            route="torch.load(path, weights_only=True, mmap=True)",
            survives=True,
            message=f"Tried on the whole artifact{allowed}: every stride is there.",
        ),
    ]
