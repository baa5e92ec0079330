from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.workers.lanes.fair_queue import FairQueue


def test_a_client_with_many_items_delays_another_by_those_that_run() -> None:
    """A client that comes after sixteen items of another is next, whatever ran before."""
    queue = FairQueue[str]()
    for number in range(16):
        queue.add("many", f"many {number}")
    assert queue.begin() == "many 0"
    queue.add("one", "one")
    queue.end("many")
    assert queue.first() == "one"
    assert [queue.begin() for _ in range(2)] == ["one", "many 1"]


def test_clients_take_turns() -> None:
    """With one lane the clients alternate, each in its own order."""
    queue = FairQueue[str]()
    for client in "aab":
        queue.add(client, f"{client}{len(queue)}")
    queue.add("b", "b3")
    order = []
    while queue.first() is not None:
        order.append(queue.begin())
        queue.end(order[-1][0])
    assert order == ["a0", "b2", "a1", "b3"]


def test_an_item_that_comes_back_is_first_of_its_client() -> None:
    """An item whose lane has failed does not wait behind later ones of its client."""
    queue = FairQueue[str]()
    queue.add("a", "later")
    queue.add("a", "again", first=True)
    assert queue.begin() == "again"


def test_an_item_that_is_removed_leaves_nothing() -> None:
    """A waiter that is cancelled, or has begun already, leaves no trace of its client."""
    queue = FairQueue[str]()
    queue.add("a", "gone")
    queue.remove("a", "gone")
    queue.remove("a", "gone")
    assert (len(queue), queue.first(), vars(queue)["_waiting"]) == (0, None, {})


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["add", "begin", "end"]))))
def test_nobody_begins_twice_while_another_waits_without_one(steps: list[tuple[str, str]]) -> None:
    """No client begins an item while another one waits that has fewer running."""
    queue = FairQueue[str]()
    waiting = dict.fromkeys("abc", 0)
    running = dict.fromkeys("abc", 0)
    for client, step in steps:
        if step == "add":
            queue.add(client, client)
            waiting[client] += 1
        elif step == "begin" and len(queue):
            begun = queue.begin()
            least = min(running[each] for each in "abc" if waiting[each])
            assert running[begun] == least
            waiting[begun] -= 1
            running[begun] += 1
        elif step == "end" and running[client]:
            queue.end(client)
            running[client] -= 1
    assert len(queue) == sum(waiting.values())
    while len(queue):
        queue.begin()
    for client in "abc":
        for _ in range(running[client] + waiting[client]):
            queue.end(client)
    assert not any(vars(queue)[name] for name in ("_waiting", "_running", "_began"))


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["add", "add", "begin", "end"])),
        max_size=30,
    )
)
def test_the_order_that_is_told_is_the_order_that_comes(steps: list[tuple[str, str]]) -> None:
    """Items begin in the order that the queue has told, and telling it changes nothing."""
    queue = FairQueue[str]()
    running: list[str] = []
    for number, (client, step) in enumerate(steps):
        if step == "add":
            queue.add(client, f"{client}{number}")
        elif step == "begin" and len(queue):
            running.append(queue.begin()[0])
        elif step == "end" and client in running:
            running.remove(client)
            queue.end(client)
    told = queue.in_order()
    assert (queue.in_order(), len(queue)) == (told, len(told))
    assert [queue.begin() for _ in range(len(queue))] == told
    assert queue.in_order() == []
