"""Two checkpoints, compared bit for bit: what the proof and `verify` stand on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Literal, NamedTuple

import torch

from convlast.checkpoints.checkpoint import SLICE_BYTES, Checkpoint, Scratch
from convlast.checkpoints.tree import Entry, KeyPath, dotted
from convlast.layout.memory_format import geometry_of, slices_of, span_of
from convlast.layout.pieces import equal_bytes, equal_elements
from convlast.progress import Portions, Progress, silent
from convlast.proving.object_comparison import compare_objects
from convlast.report import Proof
from convlast.report.listing import listed
from convlast.writing.permutation import Restriding, bits_of
from convlast.writing.readback import Match

_MAX_NAMED = 3
"""The most tensors that a message names."""

Aspect = Literal["structure", "values", "strides"]


class Walked(NamedTuple):
    """A checkpoint, and its tensors in order, by `walk`."""

    checkpoint: Checkpoint
    entries: Sequence[Entry]


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same in both."""

    aspect: Aspect
    path: str
    message: str


@dataclass
class Comparison:
    """What was found when two checkpoints were compared.

    Attributes:
        tensors: How many tensors were compared.
        differences: What differs, strides aside.
        restrided: Paths of the tensors whose strides differ, in order.
        is_cast: Whether tensors were expected in another dtype.
    """

    tensors: int = 0
    differences: list[Difference] = field(default_factory=list)
    restrided: list[KeyPath] = field(default_factory=list)
    is_cast: bool = False

    def differ(self, aspect: Aspect, path: KeyPath, message: str) -> None:
        """Note a difference."""
        self.differences.append(Difference(aspect, dotted(path), message))

    def has(self, aspect: Aspect) -> bool:
        """Say whether anything of this aspect differs."""
        return any(difference.aspect == aspect for difference in self.differences)


def compare(
    before: Walked,
    after: Walked,
    *,
    dtypes: Mapping[KeyPath, torch.dtype] = MappingProxyType({}),
    holds_objects: bool = True,
    matches: frozenset[Match] = frozenset(),
    progress: Progress = silent,
) -> Comparison:
    """Compare all tensors of two checkpoints, and everything around them.

    Args:
        before: The original.
        after: The other.
        dtypes: The dtypes of the tensors that were cast on purpose.
        holds_objects: Whether both hold more than names and values: classes, device tags, aliases
            and `requires_grad`.
        matches: The parts that are known to be the same in both files; they are not read again.
        progress: Called with the stage compare, in bytes.
    """
    comparison = Comparison(is_cast=bool(dtypes))
    if holds_objects:
        roots = before.checkpoint.root, after.checkpoint.root
        compare_objects(*roots, partial(comparison.differ, "structure"))
    paths = [[entry.path for entry in each.entries] for each in (before, after)]
    if paths[0] != paths[1]:
        comparison.differ("structure", (), _other_tensors(*paths))
        return comparison
    checkpoints = before.checkpoint, after.checkpoint
    pairs = _Pairs(*checkpoints, comparison, matches, holds_objects=holds_objects)
    portions = Portions(progress, "compare", sum(_nbytes(entry) for entry in before.entries))
    for old, new in zip(before.entries, after.entries, strict=True):
        comparison.tensors += 1
        if isinstance(old.value, torch.Tensor) and old.original is None:
            raise ValueError("an original is compared with its own strides, and was walked without")
        if isinstance(new.value, torch.Tensor) and old.original is not None:
            dtype = dtypes.get(old.path, old.original.dtype)
            pairs.compare(old, old.original, new.value, dtype)
        if nbytes := _nbytes(old):
            portions.add(nbytes)
    return comparison


def _nbytes(entry: Entry) -> int:
    tensor = entry.original
    return 0 if tensor is None else tensor.numel() * tensor.itemsize


def proof_of(comparison: Comparison) -> Proof:
    """Sum a comparison up for the report."""
    unchanged: Literal["identical", "cast"] = "cast" if comparison.is_cast else "identical"
    return Proof(
        tensors=comparison.tensors,
        values="different" if comparison.has("values") else unchanged,
        strides="wrong" if comparison.has("strides") else "exact",
        structure="different" if comparison.has("structure") else "identical",
    )


def _other_tensors(before: list[KeyPath], after: list[KeyPath]) -> str:
    """Say which tensors are in one checkpoint alone, or where the order begins to differ."""
    known, found = set(before), set(after)
    missing = [dotted(path) for path in before if path not in found]
    added = [dotted(path) for path in after if path not in known]
    if not missing and not added:
        first = next(one for one, other in zip(before, after, strict=True) if one != other)
        return f"The order of the tensors changed, from {dotted(first)} on."
    told = [
        f"{len(paths)} {what}: {listed(paths, at_most=_MAX_NAMED)}"
        for paths, what in ((missing, "missing"), (added, "added"))
        if paths
    ]
    return f"Other tensors are in it, {'; '.join(told)}."


