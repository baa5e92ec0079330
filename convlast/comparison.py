"""Two checkpoints, compared bit for bit: what the proof and `verify` stand on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from convlast.checkpoints.checkpoint import SLICE_BYTES, Checkpoint, Scratch
from convlast.checkpoints.tree import Entry, Path, dotted
from convlast.memory_format import geometry_of, slices_of, span_of
from convlast.permutation import Restriding, bits_of
from convlast.pieces import equal_bytes, equal_elements
from convlast.readback import Match
from convlast.report import Proof

Aspect = Literal["structure", "values", "strides"]


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
    """

    tensors: int = 0
    differences: list[Difference] = field(default_factory=list)
    restrided: list[Path] = field(default_factory=list)

    def differ(self, aspect: Aspect, path: Path, message: str) -> None:
        """Note a difference."""
        self.differences.append(Difference(aspect, dotted(path), message))

    def has(self, aspect: Aspect) -> bool:
        """Say whether anything of this aspect differs."""
        return any(difference.aspect == aspect for difference in self.differences)


def compare(  # noqa: PLR0913  # what, with what, and what is known
    before: Checkpoint,
    after: Checkpoint,
    entries_before: Sequence[Entry],
    entries_after: Sequence[Entry],
    *,
    cast: frozenset[Path] = frozenset(),
    is_flat: bool = False,
    matches: frozenset[Match] = frozenset(),
) -> Comparison:
    """Compare all tensors of two checkpoints, and all that stands around them.

    Args:
        before: The original.
        after: The other.
        entries_before: The original's tensors, by `walk`.
        entries_after: The other's.
        cast: Paths of tensors that were cast to fp16 on purpose.
        is_flat: Whether the other is of a container that holds nothing but names and values:
            no classes, device tags or `requires_grad`.
        matches: What is known to be the same in both files, and is not read again.
    """
    comparison = Comparison()
    if not is_flat:
        _compare_objects(before.root, after.root, (), comparison, set())
    if [entry.path for entry in entries_before] != [entry.path for entry in entries_after]:
        comparison.differ("structure", (), "The tensors, or their order, changed.")
        return comparison
    pairs = _Pairs(before, after, comparison, matches, is_flat=is_flat)
    for old, new in zip(entries_before, entries_after, strict=True):
        comparison.tensors += 1
        if isinstance(old.value, torch.Tensor) and old.original is None:
            raise ValueError("an original is compared with its own strides, and was walked without")
        if isinstance(new.value, torch.Tensor) and old.original is not None:
            pairs.compare(old, old.original, new.value, is_cast=old.path in cast)
    return comparison


def proof_of(comparison: Comparison, *, is_cast: bool = False) -> Proof:
    """Sum a comparison up for the report."""
    unchanged: Literal["identical", "cast"] = "cast" if is_cast else "identical"
    return Proof(
        tensors=comparison.tensors,
        values="different" if comparison.has("values") else unchanged,
        strides="wrong" if comparison.has("strides") else "exact",
        structure="different" if comparison.has("structure") else "identical",
    )


def _compare_objects(
    old: object, new: object, path: Path, comparison: Comparison, seen: set[tuple[int, int]]
) -> None:
    """Compare everything but the tensors' own data, each pair of containers once."""
    if type(old) is not type(new):
        comparison.differ("structure", path, f"{type(old).__name__} became {type(new).__name__}.")
        return
    if _is_data_alone(old) and _is_data_alone(new):
        return
    left, right = _parts(old), _parts(new)
    if left is None or right is None:
        if not _is_same_leaf(old, new):
            comparison.differ("structure", path, "The value changed.")
    elif not _are_same_keys(list(left), list(right)):
        comparison.differ("structure", path, "The keys, their number, or their order changed.")
    elif (id(old), id(new)) not in seen:
        seen.add((id(old), id(new)))
        for key in left:
            _compare_objects(left[key], right[key], (*path, key), comparison, seen)
        inside = (*path, "__dict__")
        _compare_objects(_attributes(old), _attributes(new), inside, comparison, seen)


def _is_data_alone(value: object) -> bool:
    """Say whether this is a storage, or a tensor without Python attributes."""
    if isinstance(value, torch.Tensor):
        return not _attributes(value)
    return isinstance(value, torch.UntypedStorage | torch.storage.TypedStorage)


def _parts(value: object) -> dict[object, object] | None:
    """Return what a container holds, by key or index; None for anything else.

    A tensor's own data is none of it; the Python attributes that it can have are looked at.
    """
    if isinstance(value, torch.Tensor):
        return {}
    if isinstance(value, dict):
        return value
    if isinstance(value, nn.Module):
        return {}  # all it has are attributes
    return dict(enumerate(value)) if isinstance(value, list | tuple) else None


def _attributes(value: object) -> object:
    return getattr(value, "__dict__", None) or None


def _are_same_keys(left: list[object], right: list[object]) -> bool:
    types = [*map(type, left)]
    if left != right or types != [*map(type, right)]:
        return False
    # Nearly always; only of others can two be equal and not the same.
    return {str, int}.issuperset(types) or [*map(_exact, left)] == [*map(_exact, right)]


def _is_same_leaf(old: object, new: object) -> bool:
    if isinstance(old, set | frozenset) and isinstance(new, set | frozenset):
        return {*map(_exact, old)} == {*map(_exact, new)}
    return bool(_exact(old) == _exact(new))


def _exact(value: object) -> object:
    """Return what equals that of the same value of the same type alone.

    >>> _exact(1) == _exact(True), _exact((0.0,)) == _exact((-0.0,))
    (False, False)
    """
    if isinstance(value, tuple):
        return type(value), tuple(map(_exact, value))
    if isinstance(value, float | complex) or hasattr(value, "tobytes"):  # a number of NumPy's
        return type(value), repr(value)  # NaN is NaN, and -0.0 is not 0.0
    return type(value), value


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
        is_flat: bool,
    ) -> None:
        self._before, self._after, self._comparison = before, after, comparison
        self._matches = matches
        self._is_flat = is_flat
        self._partners: dict[int, int] = {}
        """The other file's tensor or storage for each one, by id."""
        self._moved: dict[int, int] = {}
        """How many bytes further the tensors of a storage are in the other file."""
        self._compared: set[tuple[object, ...]] = set()
        self._scratch = Scratch()

    def compare(  # what, with what, and what is known
        self, old: Entry, before: torch.Tensor, after: torch.Tensor, *, is_cast: bool
    ) -> None:
        """Compare one pair of tensors in all respects."""
        is_alike = self._compare_attributes(old, before, after, is_cast=is_cast)
        if before.stride() != after.stride():
            self._comparison.restrided.append(old.path)
        if not is_alike or before.is_meta:
            return
        if not self._is_flat:
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
        self, old: Entry, before: torch.Tensor, after: torch.Tensor, *, is_cast: bool
    ) -> bool:
        left, right = _facts(before), _facts(after)
        if is_cast:
            left["dtype"] = torch.float16
        if not self._is_flat and isinstance(old.value, torch.Tensor):
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
