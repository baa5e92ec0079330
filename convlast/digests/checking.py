"""A checkpoint, checked against a list of digests, as `sha256sum --check` checks files."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from convlast.digests.listing import Digests, TensorDigest


class Changed(BaseModel):
    """A tensor that is not what the list says."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    label: str
    """What the list calls it."""
    listed: tuple[TensorDigest, ...]
    """What the list says: one tensor, unless several have the same name."""
    found: tuple[TensorDigest, ...]
    """What was found."""


class Check(BaseModel):
    """What became of each tensor of a list, by their labels there."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    root: str
    """The root of what was found."""
    same: tuple[str, ...]
    """Those that are what the list says."""
    changed: tuple[Changed, ...]
    """Those that are not: the digest, the dtype or the shape differs."""
    missing: tuple[str, ...]
    """Those in the list alone."""
    new: tuple[str, ...]
    """Those that are not in the list."""
    not_opened: tuple[str, ...] = ()
    """The files of a model folder that look like checkpoints and were not opened. If they were for
    the list, their tensors are missing; if not, the list says nothing of them."""

    @property
    def passed(self) -> bool:
        """Whether the list is that of what was found."""
        return not (self.changed or self.missing or self.new)


def check(listed: Digests, found: Digests) -> Check:
    """Compare what was found with a list."""
    expected, there = _by_label(listed.tensors), _by_label(found.tensors)
    both = [label for label in expected if label in there]
    return Check(
        root=found.root,
        same=tuple(label for label in both if expected[label] == there[label]),
        changed=tuple(
            Changed(label=label, listed=tuple(expected[label]), found=tuple(there[label]))
            for label in both
            if expected[label] != there[label]
        ),
        missing=tuple(label for label in expected if label not in there),
        new=tuple(label for label in there if label not in expected),
        not_opened=found.not_opened,
    )


def _by_label(tensors: Iterable[TensorDigest]) -> dict[str, list[TensorDigest]]:
    found: dict[str, list[TensorDigest]] = {}
    for tensor in tensors:
        found.setdefault(tensor.label, []).append(tensor)
    return found
