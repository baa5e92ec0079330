"""What will be done to each convolution weight, decided before a byte is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TypeAlias

import torch

from convlast.checkpoints.checkpoint import Checkpoint
from convlast.checkpoints.manifest import LayerLayout, Manifest
from convlast.checkpoints.tree import Entry, Path, dotted, walk
from convlast.collector import collecting_seldom
from convlast.errors import NoConv3dWeightsError, OptionError
from convlast.memory_format import Geometry, geometry_of, is_dense, span_of, strides_of
from convlast.options import Limits, MemoryFormat
from convlast.report import Layer, Status
from convlast.weights import Candidate, find_weights

Place: TypeAlias = tuple[int, Geometry]
"""A storage, by the id of its object, and the geometry of a tensor on it: the same for aliases."""


@dataclass(frozen=True)
class Decision:
    """What will be done to one convolution weight.

    Attributes:
        candidate: The weight.
        name: Its name in the report.
        original: A view of it that keeps the strides it has in the input.
        stride_before: The strides its users see: these, or for safetensors those in the manifest.
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
    """

    memory_format: MemoryFormat
    entries: list[Entry]
    decisions: list[Decision]
    others: list[Entry]

    @property
    def conversions(self) -> list[Decision]:
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
    def wrapper_path(self) -> Path:
        """The path of the state dict with most convolution weights, of which there are some."""
        paths = Counter(decision.candidate.path[:-1] for decision in self.decisions)
        return max(paths, key=paths.__getitem__)

    def layers(self) -> list[Layer]:
        """Return the layers as the report has them."""
        return [_layer(decision) for decision in self.decisions]

    def manifest(self, earlier: Manifest | None) -> Manifest:
        """Return the note for the artifact, which keeps what an earlier one says of the input."""
        return Manifest(
            memory_format=self.memory_format,
            layers=tuple(_layout(decision, earlier) for decision in self.decisions),
        )


class Selection:
    """Which layers are chosen, in one file or over several."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = tuple(patterns)
        # What is fastest is chosen later, from all.
        self._takes_all = self._patterns in {("all",), ("fastest",)}
        self._matched: set[str] = set()
        self._names: list[str] = []

    def choose(self, names: Sequence[str]) -> set[str]:
        """Return those of these layers that are chosen."""
        if self._takes_all:
            return set(names)
        chosen: set[str] = set()
        for pattern in self._patterns:
            if matched := {name for name in names if fnmatchcase(name, pattern)}:
                self._matched.add(pattern)
                chosen |= matched
        self._names += names
        return chosen

    def refuse_unmatched(self) -> None:
        """Refuse a pattern that has matched no layer so far.

        Raises:
            OptionError: If there is one.
        """
        for pattern in self._patterns:
            if pattern not in self._matched and not self._takes_all:
                names = self._names
                raise OptionError(
                    "select",
                    f"The pattern {pattern!r} matches none of the {len(names)} convolution "
                    "weights.",
                    remedy=f"They are {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}.",
                )


