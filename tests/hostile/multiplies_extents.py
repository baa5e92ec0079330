"""Tensors whose shape, strides or offset do not fit 64 bits once they are multiplied."""

from __future__ import annotations

import io
import json
import zipfile
from typing import NamedTuple

from tests.hostile.breaks_the_safetensors_header import overflowing_shape
from tests.hostile.parts import (
    FLOATS,
    PROTOCOL,
    STOP,
    beside_a_weight,
    called,
    named,
    number,
    numbers,
    storage,
    tensor,
    text,
)


class Geometry(NamedTuple):
    """What a file says of a tensor."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int = 0


HUGE = 1 << 62

BEYOND: dict[str, Geometry] = {
    "a product beside a zero": Geometry((0, HUGE, HUGE), (0, 0, 0)),
    "a product of a weight's extents": Geometry((0, 1 << 40, 1 << 40, 1, 1), (0, 0, 0, 1, 1)),
    "a product of two": Geometry((1 << 32, 1 << 32), (0, 0)),
    "the bytes of a product": Geometry((1 << 61,), (0,)),
    "the bytes beside a zero": Geometry((0, 1 << 61), (1, 1)),
    "a stride": Geometry((1, 1), (HUGE, 1)),
    "a stride times an extent": Geometry((3, 1), (HUGE, 1)),
    "an offset": Geometry((0,), (1,), HUGE),
    "an extent beyond 64 bits": Geometry((0, 1 << 64), (1, 1)),
    "a stride beyond 64 bits": Geometry((1,), (1 << 70,)),
    "an offset of 600 digits": Geometry((1,), (1,), 1 << 2000),
    "a negative extent": Geometry((-1, 0), (1, 1)),
    "a negative stride": Geometry((2, 2), (2, -1), 1),
    "a negative offset": Geometry((2, 2), (2, 1), -1),
    "more strides than extents": Geometry((2, 2), (2, 1, 1)),
    "more than 64 extents": Geometry((1,) * 65, (1,) * 65),
}


def _opcodes(said: Geometry) -> bytes:
    return numbers(*said.shape) + numbers(*said.stride)


def in_a_torch_file(said: Geometry) -> bytes:
    """Return a tensor beside a weight."""
    return beside_a_weight(text("x.weight") + tensor(said.shape, said.stride, said.offset))


def on_the_meta_device(said: Geometry) -> bytes:
    """Return a tensor without data."""
    name = "torch._utils._rebuild_meta_tensor_no_storage"
    return beside_a_weight(
        text("x.weight") + called(name, named("torch.float32") + _opcodes(said) + b"\x89")
    )


def in_an_old_torch_file(said: Geometry) -> bytes:
    """Return a tensor that gets its geometry as a state."""
    state = b"(" + storage() + number(said.offset) + _opcodes(said) + b"t"
    return beside_a_weight(text("x.weight") + named("torch.Tensor") + b")R" + state + b"b")


def in_safetensors(said: Geometry) -> bytes:
    """Return a tensor without bytes."""
    return overflowing_shape(*said.shape)


def in_a_script(said: Geometry) -> bytes:
    """Return a TorchScript archive with a parameter."""
    pickled = PROTOCOL + b"c__torch__\nNet\n)\x81}(" + text("weight") + tensor(*said) + b"ub" + STOP
    return script(pickled)


def script(pickled: bytes, **code: bytes) -> bytes:
    """Return a TorchScript archive around a pickle, and around code by the names of modules."""
    members = {
        **{f"code/__torch__/{name}.py": text for name, text in code.items()},
        "data.pkl": pickled,
        "data/0": bytes(4 * FLOATS),
        "constants.pkl": PROTOCOL + b")" + STOP,
        "version": b"3\n",
    }
    return _zipped(members)


def in_a_program(said: Geometry) -> bytes:
    """Return an ExportedProgram with a parameter."""
    graph = {"signature": {"input_specs": []}, "graph": {"nodes": [], "tensor_values": {}}}
    config = {"config": {"w": described(said)}}
    return program(json.dumps({"graph_module": graph}).encode(), json.dumps(config).encode())


def described(said: Geometry) -> dict[str, object]:
    """Return what an ExportedProgram says of a parameter."""
    meta = {
        "dtype": 7,
        "layout": 7,
        "device": {"type": "cpu"},
        "sizes": [{"as_int": extent} for extent in said.shape],
        "strides": [{"as_int": extent} for extent in said.stride],
        "storage_offset": {"as_int": said.offset},
    }
    return {"path_name": "weight_0", "use_pickle": False, "tensor_meta": meta}


def program(graph: bytes, config: bytes) -> bytes:
    """Return an ExportedProgram around its JSON texts."""
    members = {
        "archive_format": b"pt2",
        "models/model.json": graph,
        "data/weights/model_weights_config.json": config,
        "data/weights/weight_0": bytes(4 * FLOATS),
    }
    return _zipped(members)


def _zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), data)
    return buffer.getvalue()
