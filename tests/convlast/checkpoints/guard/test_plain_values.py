"""Values that trainers store beside weights: they load, are kept, are compared, and run nothing."""

from __future__ import annotations

import argparse
import datetime
import decimal
import fractions
import http
import pathlib
import pickle
import re
import signal
import types
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.torch_version import TorchVersion

import convlast
from convlast.errors import ConvlastError, UnsafeCheckpointError
from convlast.options import Options
from tests import builders

QUIET = Options(smoke="none")

HARMLESS: dict[str, Callable[[], object]] = {
    "a path": lambda: pathlib.Path("/data/run 1/ü.nii.gz"),
    "an empty path": lambda: pathlib.PurePosixPath(),
    "a path of Windows": lambda: pathlib.PureWindowsPath("C:/data"),
    "arguments": lambda: argparse.Namespace(lr=0.1, out=Path("a"), dtype=torch.half, d={"a": [1]}),
    "arguments in arguments": lambda: argparse.Namespace(model=argparse.Namespace(depth=3)),
    "a simple namespace": lambda: types.SimpleNamespace(a=1, b=types.SimpleNamespace()),
    "a date": lambda: datetime.date(2026, 11, 26),
    "a time": lambda: datetime.time(1, 2, 3, 4),
    "a moment": lambda: datetime.datetime(2026, 11, 26, 1, 2, 3),
    "a moment in a zone": lambda: datetime.datetime.now(datetime.UTC),
    "a named zone": lambda: datetime.timezone(datetime.timedelta(hours=-3), "far"),
    "a duration": lambda: datetime.timedelta(days=-1, microseconds=5),
    "a decimal number": lambda: decimal.Decimal("-1.50"),
    "no decimal number": lambda: decimal.Decimal("NaN"),
    "a fraction": lambda: fractions.Fraction(1, 3),
    "a whole fraction": lambda: fractions.Fraction(-(10**500)),
    "exact numbers as keys": lambda: {fractions.Fraction(n, 7): n for n in range(200)},
    "paths as keys": lambda: {pathlib.PurePosixPath(f"/a/{n}"): n for n in range(4000)},
    "frozen sets as keys": lambda: {frozenset({(n, "a")}): n for n in range(300)},
    "no text of NumPy": lambda: np.str_(""),
    "an identifier": lambda: uuid.UUID(int=5),
    "a status": lambda: http.HTTPStatus.OK,
    "a signal": lambda: signal.SIGTERM,
    "flags": lambda: re.I | re.M,
    "the version of torch": lambda: torch.__version__,
    "a slice": lambda: slice(1, None, 2),
    "a range": lambda: range(3, 9, 2),
    "a frozen set": lambda: frozenset({1, "a", (2, 3)}),
    "no bytes": lambda: b"",
    "an array": lambda: np.arange(24, dtype=np.int32).reshape(2, 3, 4),
    "an array in Fortran's order": lambda: np.asfortranarray(np.random.rand(3, 4)),
    "an array of one": lambda: np.array(1.5),
    "an empty array": lambda: np.zeros((2, 0), np.float16),
    "an array of NaN": lambda: np.full(3, np.nan),
    "an array of truths": lambda: np.array([True, False]),
    "an array of text": lambda: np.array(["liver", "é∞", ""]),
    "an array of bytes": lambda: np.array([b"a", b"bc"]),
    "text of NumPy": lambda: np.str_("liver"),
    "a random state": lambda: np.random.default_rng(0).bit_generator.state,
    "an older random state": lambda: np.random.RandomState(0).get_state(),
}  # fmt: skip


@pytest.mark.parametrize("save", [builders.save, builders.save_legacy])
@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_value_is_kept(name: str, save: Callable[..., Path], tmp_path: Path) -> None:
    """It is in the artifact as it was, and `verify` and `load` read it too."""
    value = HARMLESS[name]()
    root = {"model": builders.one_convolution(), "beside": value, "again": [value]}
    source, target = save(root, tmp_path / "source.pt"), tmp_path / "target.pt"
    assert convlast.convert(source, target, QUIET, device="cpu").verdict == "passed"
    assert convlast.verify(source, target).verdict == "passed"
    loaded = convlast.load(target)
    assert type(loaded["beside"]) is type(value)
    assert repr(loaded["beside"]) == repr(value)
    assert loaded["again"][0] is loaded["beside"] or isinstance(value, bytes)
    assert loaded["model"]["conv.weight"].stride(1) == 1