def _facts(tensor: torch.Tensor) -> dict[str, object]:
    """Return what must be the same of two tensors beside their values and strides, by its name."""
    return {
        "shape": tensor.shape,
        "dtype": tensor.dtype,
        "conjugation": tensor.is_conj(),
        "negation": tensor.is_neg(),
        "device": tensor.is_meta,
    }


class _Pairs:
    """The pairs of tensors of two checkpoints, and what is known of their storages."""

    def __init__(
        self,
        before: Checkpoint,
        after: Checkpoint,
        comparison: Comparison,
        matches: frozenset[Match],
        *,
        holds_objects: bool,
    ) -> None:
        self._before, self._after, self._comparison = before, after, comparison
        self._matches = matches
        self._holds_objects = holds_objects
        self._partners: dict[int, int] = {}
        """The other file's tensor or storage for each one, by id."""
        self._moved: dict[int, int] = {}
        """How many bytes further the tensors of a storage are in the other file."""
        self._compared: set[tuple[object, ...]] = set()
        self._scratch = Scratch()

    def compare(
        self, old: Entry, before: torch.Tensor, after: torch.Tensor, dtype: torch.dtype
    ) -> None:
        """Compare one pair of tensors in all respects; the second has to have this dtype."""
        is_alike = self._compare_attributes(old, before, after, dtype)
        if before.stride() != after.stride():
            self._comparison.restrided.append(old.path)
        if not is_alike or before.is_meta:
            return
        if self._holds_objects:
            self._compare_storages(old, before, after)
        if before.numel() == 0:
            return
        storages = id(before.untyped_storage()), id(after.untyped_storage())
        key = (*storages, geometry_of(before), geometry_of(after))
        if key not in self._compared:
            self._compared.add(key)
            if not (self._is_known(before, after) or self._has_same_values(before, after)):
                self._comparison.differ("values", old.path, "Its values changed.")

    def _compare_attributes(
        self, old: Entry, before: torch.Tensor, after: torch.Tensor, dtype: torch.dtype
    ) -> bool:
        left, right = {**_facts(before), "dtype": dtype}, _facts(after)
        if self._holds_objects and isinstance(old.value, torch.Tensor):
            left["requires_grad"], right["requires_grad"] = (
                old.value.requires_grad,
                after.requires_grad,
            )
        if left == right:
            return True
        for fact, value in left.items():
            if value != right[fact]:
                self._comparison.differ(
                    "structure", old.path, f"Its {fact} changed: {value} became {right[fact]}."
                )
        return False

    def _compare_storages(self, old: Entry, before: torch.Tensor, after: torch.Tensor) -> None:
        """Check that aliases are still aliases, and that device tags are kept.

        What was one tensor must be one, and what shared bytes must share the same ones.
        """
        left, right = before.untyped_storage(), after.untyped_storage()
        is_alike = self._are_partners(id(old.value), id(after))
        if before.numel():
            # Counted in elements: those of a cast tensor are smaller, and have the same numbers.
            moved = int(after.storage_offset() - before.storage_offset()) * before.itemsize
            is_alike &= self._are_partners(id(left), id(right))
            is_alike &= self._moved.setdefault(id(left), moved) == moved
        if not is_alike:
            self._comparison.differ("structure", old.path, "Its aliases changed.")
            return
        tag, now = self._before.stored(left).location, self._after.stored(right).location
        if tag != now:
            self._comparison.differ(
                "structure", old.path, f"Its device tag changed: {tag} to {now}."
            )

    def _are_partners(self, one: int, other: int) -> bool:
        partners = self._partners
        return partners.setdefault(one, other) == other and partners.setdefault(other, one) == one

    def _is_known(self, before: torch.Tensor, after: torch.Tensor) -> bool:
        """Say whether the bytes of both are known to hold the same values."""
        if not self._matches or before.dtype != after.dtype:
            return False
        left = self._before.stored(before.untyped_storage())
        right = self._after.stored(after.untyped_storage())
        if geometry_of(before) == geometry_of(after):
            match = Match(left.offset, right.offset, left.nbytes)
            return left.nbytes == right.nbytes and match in self._matches
        (start, end), other = span_of(before), span_of(after)
        restriding = Restriding(
            tuple(before.shape), before.stride(), after.stride(), before.itemsize
        )
        match = Match(left.offset + start, right.offset + start, end - start, restriding)
        return (start, end) == other and match in self._matches

    def _has_same_values(self, before: torch.Tensor, after: torch.Tensor) -> bool:
        if before.stride() == after.stride() and before.dtype == after.dtype:
            chunks = zip(self._before.chunks(before), self._after.chunks(after), strict=True)
            return all(equal_bytes(left, right) for left, right in chunks)
        pairs = [(before, after)]
        if self._before.reads_parts and self._after.reads_parts:
            parts = slices_of(before, SLICE_BYTES)
            if len(parts) > 1:
                pairs = list(zip(parts, torch.split(after, [len(p) for p in parts]), strict=True))
        return all(self._is_equal(*pair) for pair in pairs)

    def _is_equal(self, before: torch.Tensor, after: torch.Tensor) -> bool:
        value = self._before.read(before, self._scratch).to(after.dtype)
        return equal_elements(bits_of(value), bits_of(self._after.read(after)))
