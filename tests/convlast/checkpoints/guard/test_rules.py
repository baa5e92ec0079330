"""The table of names contains torch's own list, and accepts what torch.save writes."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import _weights_only_unpickler as unpickler
from torch import nn

import convlast
from convlast.checkpoints.guard import modules, numpy_values, plain_values, records
from convlast.checkpoints.guard.outlines import Global, Misuse
from convlast.checkpoints.guard.pickles import scan, unruled_names
from convlast.checkpoints.guard.rules import UNSUPPORTED, rule_of, table
from convlast.errors import UnsafeCheckpointError
from convlast.options import Options
from tests.hostile.parts import (
    PROTOCOL,
    STOP,
    beside_a_weight,
    named,
    number,
    numbers,
    storage,
    tensor,
    text,
    torch_zip,
)

QUIET = Options(smoke="none")

ALLOWED: dict[str, Any] = unpickler._get_allowed_globals()
"""The names that torch's unpickler allows; there is no public access to this list."""

WITHOUT_A_RULE = {name for name in ALLOWED if ".sparse." in name}
"""Classes of sparse tensors of PyTorch 0.1; such tensors are not supported here."""

ARGUMENTS: list[tuple[object, ...]] = [
    (10**9,), (10**6, 10**6), ("x",), ("x", "y"), ("x", "idna"), (1.5,), (None,), (True, True),
    ((1, 2),), ((10**9,), "x"), (b"x",), (object(),), ("cpu", "cpu"), ("O8", False, True),
    ((), (), (), ()), (Global("os", "system"), "x"), (1, 2, 3, 4, 5, 6), (1, 2, 3, 4, 5, 6, 7),
]  # fmt: skip
"""Arguments that torch.save writes for no name, except for a size, a device and a layout."""