@collecting_seldom()
def make_plan(
    checkpoint: Checkpoint,
    memory_format: MemoryFormat,
    select: Sequence[str] | Selection = ("all",),
    limits: Limits | None = None,
    beside: Mapping[str, torch.Tensor] | None = None,
) -> Plan:
    """Decide what will be done to each convolution weight.

    Args:
        checkpoint: What is to be converted.
        memory_format: The layout to give.
        select: Which layers; a `Selection` is asked by its owner what it has matched.
        limits: What the checkpoint may cost.
        beside: Tensors by their keys that lie in other shards of the same state dict.

    Raises:
        NoConv3dWeightsError: If there is none.
        OptionError: If a pattern matches none.
    """
    entries = walk(checkpoint.root, limits or Limits())
    candidates, others = find_weights(entries, checkpoint.declared, beside)
    if not candidates:
        raise NoConv3dWeightsError(
            "The checkpoint holds no Conv3d or ConvTranspose3d weight: "
            f"{len(entries)} tensors, {len(others)} of them 5-D, none a convolution's.",
            remedy="There is nothing to convert; keep the file.",
        )
    names = _names(candidates)
    selection = select if isinstance(select, Selection) else Selection(select)
    chosen = selection.choose(names)
    if selection is not select:
        selection.refuse_unmatched()
    touched = _touched_places(entries)
    firsts: dict[Place, Decision] = {}
    places = [place_of(candidate.tensor) for candidate in candidates]
    selected = {place for place, name in zip(places, names, strict=True) if name in chosen}
    decisions: list[Decision] = []
    for candidate, name, place in zip(candidates, names, places, strict=True):
        decision = _decide(
            candidate,
            name,
            _seen(candidate, checkpoint),
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


def apply_strides(plan: Plan) -> None:
    """Give every tensor of a converted weight its new strides; no byte moves.

    The objects stay the same ones, so a `Parameter` that stands in two places still does.
    """
    strides = {place_of(d.original): d.stride_after for d in plan.conversions}
    changed: set[int] = set()
    for entry in plan.entries:
        tensor = entry.value
        if not isinstance(tensor, torch.Tensor) or tensor.dim() != 5 or id(tensor) in changed:
            continue
        if (stride := strides.get(place_of(tensor))) is not None:
            changed.add(id(tensor))
            tensor.data = tensor.data.as_strided(tensor.shape, stride)


def _decide(
    candidate: Candidate,
    name: str,
    before: tuple[int, ...],
    target: tuple[int, ...],
    *,
    is_selected: bool,
    is_touched: bool,
) -> Decision:
    tensor = candidate.tensor
    kept = Decision(candidate, name, tensor.detach(), before, before, "kept")
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


def _seen(candidate: Candidate, checkpoint: Checkpoint) -> tuple[int, ...]:
    """Return the strides that `convlast.load` gives a weight."""
    tensor, noted = candidate.tensor, None
    if checkpoint.container == "safetensors" and checkpoint.manifest is not None:
        noted = checkpoint.manifest.stride_after(str(candidate.path[-1]), tuple(tensor.shape))
    return noted or tensor.stride()


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


def place_of(tensor: torch.Tensor) -> Place:
    """Return the place of a tensor, which its aliases share."""
    return id(tensor.untyped_storage()), geometry_of(tensor)


def _touched_places(entries: Sequence[Entry]) -> set[Place]:
    """Return the places whose bytes another tensor, not an alias, touches as well.

    Sorted by where they start, a span overlaps an earlier one exactly if it starts before the
    farthest end so far; and of all earlier spans that reach past that start, each two overlap
    in it, so that marking the farthest and the new one marks them all.
    """
    storages = [_storage_with_data(entry.value) for entry in entries]
    users = Counter(storages)
    spans: dict[int, set[tuple[int, int, Place]]] = {}
    for entry, storage in zip(entries, storages, strict=True):
        value = entry.value
        if storage is None or users[storage] == 1:
            continue
        if isinstance(value, torch.UntypedStorage):
            place: Place = (storage, (torch.uint8, (), (), -1))
            spans.setdefault(storage, set()).add((0, value.nbytes(), place))
        else:
            spans.setdefault(storage, set()).add((*span_of(value), place_of(value)))
    touched: set[Place] = set()
    for group in spans.values():
        reached, farthest = -1, None
        for start, end, place in sorted(group, key=lambda span: span[:2]):
            if start < reached and farthest is not None:
                touched |= {place, farthest}
            if end > reached:
                reached, farthest = end, place
    return touched


def _storage_with_data(value: torch.Tensor | torch.UntypedStorage) -> int | None:
    """Return the id of the storage that holds a value's elements; None where there are none."""
    if isinstance(value, torch.UntypedStorage):
        return id(value)
    if value.layout != torch.strided or value.is_meta or not value.numel():
        return None
    return id(value.untyped_storage())


def _layer(decision: Decision) -> Layer:
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


def _layout(decision: Decision, earlier: Manifest | None) -> LayerLayout:
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
