"""What will be done to each convolution weight, decided before a byte is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from convlast.bytes.reclaiming import collecting_seldom
from convlast.checkpoints.checkpoint import Checkpoint
from convlast.checkpoints.declaration import Declaration
from convlast.checkpoints.manifest import LayerLayout, Manifest
from convlast.checkpoints.tree import Entry, KeyPath, dotted, walk
from convlast.errors import NoConv3dWeightsError
from convlast.layout.density import is_dense
from convlast.layout.memory_format import Place, place_of, strides_of
from convlast.options import Dtype, Limits, MemoryFormat
from convlast.planning.casting import Casts
from convlast.planning.optimizers import is_moment
from convlast.planning.overlaps import touched_places
from convlast.planning.selection import Selection
from convlast.planning.weights import Candidate, find_weights
from convlast.report import Layer, Status

_MAX_NAME = 200


@dataclass(frozen=True)
class LayerPlan:
    """What will be done to one convolution weight.

    Attributes:
        candidate: The weight.
        name: Its name in the report.
        original: A view of it that keeps the strides it has in the input.
        stride_before: The strides its users see, as `Checkpoint.stride_seen` has them.
        stride_after: The strides it will have.
        status: What happens to it.
        reason: Why it is skipped.
        alias_of: The name of the first layer with the same bytes.
    """

    candidate: Candidate
    name: str
    original: torch.Tensor
    stride_before: tuple[int, ...]
    stride_after: tuple[int, ...]
    status: Status
    reason: str | None = None
    alias_of: str | None = None


@dataclass(frozen=True)
class Plan:
    """What will be done to a checkpoint.

    Attributes:
        memory_format: The layout asked for.
        entries: Every tensor in the checkpoint.
        decisions: One for each convolution weight, in the checkpoint's order.
        others: The 5-D tensors that are no convolution weights.
        dtype: The dtype that tensors are cast to, if any are.
        casts: The storages that are cast, once the plan is applied.
    """

    memory_format: MemoryFormat
    entries: list[Entry]
    decisions: list[LayerPlan]
    others: list[Entry]
    dtype: Dtype = "keep"
    casts: Casts = field(default_factory=Casts)

    @property
    def changes_bytes(self) -> bool:
        """Whether an artifact of the input's container differs from the input."""
        return bool(self.casts.dtypes) or any(
            decision.stride_before != decision.stride_after for decision in self.decisions
        )

    @property
    def has_layout(self) -> bool:
        """Whether an artifact has channels-last weights."""
        return self.memory_format == "channels_last_3d" and any(
            decision.status in {"converted", "already"} for decision in self.decisions
        )

    @property
    def conversions(self) -> list[LayerPlan]:
        """The decisions by which elements change places, one for each span of bytes.

        Not those to convert alone: what a manifest lays out is contiguous in a safetensors file.
        """
        return [
            decision
            for decision in self.decisions
            if decision.alias_of is None and decision.stride_after != decision.original.stride()
        ]

    @property
    def wrapper(self) -> str | None:
        """The path of the state dict with most convolution weights, in words."""
        return dotted(self.wrapper_path) or None if self.decisions else None

    @property
    def wrapper_path(self) -> KeyPath:
        """The path of the state dict with most convolution weights, of which there are some."""
        paths = Counter(decision.candidate.path[:-1] for decision in self.decisions)
        return max(paths, key=paths.__getitem__)

    def told(self, declared: Mapping[str, Declaration]) -> Plan:
        """Return the same plan with what a model says of its layers, by their names."""
        decisions = [
            replace(decision, candidate=_told(decision.candidate, known))
            if (known := declared.get(decision.name))
            else decision
            for decision in self.decisions
        ]
        return replace(self, decisions=decisions)

    def layers(self) -> list[Layer]:
        """Return the layers as the report has them."""
        return [_layer(decision) for decision in self.decisions]

    def manifest(self, earlier: Manifest | None) -> Manifest:
        """Return the note for the artifact, which keeps what an earlier one says of the input."""
        return Manifest(
            memory_format=self.memory_format,
            dtype=self.dtype if earlier is None or self.dtype != "keep" else earlier.dtype,
            layers=tuple(_layout(decision, earlier) for decision in self.decisions),
        )


