"""TorchScript, as `torch.jit.save` writes it: a program and its tensors, in a zip archive.

`data.pkl` contains the modules with their parameters, and `constants.pkl` the tensors that freezing
has moved into the code; `data/` and `constants/` contain the tensors' bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from convlast.checkpoints.declaration import Declaration
from convlast.checkpoints.guard.tensor_limits import TensorCount
from convlast.checkpoints.programs.script_code import calls_in, declaration_of
from convlast.checkpoints.programs.script_pickles import read_pickle, tensors_in, with_strides
from convlast.checkpoints.programs.script_tensors import Tensor, Unread
from convlast.checkpoints.programs.zipped_program import Outline, ZippedProgram
from convlast.options import Limits

_PICKLES = {"data.pkl": "data", "constants.pkl": "constants"}
_DTYPES = {
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "ShortStorage": torch.int16,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "UInt16Storage": torch.uint16,
    "IntStorage": torch.int32,
    "UInt32Storage": torch.uint32,
    "FloatStorage": torch.float32,
    "LongStorage": torch.int64,
    "UInt64Storage": torch.uint64,
    "DoubleStorage": torch.float64,
    "Float8_e4m3fnStorage": torch.float8_e4m3fn,
    "Float8_e4m3fnuzStorage": torch.float8_e4m3fnuz,
    "Float8_e5m2Storage": torch.float8_e5m2,
    "Float8_e5m2fnuzStorage": torch.float8_e5m2fnuz,
    "Float8_e8m0fnuStorage": torch.float8_e8m0fnu,
    "Float4_e2m1fn_x2Storage": torch.float4_e2m1fn_x2,
    "ComplexHalfStorage": torch.complex32,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}


@dataclass(frozen=True)
class _Place:
    """Where in a pickle the strides of a tensor are written."""

    outline: Tensor
    tensor: torch.Tensor
    pickle: str


class TorchScript(ZippedProgram):
    """A TorchScript archive."""

    def __init__(self, path: Path, limits: Limits) -> None:
        super().__init__(path, "torchscript", limits)
        self._places: dict[int, _Place] = {}
        self._codes: dict[str, str] = {}
        self._declarations: dict[str, Declaration | None] = {}
        places = TensorCount(limits)
        for pickle, folder in _PICKLES.items():
            if pickle in self.members.members:
                root = read_pickle(self.description(pickle))
                for name, outline, owner in tensors_in(root, places):
                    key = f"CONSTANTS.c{name}" if folder == "constants" else name
                    self._add(key, outline, pickle, folder)
                    self._declare(key, owner)
        self.leave_out_shared()
        self._declare_constants()
        self.declare_aliases()

    def rewritten(self) -> dict[str, bytes]:
        """Return the pickles in which strides have changed, with the present strides."""
        strides: dict[str, dict[tuple[int, int], tuple[int, ...]]] = {}
        for place in self._places.values():
            if place.tensor.stride() != place.outline.stride:
                spans = strides.setdefault(place.pickle, {})
                spans[place.outline.span] = place.tensor.stride()
        return {name: with_strides(self.member(name), spans) for name, spans in strides.items()}

    @property
    def calls_view(self) -> bool:
        """Whether its code calls `torch.view`, which fails for some layouts."""
        return any(
            b"torch.view(" in self.member(member)
            for member in self.members.members
            if member.startswith("code/") and member.endswith(".py")
        )

    def _add(self, key: str, outline: Tensor | Unread, pickle: str, folder: str) -> None:
        """Add a tensor; an outline that was added before gets the same one."""
        dtype = None if isinstance(outline, Unread) else _DTYPES.get(outline.storage.type_name)
        if isinstance(outline, Unread) or dtype is None:
            self.leave_out(key, *(f"{folder}/{storage.key}" for storage in outline.storages))
            return
        if id(outline) not in self._places:
            tensor = self.build(
                Outline(
                    f"{folder}/{outline.storage.key}",
                    outline.storage.location,
                    dtype,
                    outline.offset,
                    outline.shape,
                    outline.stride,
                )
            )
            self._places[id(outline)] = _Place(outline, tensor, pickle)
        self.hold(key, self._places[id(outline)].tensor)

    def _declare(self, key: str, owner: str) -> None:
        """Declare a weight by the class of the module that owns it."""
        if key.rpartition(".")[2] != "weight":
            return
        if owner not in self._declarations:  # read the code of a class once for all its objects
            self._declarations[owner] = declaration_of(owner, self._code_of)
        if (found := self._declarations[owner]) is not None:
            self.declared[(key,)] = found

    def _declare_constants(self) -> None:
        """Declare the constants that the code uses as weights of convolutions."""
        if not any(key.startswith("CONSTANTS.") for key in self.tensors):
            return
        for member in self.members.members:
            if member.startswith("code/") and member.endswith(".py"):
                for call in calls_in(self.member(member).decode("utf-8", "replace")):
                    if call.weight in self.tensors:
                        self.declared[(call.weight,)] = call.declaration

    def _code_of(self, owner: str) -> str:
        """Return the code of a class, which is a part of the file named after its module."""
        module, _, name = owner.rpartition(".")
        member = f"code/{module.replace('.', '/')}.py"
        if member not in self._codes:
            data = self.member(member) if member in self.members.members else b""
            self._codes[member] = data.decode("utf-8", "replace")
        _, _, behind = self._codes[member].partition(f"class {name}(")
        return behind.partition("\nclass ")[0]


def open_torchscript(path: Path, limits: Limits) -> TorchScript:
    """Open a TorchScript archive without running any of it.

    Raises:
        CheckpointError: A subclass of it, if the file cannot be opened or must not be.
    """
    return TorchScript(path, limits)
