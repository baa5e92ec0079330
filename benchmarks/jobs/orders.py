"""What the clients of the kill test ask for, and what may come of it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from convlast.jobs import JobVerb

OWNERS = ("ada", "bob", "cyd", "dee", "eve")
MOST_FILLER_BYTES = 400_000
TWIN_SHARE, DELETED_SHARE = 0.12, 0.06
"""Shares of the orders that are sent by two clients, and that are cancelled."""

KINDS: Mapping[str, tuple[int, str]] = {
    "quick": (4, "fine"),
    "sleeping": (5, "sleeps {s:.2f}"),
    "crashing once": (3, "crashes-once"),
    "refusing": (2, "refuses"),
}
"""Kinds of jobs by name: how often each is drawn, and the first words of its file."""

_LONGEST_SLEEP_S = 1.5
_INSPECTED_SHARE = 0.2
_CRASHED = "worker-crashed"


@dataclass(frozen=True)
class Order:
    """A job that is wanted.

    Attributes:
        number: Makes it different from all others.
        owner: Who wants it.
        kind: A name in `KINDS`.
        verb: What is asked for.
        content: The file.
        is_twin: Whether two clients want it.
        is_deleted: Whether its client cancels it.
    """

    number: int
    owner: str
    kind: str
    verb: JobVerb
    content: bytes
    is_twin: bool = False
    is_deleted: bool = False

    @property
    def sha256(self) -> str:
        """The digest of the file."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def filename(self) -> str:
        """The name of the file."""
        return f"{self.number}.pt"

    def allows(self, end: Mapping[str, Any]) -> bool:
        """Return whether a job for this order may end so.

        A job fails because of crashes only when it was begun twice: the first crash of its worker
        is forgiven.
        """
        code = (end["problem"] or {}).get("code")
        if end["state"] == "cancelled":
            return self.is_deleted
        if code == _CRASHED:
            return bool(end["attempts"] >= 2)
        if self.kind == "refusing":
            return (end["state"], code) == ("failed", "unsafe-checkpoint")
        return (end["state"], code) == ("succeeded", None)


def is_passing(end: Mapping[str, Any]) -> bool:
    """Return whether the same request runs a job anew after this end."""
    return (end["problem"] or {}).get("code") == _CRASHED


def draw(count: int, lot: random.Random) -> Iterator[Order]:
    """Draw orders; those that two clients want come twice."""
    weights = [weight for weight, _ in KINDS.values()]
    for number in range(count):
        [kind] = lot.choices(list(KINDS), weights)
        words = KINDS[kind][1].format(s=lot.uniform(0.05, _LONGEST_SLEEP_S))
        filler = lot.randbytes(lot.randrange(MOST_FILLER_BYTES))
        is_twin = lot.random() < TWIN_SHARE
        order = Order(
            number,
            lot.choice(OWNERS),
            kind,
            "inspect" if lot.random() < _INSPECTED_SHARE else "convert",
            b"%b #%d " % (words.encode(), number) + filler,
            is_twin=is_twin,
            is_deleted=not is_twin and lot.random() < DELETED_SHARE,
        )
        yield from [order] * (2 if is_twin else 1)
