from __future__ import annotations

import copy
import datetime
import math
import uuid
from pathlib import PureWindowsPath
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convlast.checkpoints.tree import KeyPath
from convlast.proving.object_comparison import compare_objects

LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
    | st.sets(st.integers() | st.text())
)  # fmt: skip
OBJECTS = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.booleans(), inner)
    ),
)

HOUR = datetime.timedelta(hours=1)
NOON = datetime.datetime(2026, 11, 26, 12, tzinfo=datetime.UTC)


def differences(old: object, new: object) -> list[KeyPath]:
    """Return where two objects differ."""
    found: list[KeyPath] = []
    compare_objects(old, new, lambda path, _: found.append(path))
    return found


@given(OBJECTS)
def test_a_copy_is_the_same(value: Any) -> None:
    """Whatever is in it, NaN too."""
    assert differences(value, copy.deepcopy(value)) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        (math.inf, -math.inf),
        ("1", 1),
        ({1}, {True}),
        ({1.0}, {1}),
        ((1, (0.0,)), (1, (-0.0,))),
        ([1, 2], (1, 2)),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({1: "a"}, {True: "a"}),
        ({(1, 0): "a"}, {(True, 0): "a"}),
        ({"a": 1}, {}),
        (torch.float16, torch.bfloat16),
        ({(1, frozenset({1}))}, {(1, frozenset({True}))}),
        (range(0, 3, 2), range(0, 4, 2)),
        (slice(1), slice(True)),
        (NOON, NOON.astimezone(datetime.timezone(HOUR))),
        ({NOON: 1}, {NOON.astimezone(datetime.timezone(HOUR)): 1}),
        (NOON.replace(fold=0), NOON.replace(fold=1)),
        (datetime.timezone(HOUR, "here"), datetime.timezone(HOUR, "there")),
        (PureWindowsPath("A"), PureWindowsPath("a")),
        (uuid.UUID(int=5), uuid.UUID(int=5, is_safe=uuid.SafeUUID.safe)),
        (np.zeros((2, 2)), np.asfortranarray(np.zeros((2, 2)))),
        (np.zeros(2, "<f4"), np.zeros(2, ">f4")),
        (np.float64("nan"), np.frombuffer(b"\1\0\0\0\0\0\xf8\x7f")[0]),
        (np.array(["a"], "U2"), np.array(["a"], "U3")),
        (np.ndarray, np.generic),
    ],
)
def test_what_is_not_the_same_differs(old: object, new: object) -> None:
    """Equal is not enough: types, order and signs count, and where they differ is told."""
    assert differences(old, new)
    assert differences(new, old)
    inner = differences({"x": [old]}, {"x": [new]})
    assert inner
    assert all(path[:2] == ("x", 0) for path in inner)


def test_objects_that_hold_themselves_come_to_an_end() -> None:
    """Each pair is compared once."""
    one: list[object] = [1]
    one.append(one)
    other: list[object] = [1]
    other.append(other)
    assert differences(one, other) == []


def test_attributes_of_a_tensor_are_looked_at_and_its_data_is_not() -> None:
    """Data is compared elsewhere, by its bytes."""
    one, other = torch.zeros(2), torch.ones(2)
    assert differences([one], [other]) == []
    vars(one)["note"], vars(other)["note"] = "a", "b"
    assert differences([one], [other]) == [(0, "__dict__", "note")]