@collecting_seldom()
def make_plan(
    checkpoint: Checkpoint,
    memory_format: MemoryFormat,
    selection: Selection | None = None,
    limits: Limits | None = None,
    beside: Mapping[str, torch.Tensor] | None = None,
) -> Plan:
    """Decide what will be done to each convolution weight.

    Args:
        checkpoint: What is to be converted.
        memory_format: The layout to give.
        selection: Which layers; None for all. Its owner asks what it has not matched.
        limits: What the checkpoint may cost.
        beside: Tensors by their keys that lie in other shards of the same state dict.

    Raises:
        NoConv3dWeightsError: If there is none.
    """
    entries = walk(checkpoint.root, limits or Limits())
    candidates, others = find_weights(entries, checkpoint.declared, beside, checkpoint.root)
    if not candidates:
        raise NoConv3dWeightsError(
            "The checkpoint holds no Conv3d or ConvTranspose3d weight: "
            f"{len(entries)} tensors, {len(others)} of them 5-D, none a convolution's.",
            remedy=_remedy_without_weights(others),
        )
    names = _names(candidates)
    chosen = selection.choose(names) if selection else set(names)
    touched = touched_places(entries)
    firsts: dict[Place, LayerPlan] = {}
    places = [place_of(candidate.tensor) for candidate in candidates]
    selected = {place for place, name in zip(places, names, strict=True) if name in chosen}
    decisions: list[LayerPlan] = []
    for candidate, name, place in zip(candidates, names, places, strict=True):
        decision = _decide(
            candidate,
            name,
            checkpoint.stride_seen(candidate.path[-1], candidate.tensor),
            _target(candidate.tensor, name, memory_format, checkpoint.manifest),
            is_selected=place in selected,
            is_touched=place in touched,
        )
        if (first := firsts.setdefault(place, decision)) is not decision:
            decision = replace(
                decision,
                status=first.status,
                reason=first.reason,
                stride_after=first.stride_after,
                alias_of=first.name,
            )
        decisions.append(decision)
    return Plan(memory_format, entries, decisions, others)


def _remedy_without_weights(others: Sequence[Entry]) -> str:
    """Say what to do about a checkpoint without weights; its first 5-D tensor may be meant."""
    keep = "There is nothing to convert; keep the file."
    if not others:
        return keep
    path = dotted(others[0].path)[:_MAX_NAME]
    why = "has an optimizer's name" if is_moment(others[0].path) else "is no weight by its key"
    return f"{keep} {path} {why}: if it is a weight, save the model's state dict alone."


def _decide(
    candidate: Candidate,
    name: str,
    before: tuple[int, ...],
    target: tuple[int, ...],
    *,
    is_selected: bool,
    is_touched: bool,
) -> LayerPlan:
    tensor = candidate.tensor
    kept = LayerPlan(candidate, name, tensor.detach(), before, before, "kept")
    if obstacle := candidate.unconvertible or _obstacle(tensor):
        return replace(kept, status="skipped", reason=obstacle)
    if not is_selected:
        return kept
    if before == target:
        return replace(kept, status="already")
    if not is_dense(tensor.shape, before):
        return replace(kept, status="skipped", reason="not-dense")
    if is_touched:
        return replace(kept, status="skipped", reason="shared-storage")
    return replace(kept, status="converted", stride_after=target)


def _obstacle(tensor: torch.Tensor) -> str | None:
    """Say why a tensor has no strides of its own to change."""
    if tensor.is_meta:
        return "no-data"
    return "quantized" if tensor.is_quantized else None


def _target(
    tensor: torch.Tensor, name: str, memory_format: MemoryFormat, earlier: Manifest | None
) -> tuple[int, ...]:
    """Return the strides a weight should have; an undo prefers those it had at first."""
    if memory_format == "contiguous_format" and earlier is not None:
        known = earlier.stride_before(name, tuple(tensor.shape))
        if known is not None:
            return known
    return strides_of(tensor.shape, memory_format)


def _names(candidates: Sequence[Candidate]) -> list[str]:
    """Name each layer by its key, or by its whole path where several state dicts have some."""
    wrappers = {candidate.path[:-1] for candidate in candidates}
    counts: dict[str, int] = {}
    names = []
    for candidate in candidates:
        name = dotted(candidate.path if len(wrappers) > 1 else candidate.path[-1:])
        counts[name] = counts.get(name, 0) + 1
        names.append(name if counts[name] == 1 else f"{name}#{counts[name]}")
    return names


def _told(candidate: Candidate, known: Declaration) -> Candidate:
    return replace(
        candidate,
        kind=known.kind,
        groups=known.groups,
        evidence=known.evidence,
        hyperparameters=known.hyperparameters or candidate.hyperparameters,
    )


def _layer(decision: LayerPlan) -> Layer:
    candidate, tensor = decision.candidate, decision.original
    return Layer(
        name=decision.name,
        wrapper=dotted(candidate.path[:-1]) or None,
        kind=candidate.kind,
        evidence=candidate.evidence,
        shape=list(tensor.shape),
        dtype=str(tensor.dtype).removeprefix("torch."),
        groups=candidate.groups,
        stride_before=list(decision.stride_before),
        stride_after=list(decision.stride_after),
        status=decision.status,
        reason=decision.reason,
        bytes=tensor.numel() * tensor.itemsize,
        alias_of=decision.alias_of,
    )


def _layout(decision: LayerPlan, earlier: Manifest | None) -> LayerLayout:
    tensor = decision.original
    shape = tuple(tensor.shape)
    known = earlier.stride_before(decision.name, shape) if earlier else None
    return LayerLayout(
        name=decision.name,
        key=dotted(decision.candidate.path[-1:]),
        shape=shape,
        stride_before=known or decision.stride_before,
        stride_after=decision.stride_after,
    )
