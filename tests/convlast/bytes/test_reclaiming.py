"""Python's garbage collector runs less often for a while, and then as often as before."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from convlast.bytes.reclaiming import YOUNG_OBJECTS, collecting_seldom


@pytest.fixture(autouse=True)
def _threshold() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)


def test_it_looks_seldom_meanwhile_and_then_as_before() -> None:
    """Only the threshold for young objects is raised, and restored afterwards."""
    with collecting_seldom():
        assert gc.get_threshold() == (YOUNG_OBJECTS, 10, 10)
    assert gc.get_threshold() == (700, 10, 10)


def test_an_error_changes_nothing_for_good() -> None:
    """The threshold is restored after an exception too."""
    with pytest.raises(ZeroDivisionError), collecting_seldom():
        raise ZeroDivisionError
    assert gc.get_threshold() == (700, 10, 10)


def test_two_that_overlap_leave_it_as_the_first_one_found_it() -> None:
    """Two overlapping uses, as in two threads, restore the original threshold."""
    first, second = ExitStack(), ExitStack()
    first.enter_context(collecting_seldom())
    second.enter_context(collecting_seldom())
    first.close()
    assert gc.get_threshold()[0] == YOUNG_OBJECTS
    second.close()
    assert gc.get_threshold() == (700, 10, 10)


@pytest.mark.parametrize("young", [0, YOUNG_OBJECTS, YOUNG_OBJECTS + 1])
def test_a_collector_that_is_off_or_looks_as_seldom_is_left_alone(young: int) -> None:
    """A collector that is off, or runs even less often, is left alone."""
    gc.set_threshold(young, 10, 10)
    with collecting_seldom():
        assert gc.get_threshold() == (young, 10, 10)
    assert gc.get_threshold() == (young, 10, 10)


def test_what_the_caller_sets_meanwhile_stays() -> None:
    """A threshold that is set meanwhile is kept."""
    with collecting_seldom():
        gc.set_threshold(1000, 5, 5)
    assert gc.get_threshold() == (1000, 5, 5)
