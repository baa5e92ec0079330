"""The proof: the file that was written, loaded anew and compared with the input, bit for bit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from convlast.casting import Casts
from convlast.checkpoints import Checkpoint, open_checkpoint
from convlast.checkpoints.reloading import reload_torch
from convlast.checkpoints.tree import Path as TreePath
from convlast.checkpoints.tree import walk
from convlast.comparison import Comparison, compare, proof_of
from convlast.options import Limits
from convlast.plan import Decision, Plan, place_of
from convlast.report import Proof, Survival


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
    tensors: dict[TreePath, torch.Tensor]

    def read_converted(self, decision: Decision) -> torch.Tensor:
        """Read a weight from the artifact with the strides its users will see."""
        tensor = self.artifact.read(self.tensors[decision.candidate.path])
        if tensor.stride() == decision.stride_after:
            return tensor
        # A safetensors file: this is what convlast.load does with its manifest.
        laid_out = torch.empty_strided(tensor.shape, decision.stride_after, dtype=tensor.dtype)
        return laid_out.copy_(tensor)


def prove(
    checkpoint: Checkpoint, plan: Plan, artifact: Path, casts: Casts, limits: Limits
) -> Proven:
    """Load an artifact anew and compare it with the input.

    Raises:
        CheckpointError: If it cannot be loaded, which would be our fault.
    """
    holds_strides = not artifact.name.endswith(".safetensors")
    if holds_strides:
        loaded: Checkpoint = reload_torch(artifact)
    else:
        loaded = open_checkpoint(artifact, limits=limits)
    entries = walk(loaded.root, limits)
    comparison = compare(
        checkpoint,
        loaded,
        plan.entries,
        entries,
        cast=frozenset(casts.paths),
        is_flat=not holds_strides,
    )
    tensors = {
        entry.path: entry.value for entry in entries if isinstance(entry.value, torch.Tensor)
    }
    if holds_strides:
        _check_strides(plan, comparison, tensors)
    proof = proof_of(comparison, is_cast=bool(casts.paths))
    return Proven(proof, comparison, _survival(holds_strides), loaded, tensors)


def _check_strides(
    plan: Plan, comparison: Comparison, tensors: dict[TreePath, torch.Tensor]
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
    for decision in plan.conversions:
        expected = _strides_by_pytorch(decision.original.shape)
        if decision.stride_after != expected:
            comparison.differ(
                "strides", decision.candidate.path, f"PyTorch's function gives {expected}."
            )


def _strides_by_pytorch(shape: torch.Size) -> tuple[int, ...]:
    """Let PyTorch's own function lay out a weight of this shape; it needs no memory for that."""
    owner = torch.nn.Conv3d(1, 1, 1, device="meta")
    owner.weight = torch.nn.Parameter(torch.empty(shape, device="meta"))
    torch.nn.utils.convert_conv3d_weight_memory_format(owner, torch.channels_last_3d)
    return owner.weight.stride()


def _survival(holds_strides: bool) -> list[Survival]:
    """Tell what the loading that was done here did to the layout."""
    if not holds_strides:
        return [
            Survival(
                route="safetensors.torch.load_file(path)",
                survives=False,
                message="safetensors holds no strides. Use convlast.load or convlast.load_into.",
            )
        ]
    return [
        Survival(
            route="torch.load(path, weights_only=True, mmap=True)",
            survives=True,
            message="Tried on the whole artifact: every stride is there.",
        ),
    ]
