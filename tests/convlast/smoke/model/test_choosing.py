"""`select=fastest` against models of what layers cost: no search may end worse than all or none."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from convlast.report.smoke import NOISE
from convlast.smoke.model.choosing import (
    Measured,
    Names,
    choose_on_accelerator,
    chosen,
    confirmed,
    search,
)
from convlast.smoke.model.specimen import Specimen
from tests.subjects import CPU, converted_of, subject_of

LAYERS = ["stem.w", "body.0.a.w", "body.0.b.w", "body.1.a.w", "body.1.b.w", "head.w"]


def chain_cost(names: Names, gains: list[float], permutation: float) -> float:
    """Return the time of a chain: each converted layer gains, each change of layout costs."""
    states = [layer in names for layer in LAYERS]
    changes = sum(a != b for a, b in zip([False, *states], [*states, False], strict=True))
    own = sum(1.0 - gain * state for gain, state in zip(gains, states, strict=True))
    return own + permutation * changes


def measured(names: Names, gains: list[float], permutation: float) -> Measured:
    """Measure without noise."""
    seconds = chain_cost(names, gains, permutation)
    return Measured(seconds, chain_cost(frozenset(), gains, permutation) / seconds, 0.0)


@settings(suppress_health_check=[HealthCheck.too_slow])  # a machine that is busy is no failure
@given(
    st.lists(st.floats(-0.9, 0.9), min_size=6, max_size=6),
    st.floats(0, 0.5),
    st.frozensets(st.sampled_from(LAYERS)),
)
def test_it_is_never_slower_than_the_better_of_all_and_none(
    gains: list[float], permutation: float, guess: Names
) -> None:
    """The choice is never slower than all or none, whatever layers gain and whatever the guess."""
    found = search(LAYERS, lambda names: measured(names, gains, permutation), guess=lambda: guess)
    choice = chosen(found, LAYERS)
    taken = chain_cost(frozenset(choice.layers), gains, permutation)
    better = min(
        chain_cost(frozenset(LAYERS), gains, permutation),
        chain_cost(frozenset(), gains, permutation),
    )
    assert taken <= better * (1 + 2 * NOISE)


def test_a_block_that_loses_is_left_out() -> None:
    """A layer that gains is chosen, and one that loses is not."""
    gains = [0.5, 0.5, 0.5, -0.8, -0.8, 0.5]
    found = search(LAYERS, lambda names: measured(names, gains, 0.01), guess=frozenset[str])
    choice = chosen(found, LAYERS)
    assert choice.chosen == "some"
    assert choice.layers == ["stem.w", "body.0.a.w", "body.0.b.w", "head.w"]
    assert set(choice.seconds) == {"all", "none", "some"}


def test_what_gains_nothing_is_not_converted() -> None:
    """A gain of half a percent is noise, and nothing is chosen."""
    found = search(LAYERS, lambda names: measured(names, [0.005] * 6, 0.0), guess=frozenset[str])
    choice = chosen(found, LAYERS)
    assert (choice.chosen, choice.layers) == ("none", [])


def test_all_is_taken_where_some_is_no_better() -> None:
    """Of choices that are equally good, the simplest is taken."""
    gains = [0.3, 0.3, 0.3, 0.3, 0.3, 0.0]
    found = search(
        LAYERS, lambda names: measured(names, gains, 0.0), guess=lambda: frozenset(LAYERS[:5])
    )
    assert chosen(found, LAYERS).chosen == "all"


@pytest.mark.parametrize(
    ("of_all", "again", "kind"),
    [(1.2, 1.1, "some"), (1.2, 1.005, "all"), (1.2, 0.9, "all"), (0.8, 1.1, "some"),
     (0.8, 0.9, "none")],
)  # fmt: skip
def test_some_are_taken_only_if_they_are_faster_once_more(
    of_all: float, again: float, kind: str
) -> None:
    """Some layers are chosen only if they beat all and none when timed again, not by luck."""
    some, everything, nothing = frozenset(LAYERS[:2]), frozenset(LAYERS), frozenset[str]()
    found = {
        everything: Measured(1 / of_all, of_all, 0.0),
        nothing: Measured(1.0, 1.0, 0.0),
        some: Measured(0.7, 1 / 0.7, 0.0),
    }
    asked: list[tuple[Names, Names]] = []

    def timed(rival: Names, names: Names) -> float:
        asked.append((rival, names))
        return again

    choice = confirmed(found, LAYERS, timed)
    assert asked == [(everything if of_all > 1 else nothing, some)]
    assert choice.chosen == kind
    assert frozenset(choice.layers) == {"some": some, "all": everything, "none": nothing}[kind]


def test_all_and_none_need_no_second_look() -> None:
    """All and none are not timed again, because a set of some would be compared with them."""
    found = search(LAYERS, lambda names: measured(names, [0.3] * 6, 0.0), guess=frozenset[str])

    def never(rival: Names, names: Names) -> float:
        raise AssertionError

    assert confirmed(found, LAYERS, never).chosen == "all"


def test_the_search_ends_when_time_is_up() -> None:
    """When time is up, all, none and the guess have been measured."""
    tried: list[Names] = []

    def measure(names: Names) -> Measured:
        tried.append(names)
        return Measured(1.0, 1.0, 0.0)

    search(LAYERS, measure, guess=lambda: frozenset({"stem.w"}), is_time_up=lambda: True)
    assert len(tried) == 3


def test_all_and_none_are_timed_before_the_profiler_is_used() -> None:
    """The profiler slows down later runs, so the guess that uses it is measured third."""
    order: list[object] = []

    def measure(names: Names) -> Measured:
        order.append(names)
        return Measured(1.0, 1.0, 0.0)

    def guess() -> Names:
        order.append("profiled")
        return frozenset({"stem.w"})

    search(LAYERS, measure, guess=guess, is_time_up=lambda: True)
    assert order == [frozenset(LAYERS), frozenset(), "profiled", frozenset({"stem.w"})]


def test_a_choice_inside_a_model_is_one_of_the_sets_that_were_timed() -> None:
    """The choice is one of the measured sets, also on a CPU, which has no kernels to guess by."""
    subject = subject_of(
        lambda: nn.Sequential(nn.Conv3d(2, 4, 3), nn.Conv3d(4, 4, 3)), (2, 6, 6, 6)
    )
    make = partial(Specimen, subject, converted_of(subject), CPU)
    choice = choose_on_accelerator(make, 2, limit_s=0.0, race_s=0.0)
    assert {"all": ["0.weight", "1.weight"], "none": []}[choice.chosen] == choice.layers
    assert set(choice.seconds) == {"all", "none"}
