"""What stands in a checkpoint's file beside its tensors, compared: code, records, metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping

from convlast.checkpoints import manifest
from convlast.checkpoints.checkpoint import Checkpoint
from convlast.checkpoints.metadata import authored
from convlast.checkpoints.programs.zipped_program import ZippedProgram
from convlast.containers import CONTAINERS
from convlast.proving.comparison import Comparison


def compare_records(before: Checkpoint, after: Checkpoint, comparison: Comparison) -> None:
    """Note each record that differs, but for the manifest and for what describes new strides.

    Args:
        before: The original.
        after: The other; its tensors have been compared.
        comparison: Where differences are noted.
    """
    if isinstance(before, ZippedProgram) and isinstance(after, ZippedProgram):
        _compare_programs(before, after, comparison)
        return
    one, other = CONTAINERS[before.container], CONTAINERS[after.container]
    if one.holds_objects == other.holds_objects:
        _compare(one.records_of(before), other.records_of(after), comparison)
    else:  # they hold records of other kinds, but the same metadata
        _compare(authored(before.metadata), authored(after.metadata), comparison)


def _compare(old: Mapping[str, object], new: Mapping[str, object], comparison: Comparison) -> None:
    for name in {**old, **new}:
        if old.get(name) != new.get(name):
            comparison.differ("structure", (name,), "This record is not the same in both files.")


def _compare_programs(before: ZippedProgram, after: ZippedProgram, comparison: Comparison) -> None:
    """Compare two programs member by member.

    The first one's description of its tensors is written anew with the strides of the second, and
    must then be the second's. Storages of tensors with other strides were compared by value.
    """
    moved = set()
    for name, tensor in before.tensors.items():
        other = after.tensors.get(name)
        if other is not None and tensor.stride() != other.stride():
            moved.add(before.stored(tensor.untyped_storage()).member)
            tensor.data = tensor.data.as_strided(tensor.shape, other.stride())
    expected = before.rewritten()
    for name in {**before.members.members, **after.members.members}:
        if name == manifest.MEMBER or name in moved:
            continue
        if name not in before.members.members or name not in after.members.members:
            comparison.differ("structure", (name,), "This record is in one of the files alone.")
            continue
        old = expected[name] if name in expected else before.member(name)
        if not _is_alike(name, old, after.member(name)):
            comparison.differ("structure", (name,), "This record is not the same in both files.")


def _is_alike(name: str, old: bytes, new: bytes) -> bool:
    if old == new:
        return True
    return name.endswith(".json") and json.loads(old) == json.loads(new)
