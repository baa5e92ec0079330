"""What a pickle asks for is known before anything is loaded."""

from __future__ import annotations

import contextlib
import io
import pickle
import pickletools
import zipfile
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convlast.checkpoints.guard.outlines import Global
from convlast.checkpoints.guard.pickles import scan, unsafe_names
from convlast.checkpoints.guard.storages import ITEM_BYTES
from convlast.errors import MalformedCheckpointError
from tests import builders
from tests.strategies import Drawn, checkpoints


def pickled(root: object, protocol: int = 2) -> bytes:
    """Return the pickle that `torch.save` writes."""
    buffer = io.BytesIO()
    torch.save(root, buffer, pickle_protocol=protocol)
    with zipfile.ZipFile(buffer) as archive:
        return archive.read("archive/data.pkl")


def filled(numel: int, dtype: torch.dtype) -> Any:
    """Return a storage of the kind that torch's unpickler makes."""
    wrapped = torch.ones(numel * dtype.itemsize, dtype=torch.uint8).untyped_storage()
    make: Any = torch.storage.TypedStorage  # torch does not annotate it
    return make(wrap_storage=wrapped, dtype=dtype, _internal=True)


class Unpickler(pickle.Unpickler):
    """Python's own unpickler, which records the names and storages that it is asked for."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self.names: set[str] = set()
        self.storages: list[tuple[str, str, int]] = []

    def find_class(self, module: str, name: str) -> Any:
        """Record a name."""
        self.names.add(f"{module}.{name}")
        return super().find_class(module, name)

    def persistent_load(self, identity: Any) -> Any:
        """Record a storage."""
        _, kind, key, location, numel = identity
        self.storages.append((key, location, numel))
        if kind is torch.UntypedStorage:
            return filled(numel, torch.uint8)
        return filled(numel, kind.dtype)


old_storages = pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")


@old_storages
@settings(max_examples=60, deadline=None)
@given(checkpoints(), st.sampled_from([2, 3, 4]))
def test_the_scan_sees_what_python_s_unpickler_sees(drawn: Drawn, protocol: int) -> None:
    """The scan finds the names and storages that Python's unpickler finds, in each protocol."""
    data = pickled(drawn.root, protocol)
    found, python = scan(io.BytesIO(data)), Unpickler(data)
    python.load()
    renamed = {"__builtin__": "builtins", "_codecs": "_codecs"}
    names = {f"{renamed.get(name.module, name.module)}.{name.name}" for name in found.names}
    assert names == {name.replace("__builtin__", "builtins") for name in python.names}
    assert [(one.key, one.location, one.nbytes // one.item_bytes) for one in found.storages] == (
        python.storages
    )


@old_storages
def test_every_storage_class_of_torch_is_known() -> None:
    """A storage class that a later torch adds must be given its item size here."""
    kinds: dict[str, Any] = {kind.__name__: kind for kind in torch._storage_classes}
    for name, kind in kinds.items():
        if name not in {"UntypedStorage", "TypedStorage"}:
            assert ITEM_BYTES[name] == kind.dtype.itemsize, name


def test_the_stream_is_left_behind_the_pickle() -> None:
    """The stream is left just after the pickle, since legacy files have several in a row."""
    stream = io.BytesIO(b"\x80\x02N." + b"rest")
    scan(stream)
    assert stream.read() == b"rest"


@pytest.mark.parametrize(
    "data",
    [
        b"", b".", b"\x80", b"\x80\x02", b"\x80\x02N", b"\x80\x02t.", b"\x80\x02\x85.",
        b"\x80\x02a.",
        b"\x80\x02q\x00.", b"\x80\x02h\x07.", b"\x80\x02\x93.", b"\x80\x02Q.", b"\x80\x02NQ.",
        b"\x80\x02(N(t1.", b"cos\n", b"\x80\x02X\xff\xff\xff\xffx.", b"\x80\x02u.", b"0.", b"\xff",
    ],
)  # fmt: skip
def test_what_is_no_pickle_is_refused(data: bytes) -> None:
    """Data that is not a pickle is refused, unless Python's own tools find nothing wrong."""
    try:
        scan(io.BytesIO(data))
    except MalformedCheckpointError:
        return
    list(pickletools.genops(data))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_scanned_or_refused(data: bytes) -> None:
    """Any bytes are scanned or refused, without any other exception."""
    with contextlib.suppress(MalformedCheckpointError):
        scan(io.BytesIO(b"\x80\x02" + data + b"."))


def test_the_safe_names_are_torch_s_own() -> None:
    """Exactly the names that `weights_only=True` refuses are listed, sorted."""
    names = {
        Global("os", "system"),
        Global("collections", "OrderedDict"),
        Global("torch._utils", "_rebuild_tensor_v2"),
        Global("builtins", "eval"),
    }
    assert unsafe_names(names) == ["builtins.eval", "os.system"]
    assert unsafe_names([]) == []


def test_the_names_of_a_whole_module() -> None:
    """A pickled model names each class in it."""
    found = scan(io.BytesIO(pickled(builders.a_model())))
    assert Global("torch.nn.modules.conv", "Conv3d") in found.names
    assert Global("torch.nn.modules.batchnorm", "BatchNorm3d") in found.names