def _is_enum(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


TAKEN: dict[str, list[tuple[object, ...]]] = {
    "torch.Size": [((1, 2),)],
    "torch.device": [("x",)],
    "torch.serialization._get_layout": [("x",)],
    "__builtin__.complex": [(10**6, 10**6), (True, True)],
    "builtins.complex": [(10**6, 10**6), (True, True)],
    "decimal.Decimal": [("x",)],
    "fractions.Fraction": [(10**6, 10**6), (True, True)],
    **{
        name: [(10**9,), ("x",)]
        for name, (kind, _) in plain_values.table().items()
        if _is_enum(kind) and name != "re.RegexFlag"
    },
    **{
        name: [each for each in ARGUMENTS if all(isinstance(part, str) for part in each)]
        for name in table()
        if name.startswith("pathlib.")
    },
}


MADE: dict[str, list[tuple[object, ...]]] = {plain_values.VERSION: [("x",)]}


def test_each_name_that_torch_knows_has_a_rule_or_is_refused() -> None:
    """Each name on torch's list has a rule or is refused, and no other name has a rule."""
    assert {name for name in ALLOWED if rule_of(name) is None} == WITHOUT_A_RULE
    of_torch = {name.replace("__builtin__", "builtins") for name in table()}
    ours = {*modules.classes(), *records.CLASSES, *numpy_values.NAMES, *UNSUPPORTED}
    of_python = {name.replace("__builtin__", "builtins") for name in plain_values.table()}
    unknown = of_torch - ours - of_python - ALLOWED.keys()
    assert {name for name in unknown if not name.endswith("Storage")} == set()


@pytest.mark.parametrize("name", sorted(WITHOUT_A_RULE))
def test_a_name_without_a_rule_is_refused(name: str, tmp_path: Path) -> None:
    """A name without a rule is refused, even if torch would load it and nothing calls it."""
    source = tmp_path / "in.pt"
    source.write_bytes(beside_a_weight(text("x") + named(name)))
    with pytest.raises(UnsafeCheckpointError) as refusal:
        convlast.inspect(source)
    assert refusal.value.names == (name,)


def test_no_other_spelling_has_a_rule() -> None:
    """Python 2's names, which torch accepts as others, have no rule."""
    for module in ("UserDict", "UserList", "UserString"):
        spellings = [Global(module, name) for name in ("OrderedDict", "Counter")]
        assert unruled_names(spellings) == [f"{module}.Counter", f"{module}.OrderedDict"]


@pytest.mark.parametrize("name", sorted(table()))
def test_other_arguments_are_misuses(name: str) -> None:
    """Arguments that torch.save does not write are misuses of any name."""
    rule = rule_of(name)
    assert rule is not None
    for arguments in ARGUMENTS:
        made = [rule.call(arguments), rule.make(arguments)]
        taken = [not isinstance(each, Misuse) for each in made]
        known = [arguments in kind.get(name, []) for kind in (TAKEN, MADE)]
        assert taken == known, arguments


def values() -> Iterator[Any]:
    """Yield at least one value for each name that torch.save calls, and that torch reads."""
    marked, frozen = torch.ones(2), nn.Parameter(torch.ones(2), requires_grad=False)
    marked.__dict__["mark"], frozen.__dict__["mark"] = "kept", ["kept"]
    state_dict = nn.Conv3d(2, 2, 1).state_dict()
    yield from (
        {1, "a"},
        set(),
        1.5 - 2j,
        b"bytes",
        b"\xff" * 300,
        bytearray(b"bytes"),
        bytearray(),
    )
    yield from (Counter("aab"), OrderedDict(a=1), state_dict, torch.Size([2, 3]), torch.Size([]))
    yield from (torch.device("cuda", 1), torch.device("cpu"), torch.strided, torch.sparse_coo)
    yield from (torch.float32, torch.per_tensor_affine, torch.ones(2), marked, nn.ReLU())
    yield from (nn.Parameter(torch.ones(2)), frozen, torch.ones(2, device="meta"))
    yield from (torch.ones(2, dtype=torch.uint16), torch.ones(2, dtype=torch.complex64).conj())
    yield from (torch.ones(2, dtype=torch.complex64).conj().imag, torch.ones(2).requires_grad_())
    yield from (torch.ones(()), torch.ones(0, 3), torch.ones(2, 3).T, torch.ones(1).expand(3))


def test_what_torch_save_writes_is_taken(tmp_path: Path) -> None:
    """Each call that torch.save writes is accepted."""
    for value in values():
        torch.save({"conv.weight": torch.ones(2, 2, 3, 3, 3), "value": value}, tmp_path / "in.pt")
        report = convlast.convert(tmp_path / "in.pt", tmp_path / "out.pt", QUIET)
        assert report.verdict == "passed"
        assert type(convlast.load(tmp_path / "out.pt")["value"]) is type(value)
        (tmp_path / "out.pt").unlink()


def test_an_ordered_dict_of_python_2(tmp_path: Path) -> None:
    """An OrderedDict of Python 2, with its pairs as lists in the call, is accepted."""
    for count in (1, 20_000):
        pairs: list[list[Any]] = [[f"key{index}", index] for index in range(count)]
        listed = pickle.dumps(pairs, 2)[2:-1]
        data = beside_a_weight(text("x") + named("collections.OrderedDict") + listed + b"\x85R")
        (tmp_path / "in.pt").write_bytes(data)
        (tmp_path / "out.pt").unlink(missing_ok=True)
        convlast.convert(tmp_path / "in.pt", tmp_path / "out.pt", QUIET)
        assert convlast.load(tmp_path / "out.pt")["x"] == OrderedDict(
            (key, value) for key, value in pairs
        )


HOOKS = named("collections.OrderedDict") + b")R"
GEOMETRY = b"(" + storage() + number(0) + numbers(8, 3, 3, 3, 3) + numbers(81, 27, 9, 3, 1) + b"t"
PARAMETER = named("torch.nn.parameter.Parameter")

OLD: dict[str, bytes] = {
    "a tensor of 0.1": named("torch.FloatTensor") + b")R" + GEOMETRY + b"b",
    "a tensor that is an object": named("torch.FloatTensor") + b")\x81" + GEOMETRY + b"b",
    "a tensor without hooks": named("torch._utils._rebuild_tensor") + GEOMETRY + b"R",
    "a parameter of 0.3": PARAMETER + tensor() + b"\x85\x81(\x88\x89" + HOOKS + b"tb",
    "a parameter of 0.2": PARAMETER + b")\x81(" + tensor() + b"N" + HOOKS + b"\x88\x89tb",
    "a parameter that is called": PARAMETER + tensor() + b"\x88\x86R",
}


@pytest.mark.parametrize("form", OLD)
def test_what_old_versions_wrote_is_taken(form: str, tmp_path: Path) -> None:
    """Old versions' tensors and parameters, which get their geometry as a state, are accepted."""
    source = tmp_path / "in.pt"
    source.write_bytes(torch_zip(PROTOCOL + b"}" + text("conv.weight") + OLD[form] + b"s" + STOP))
    report = convlast.convert(source, tmp_path / "out.pt", QUIET)
    assert [layer.status for layer in report.layers] == ["converted"]


def test_large_real_values_are_no_repetition() -> None:
    """A large value that is passed once is never refused as a repetition."""
    root = {
        "bytes": b"\xff" * 200_000,
        "bytearray": bytearray(b"a" * 200_000),
        "set": {str(index) for index in range(50_000)},
        "counter": Counter(range(50_000)),
        "size": torch.Size(range(50_000)),
    }
    buffer = io.BytesIO()
    torch.save(root, buffer)
    with zipfile.ZipFile(buffer) as archive:
        found = scan(io.BytesIO(archive.read("archive/data.pkl")))
    assert found.misuses == {}