@pytest.mark.parametrize("name", sorted(set(HARMLESS) - {"no bytes", "an empty path"}))
def test_another_value_is_a_difference(name: str, tmp_path: Path) -> None:
    """Of the same kind, or none at all."""
    value, model = HARMLESS[name](), builders.one_convolution()
    one = builders.save({"model": model, "beside": value}, tmp_path / "one.pt")
    for index, other in enumerate((None, _other(value))):
        path = builders.save({"model": model, "beside": other}, tmp_path / f"{index}.pt")
        assert convlast.verify(one, path).verdict == "failed"


def _other(value: Any) -> object:
    """Return another value, of the same kind where that is easy."""
    if isinstance(value, np.ndarray) and value.size and value.dtype.kind in "if":
        other = np.nan_to_num(value, nan=1.0).copy(order="A")
        other.flat[-1] += 1
        return other
    if isinstance(value, argparse.Namespace | types.SimpleNamespace):
        return type(value)(**{**vars(value), "more": 1})
    return {"another": "value"}


def test_versions_that_are_equal_are_not_the_same(tmp_path: Path) -> None:
    """PyTorch compares versions by their numbers; `verify` compares the text."""
    paths = [
        builders.save({"model": builders.one_convolution(), "version": version}, tmp_path / name)
        for name, version in (("a.pt", TorchVersion("2.0")), ("b.pt", TorchVersion("2.0.0")))
    ]
    assert convlast.verify(*paths).verdict == "failed"
    assert convlast.verify(paths[0], paths[0]).verdict == "passed"


def test_tensors_in_arguments_are_found(tmp_path: Path) -> None:
    """They are tensors of the checkpoint, and a state dict in arguments is converted."""
    arguments = argparse.Namespace(model=builders.one_convolution(), mean=torch.ones(3))
    source = builders.save({"args": arguments}, tmp_path / "source.pt")
    report = convlast.convert(source, tmp_path / "target.pt", QUIET, device="cpu")
    assert [layer.wrapper for layer in report.layers] == ["args.model"]
    assert report.proof is not None
    assert report.proof.tensors == 3


@pytest.mark.parametrize("kind", [argparse.Namespace, types.SimpleNamespace])
def test_a_state_dict_in_arguments_is_loaded_into_a_model(kind: Any, tmp_path: Path) -> None:
    """Wherever it stands in them."""
    root = [kind(args=kind(lr=1, model=builders.one_convolution()))]
    source, target = builders.save(root, tmp_path / "source.pt"), tmp_path / "target.pt"
    convlast.convert(source, target, QUIET, device="cpu")
    weight = root[0].args.model["conv.weight"]
    conv = torch.nn.Conv3d(weight.shape[1], weight.shape[0], 3)
    convlast.load_into(torch.nn.ModuleDict({"conv": conv}), target)
    assert conv.weight.stride(1) == 1
    assert torch.equal(conv.weight, weight)


class Call:
    """Pickles as a call of anything with any arguments, and then a state."""

    def __init__(self, function: object, *arguments: object, state: object = None) -> None:
        self._reduced = (function, arguments, state)

    def __reduce__(self) -> Any:
        return self._reduced if self._reduced[2] is not None else self._reduced[:2]


class Beside(dict[str, Any]):
    """A dict, for a subclass that pickles as a plain one."""


