"""A queue in which the clients that wait take turns."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items that wait, each for a client.

    The client with the fewest running items is next; of several, the one whose last item began
    first. So a client with many items delays another by the items that run, and by no other. A
    client's own items keep their order.

    >>> queue = FairQueue[str]()
    >>> for client, item in [("a", "a1"), ("a", "a2"), ("b", "b1")]:
    ...     queue.add(client, item)
    >>> [queue.begin() for _ in range(3)]
    ['a1', 'b1', 'a2']
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[T]] = {}
        self._running: Counter[str] = Counter()
        self._began: dict[str, int] = {}
        self._count = 0

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def __iter__(self) -> Iterator[T]:
        for items in self._waiting.values():
            yield from items

    def add(self, client: str, item: T, *, first: bool = False) -> None:
        """Add an item; `first` puts it before the client's others."""
        items = self._waiting.setdefault(client, deque())
        if first:
            items.appendleft(item)
        else:
            items.append(item)

    def remove(self, client: str, item: T) -> None:
        """Remove an item that has not begun, if it is there."""
        items = self._waiting.get(client, deque())
        if item in items:
            items.remove(item)
        self._forget(client)

    def first(self) -> T | None:
        """Return the item whose turn it is, or none if nothing waits."""
        return self._waiting[self._next()][0] if self._waiting else None

    def begin(self) -> T:
        """Take the item whose turn it is; it runs until `end`."""
        client = self._next()
        item = self._waiting[client].popleft()
        self._running[client] += 1
        self._count += 1
        self._began[client] = self._count
        self._forget(client)
        return item

    def in_order(self) -> list[T]:
        """Return all items in the order of their turns, if no other comes and none ends."""
        waiting = {client: deque(items) for client, items in self._waiting.items()}
        running, began, count = Counter(self._running), dict(self._began), self._count
        order: list[T] = []
        while waiting:
            client = _next_of(waiting, running, began)
            order.append(waiting[client].popleft())
            running[client] += 1
            count += 1
            began[client] = count
            if not waiting[client]:
                del waiting[client]
        return order

    def end(self, client: str) -> None:
        """Note that an item of this client has ended."""
        self._running[client] -= 1
        self._forget(client)

    def _next(self) -> str:
        return _next_of(self._waiting, self._running, self._began)

    def _forget(self, client: str) -> None:
        """Keep nothing of a client that neither waits nor runs."""
        if not self._waiting.get(client):
            self._waiting.pop(client, None)
            if not self._running[client]:
                self._began.pop(client, None)
        if not self._running[client]:
            del self._running[client]


def _next_of(waiting: Iterable[str], running: Counter[str], began: Mapping[str, int]) -> str:
    """Return the client with the fewest running items whose last one began first."""
    return min(waiting, key=lambda each: (running[each], began.get(each, 0)))
