"""An ExportedProgram, as `torch.export.save` writes it: a graph and its tensors, in a zip archive.

`models/model.json` contains the graph, two more JSON texts describe the tensors in `data/weights/`
and `data/constants/`, and `data/sample_inputs/` has the inputs that it was exported with. The graph
names each convolution and its weight, so no weight has to be guessed.

Source: https://github.com/pytorch/pytorch/blob/v2.13.0/torch/_export/serde/schema.py
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from convlast.checkpoints.declaration import Declaration, Hyperparameters
from convlast.checkpoints.guard.zip_directory import member_names
from convlast.checkpoints.programs.zipped_program import Outline, ZippedProgram
from convlast.errors import MalformedCheckpointError, UnsupportedContainerError
from convlast.options import Limits

GRAPH = "models/model.json"
_CONFIGS = {
    "data/weights/model_weights_config.json": "data/weights",
    "data/constants/model_constants_config.json": "data/constants",
}
_STRIDED = 7
_DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    9: torch.complex32,
    10: torch.complex64,
    11: torch.complex128,
    12: torch.bool,
    13: torch.bfloat16,
    28: torch.uint16,
    29: torch.float8_e4m3fn,
    30: torch.float8_e5m2,
    31: torch.float8_e4m3fnuz,
    32: torch.float8_e5m2fnuz,
    33: torch.float8_e8m0fnu,
    34: torch.uint32,
    35: torch.uint64,
}
"""The dtypes by their numbers in the schema."""

_OPERATORS = ("conv3d", "conv_transpose3d", "convolution")
_WORDS = {"parameter": "parameter_name", "buffer": "buffer_name"} | {
    "tensor_constant": "tensor_constant_name"
}


@contextmanager
def _described_by_pytorch() -> Iterator[None]:
    """Refuse a program whose JSON texts do not have the expected form; also a decorator."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise MalformedCheckpointError(
            f"The program's description is not as PyTorch writes it: {repr(error)[:200]}."
        ) from error


class ExportedProgram(ZippedProgram):
    """An archive of `torch.export`."""

    def __init__(self, path: Path, limits: Limits) -> None:
        if not any(name.endswith(f"/{GRAPH}") for name in member_names(path)):
            raise UnsupportedContainerError(
                "The program has no models/model.json: another version of PyTorch wrote it.",
                remedy="Load it with torch.export.load, and save it anew with torch 2.11 or later.",
            )
        super().__init__(path, "program", limits)
        self._texts = {
            name: _parsed(name, self.description(name))
            for name in (GRAPH, *_CONFIGS)
            if name in self.members.members
        }
        with _described_by_pytorch():
            for name, folder in _CONFIGS.items():
                for key, found in self._texts.get(name, {"config": {}})["config"].items():
                    self._add(key, found, folder)
            for name in _other_configs(self.members.members):
                self.leave_out(name)
            self.leave_out_shared()
            self._placeholders = dict(_placeholders(self._texts[GRAPH]["graph_module"]))
            self._declare(self._texts[GRAPH]["graph_module"]["graph"]["nodes"])
            self.declare_aliases()

    @_described_by_pytorch()
    def rewritten(self) -> dict[str, bytes]:
        """Return the JSON texts in which strides have changed, with the present strides."""
        changed: dict[str, bytes] = {}
        graph = self._texts[GRAPH]["graph_module"]["graph"]
        metas = [
            (name, key, found["tensor_meta"])
            for name in _CONFIGS
            for key, found in self._texts.get(name, {"config": {}})["config"].items()
        ]
        metas += [
            (GRAPH, key, graph["tensor_values"][placeholder])
            for placeholder, key in self._placeholders.items()
            if placeholder in graph["tensor_values"]
        ]
        touched = {name for name, key, meta in metas if self._give_strides(key, meta)}
        for name in touched:
            changed[name] = json.dumps(self._texts[name]).encode()
        return changed

    def _give_strides(self, key: str, meta: dict[str, Any]) -> bool:
        """Write a tensor's strides into its description; return whether that changes it."""
        tensor = self.tensors.get(key)
        if tensor is None or _numbers(meta["strides"]) == tensor.stride():
            return False
        meta["strides"] = [{"as_int": stride} for stride in tensor.stride()]
        return True

    def _add(self, key: str, found: dict[str, Any], folder: str) -> None:
        """Add a tensor; one that is sparse, or of a dtype that is not known, is left out."""
        if found["use_pickle"]:
            raise UnsupportedContainerError(
                f"The program holds {key!r} as a pickle, not as a tensor's bytes."
            )
        meta, member = found["tensor_meta"], f"{folder}/{found['path_name']}"
        if meta is None or meta["layout"] != _STRIDED or meta["dtype"] not in _DTYPES:
            self.leave_out(key, member)
            return
        device = meta["device"]
        index = device.get("index")
        shape, stride = _numbers(meta["sizes"]), _numbers(meta["strides"])
        (offset,) = _numbers([meta["storage_offset"]])
        location = device["type"] if index is None else f"{device['type']}:{index}"
        dtype = _DTYPES[meta["dtype"]]
        self.hold(key, self.build(Outline(member, location, dtype, offset, shape, stride)))

    def _declare(self, nodes: list[dict[str, Any]]) -> None:
        """Declare each tensor that the graph uses as the weight of a convolution."""
        for node in nodes:
            operator = node["target"].removeprefix("torch.ops.aten.").partition(".")[0]
            if operator not in _OPERATORS:
                continue
            arguments = {entry["name"]: entry["arg"] for entry in node["inputs"]}
            weight = arguments.get("weight", {}).get("as_tensor", {}).get("name")
            if (key := self._placeholders.get(weight)) is not None:
                self.declared[(key,)] = _declaration(operator, arguments)


