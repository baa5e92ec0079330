"""The spaces in a skeleton, one for each storage, and what goes into each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from convlast.checkpoints.checkpoint import Checkpoint, Storage, StoredBytes
from convlast.checkpoints.guard.zip_directory import Archive, ZipMember
from convlast.planning.casting import Cast
from convlast.planning.plan import LayerPlan, Plan
from convlast.writing.permutation import Restriding


@dataclass(frozen=True, eq=False)
class Space:
    """The space for one storage.

    Attributes:
        name: The member of the archive, `data/0` for the first storage.
        member: Where it lies in the file.
        source: The storage of the input with the values.
        stored: Where the input has its bytes.
        cast: How its values are cast, if they are.
        weights: The weights in it whose elements change places.
    """

    name: str
    member: ZipMember
    source: Storage
    stored: StoredBytes
    cast: Cast | None
    weights: list[LayerPlan]

    @cached_property
    def is_one_weight(self) -> bool:
        """Whether all of it is one weight that keeps its dtype, so that it is filled only once."""
        if self.cast is not None or len(self.weights) != 1:
            return False
        return self.weights[0].original.nbytes == self.source.nbytes()

    @property
    def is_in_parts(self) -> bool:
        """Whether it is copied first, and weights are written over parts of it."""
        return bool(self.weights) and not self.is_one_weight

    def dtype_of(self, weight: torch.Tensor) -> torch.dtype:
        """Return the dtype that a weight, or a slice of one, has in the artifact."""
        return self.cast.dtype if self.cast else weight.dtype

    def offset_of(self, weight: torch.Tensor) -> int:
        """Return where a weight, or a slice of one, begins in the file."""
        return self.member.offset + self.start_of(weight)

    def start_of(self, weight: torch.Tensor) -> int:
        """Return where a weight, or a slice of one, begins in the storage that is written."""
        return int(weight.storage_offset()) * self.dtype_of(weight).itemsize

    def restriding(self, weight: torch.Tensor, after: tuple[int, ...]) -> Restriding:
        """Return the old and the new order of a weight's elements, or of a slice's."""
        itemsize = self.dtype_of(weight).itemsize
        return Restriding(tuple(weight.shape), weight.stride(), after, itemsize)


def spaces_of(
    storages: Sequence[Storage], skeleton: Archive, checkpoint: Checkpoint, plan: Plan
) -> list[Space]:
    """Say what goes into each space of a skeleton.

    Args:
        storages: The storages in the order of the skeleton's members.
        skeleton: Its directory.
        checkpoint: The source.
        plan: The conversions and the casts.
    """
    weights: dict[int, list[LayerPlan]] = {}
    for decision in plan.conversions:
        if decision.original.numel():  # else no element changes its place
            weights.setdefault(id(decision.original.untyped_storage()), []).append(decision)
    spaces = []
    for index, storage in enumerate(storages):
        name, cast = f"data/{index}", plan.casts.by_target.get(id(storage))
        source = cast.source if cast else storage
        spaces.append(
            Space(
                name,
                skeleton.members[name],
                source,
                checkpoint.stored(source),
                cast,
                weights.get(id(source), []),
            )
        )
    return spaces
