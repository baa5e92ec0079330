"""Tensors that share bytes without being the same tensor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch

from convlast.checkpoints.tree import Entry
from convlast.layout.memory_format import Place, place_of, span_of


def touched_places(entries: Sequence[Entry]) -> set[Place]:
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
