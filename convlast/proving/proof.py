"""The proof: the file that was written, loaded anew and compared with the input, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import torch

from convlast.bytes.reclaiming import collecting_seldom
from convlast.checkpoints.checkpoint import Checkpoint
from convlast.checkpoints.tree import KeyPath, walk
from convlast.containers import WritableContainer
from convlast.layout.memory_format import laid_out, place_of
from convlast.options import Limits
from convlast.planning.plan import LayerPlan, Plan
from convlast.proving.comparison import Comparison, Walked, compare, proof_of
from convlast.report import Proof, Survival
from convlast.writing.permutation import bits_of
from convlast.writing.request import Written


@dataclass(frozen=True)
class Proven:
    """What was found.

    Attributes:
        proof: For the report.
        comparison: Each difference.
        survival: What loading does to the layout.
        artifact: The artifact, loaded anew.
        tensors: Its tensors.
    """

    proof: Proof
    comparison: Comparison
    survival: Survival
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
    written: Written,
    container: WritableContainer,
    limits: Limits,
) -> Proven:
    """Load an artifact anew and compare it with the input.

    Args:
        checkpoint: The input.
        plan: What was to be done.
        written: The file that was made. A tensor that PyTorch finds where bytes were read back has
            the input's values; all others are read and compared.
        container: The kind of the file.
        limits: The limits for opening it.

    Raises:
        CheckpointError: If it cannot be loaded, which would be our fault.
    """
    loaded = container.reload(written.path, checkpoint, limits)
    entries = walk(loaded.root, limits, keep_originals=False)
    comparison = compare(
        Walked(checkpoint, plan.entries),
        Walked(loaded, entries),
        dtypes=plan.casts.dtypes,
        holds_objects=container.holds_objects,
        matches=written.matches,
    )
    tensors = {
        entry.path: entry.value for entry in entries if isinstance(entry.value, torch.Tensor)
    }
    if container.holds_strides:
        _check_strides(plan, comparison, tensors)
    _check_by_torch(container.tensors_by_torch(written.path), loaded, comparison, tensors)
    survival = container.survival(checkpoint)
    return Proven(proof_of(comparison), comparison, survival, loaded, tensors)


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
    found: Mapping[str, torch.Tensor],
    loaded: Checkpoint,
    comparison: Comparison,
    tensors: dict[KeyPath, torch.Tensor],
) -> None:
    """Compare the tensors that PyTorch's own loader found with those that we found without it."""
    for name, theirs in found.items():
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
    owner = _UnfilledConv3d(1, 1, 1, device="meta")
    owner.weight = torch.nn.Parameter(torch.empty(shape, device="meta"))
    torch.nn.utils.convert_conv3d_weight_memory_format(owner, torch.channels_last_3d)
    return owner.weight.stride()


class _UnfilledConv3d(torch.nn.Conv3d):
    """A layer whose first weight is replaced at once: to fill it would take most of the time."""

    def reset_parameters(self) -> None:
        """Leave the weight as it is."""
