"""A pickle while it is drawn: what it keeps, and how that is got again."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tests.hostile.parts import named, numbers, storage, tensor, text

_INLINE: dict[str, bytes] = {
    "latin1": text("latin1"),
    "true": b"\x88",
    "none": b"N",
    "zero": b"K\x00",
    "short": numbers(1, 2, 1, 1, 2),
    "storage": storage(),
    "tensor": tensor(),
    "dtype": named("torch.float32"),
    "function": named("torch._utils._rebuild_parameter_with_state"),
    "class": named("torch.Tensor"),
    "list": b"]",
    "dict": b"}",
    "tuple": b")",
    "text": text("a"),
    "number": b"K\x01",
}
"""What stands for a kind of which nothing is kept."""


@dataclass
class Drawing:
    """One pickle while it is drawn.

    Attributes:
        lot: Decides.
        is_wild: Whether things are also put where they do not belong, and is so refused sooner.
        is_script: Whether it is one of TorchScript.
        memo: The opcodes that get what is kept, by its kind.
    """

    lot: random.Random
    is_wild: bool
    is_script: bool
    memo: dict[str, list[bytes]] = field(default_factory=dict)

    def get(self, kind: str) -> bytes:
        """Get something of a kind, if there is any; of a wild one now and then anything."""
        if self.memo and (kind == "any" or (self.is_wild and self.lot.random() < 0.1)):
            return self.lot.choice([get for gets in self.memo.values() for get in gets])
        if kind in self.memo:
            return self.lot.choice(self.memo[kind])
        return named(kind) if "." in kind else _INLINE.get(kind, b"N")

    @property
    def class_of_objects(self) -> str:
        """The class of which objects are made that have any attributes."""
        return "__torch__.Net" if self.is_script else "torch.nn.modules.activation.Threshold"