def open_exported_program(path: Path, limits: Limits) -> ExportedProgram:
    """Open an ExportedProgram without running any of it.

    Raises:
        CheckpointError: A subclass of it, if the file cannot be opened or must not be.
    """
    return ExportedProgram(path, limits)


def _other_configs(members: Iterable[str]) -> Iterator[str]:
    """Yield what describes the tensors of other programs in the same archive."""
    for name in members:
        folder, _, leaf = name.rpartition("/")
        if folder in _CONFIGS.values() and leaf.endswith("_config.json") and name not in _CONFIGS:
            yield name


def _placeholders(graph_module: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name and the key of each graph input that is a tensor of the program."""
    for spec in graph_module["signature"]["input_specs"]:
        for kind, word in _WORDS.items():
            if kind in spec:
                yield spec[kind]["arg"]["name"], spec[kind][word]


def _declaration(operator: str, arguments: dict[str, Any]) -> Declaration:
    """Return a graph node's declaration of its weight; padding defaults to 0, the rest to 1."""
    is_transposed = operator == "conv_transpose3d" or bool(
        arguments.get("transposed", {}).get("as_bool")
    )
    stride, padding, dilation = (
        _triple(arguments.get(name), default)
        for name, default in (("stride", 1), ("padding", 0), ("dilation", 1))
    )
    groups = arguments.get("groups", {"as_int": 1}).get("as_int")
    known = stride and padding and dilation
    return Declaration(
        "ConvTranspose3d" if is_transposed else "Conv3d",
        f"the program's graph: aten.{operator}",
        groups if isinstance(groups, int) else None,
        Hyperparameters(stride, padding, dilation) if known else None,  # type: ignore[arg-type]  # all are
    )


def _triple(argument: dict[str, Any] | None, default: int) -> tuple[int, ...] | None:
    """Return three numbers of a node; a single number counts for all three."""
    if argument is None:
        return (default,) * 3
    values = argument.get("as_ints") or []
    return tuple(values * 3 if len(values) == 1 else values) if len(values) in {1, 3} else None


def _numbers(values: list[dict[str, Any]]) -> tuple[int, ...]:
    """Read extents or strides.

    Raises:
        ValueError: If one is not a number, but a symbol, which no tensor in a file has.
    """
    numbers = tuple(value["as_int"] for value in values)
    if not all(type(number) is int for number in numbers):
        raise ValueError("an extent or a stride that is not a number")
    return numbers


def _parsed(name: str, data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MalformedCheckpointError(f"Member {name!r} is not valid JSON: {error}.") from error
    if not isinstance(found, dict):
        raise MalformedCheckpointError(f"Member {name!r} is not a JSON object.")
    return found