HOSTILE: dict[str, Callable[[], object]] = {
    "a path of numbers": lambda: Call(pathlib.PurePosixPath, 1),
    "a date of other bytes": lambda: Call(datetime.date, b"12345"),
    "a date that is none": lambda: Call(datetime.date, bytes([7, 234, 2, 30])),
    "a time that is none": lambda: Call(datetime.time, bytes([23, 60, 0, 0, 0, 0])),
    "a second that is none": lambda: Call(
        datetime.datetime, bytes([7, 234, 1, 1, 0, 0, 60, 0, 0, 0])
    ),
    "an hour that comes twice": lambda: Call(datetime.datetime, bytes([7, 234, 138, 1, *[0] * 6])),
    "a date that is text": lambda: Call(datetime.date, "2026"),
    "a zone from anywhere": lambda: Call(datetime.datetime, b"1234567890", "UTC"),
    "a long decimal number": lambda: Call(decimal.Decimal, "9" * 5000),
    "a long fraction": lambda: Call(fractions.Fraction, "9" * 5000),
    "a status of a list": lambda: Call(http.HTTPStatus, [1]),
    "arguments of arguments": lambda: Call(argparse.Namespace, 1),
    "arguments with a method": lambda: Call(argparse.Namespace, state={"_get_kwargs": 1}),
    "arguments with a dunder": lambda: Call(argparse.Namespace, state={"__setstate__": 1}),
    "arguments with functions": lambda: Call(argparse.Namespace, state={"f": {torch.Size}}),
    "arguments with a function": lambda: Call(argparse.Namespace, state={"f": torch.Size}),
    "a class of arguments": lambda: Call(argparse.Namespace, state={"f": argparse.Namespace}),
    "an identifier of text": lambda: Call(uuid.UUID, state={"int": "a"}),
    "an identifier with more": lambda: Call(uuid.UUID, state={"int": 1, "hex": 2}),
    "bytes of a size": lambda: Call(bytes, 10**12),
    "a range of text": lambda: Call(range, "a", "b", "c"),
    "an array of a size": lambda: Call(np.ndarray, (10**12,)),
    "an array of objects": lambda: np.array([{"a": 1}], dtype=object),
    "an array of records": lambda: np.zeros(2, dtype=[("a", "f4")]),
    "a class among arguments": lambda: Call(frozenset, [decimal.Decimal]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_other_uses_of_the_names_are_refused(name: str, tmp_path: Path) -> None:
    """Before anything is loaded."""
    root = {"model": builders.one_convolution(), "beside": HOSTILE[name]()}
    source = builders.save(root, tmp_path / "source.pt")
    with pytest.raises(UnsafeCheckpointError):
        convlast.convert(source, tmp_path / "target.pt", QUIET, device="cpu")


def reconstructed(shape: object, data: bytes, code: str = "f8") -> Call:
    """Return an array that is told this shape and these bytes."""
    reduced: Any = np.zeros(1).__reduce__()
    empty, arguments = reduced[:2]
    kind = np.dtype(code)
    return Call(empty, *arguments, state=(1, shape, kind, False, data))


@pytest.mark.parametrize(
    ("shape", "nbytes"), [((2,), 8), ((10**9, 10**9), 8), ((-1,), 8), ((1,) * 65, 8), ([1], 8)]
)
def test_an_array_has_the_bytes_that_it_says(shape: Any, nbytes: int, tmp_path: Path) -> None:
    """Else it would make room for what is not there."""
    root = {"model": builders.one_convolution(), "beside": reconstructed(shape, bytes(nbytes))}
    source = builders.save(root, tmp_path / "source.pt")
    with pytest.raises(UnsafeCheckpointError):
        convlast.convert(source, tmp_path / "target.pt", QUIET, device="cpu")


@pytest.mark.parametrize("name", ["collections.defaultdict", "collections.deque"])
def test_what_torch_cannot_fill_is_refused_with_a_cure(name: str, tmp_path: Path) -> None:
    """Plain dicts and lists do as well."""
    import collections

    value = collections.deque([1]) if "deque" in name else collections.defaultdict(list, a=[1])
    source = builders.save({**builders.one_convolution(), "beside": value}, tmp_path / "s.pt")
    with pytest.raises(UnsafeCheckpointError, match=name) as refusal:
        convlast.convert(source, tmp_path / "target.pt", QUIET, device="cpu")
    assert "make it a" in refusal.value.remedy


def test_nothing_of_a_value_runs(tmp_path: Path) -> None:
    """A record cannot call what it was given, whatever the order of its states."""
    pickled = pickle.dumps(Call(argparse.Namespace, state={"__reduce__": eval}), 2)
    assert b"eval" in pickled
    root = {"model": builders.one_convolution(), "b": Call(argparse.Namespace, state={"e": eval})}
    source = builders.save(root, tmp_path / "source.pt")
    with pytest.raises(ConvlastError) as refusal:
        convlast.convert(source, tmp_path / "target.pt", QUIET, device="cpu")
    assert "eval" in str(refusal.value)
