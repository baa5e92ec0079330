"""What a pickle asks for, found by reading its opcodes and running none of them.

torch's unpickler says which storages a checkpoint has only while it loads them, and which
globals it wants only by failing. Here both are known before anything is loaded.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

import torch

from convlast.checkpoints.objects import Objects, is_known
from convlast.checkpoints.values import MARK, OPAQUE, last_mark
from convlast.checkpoints.values import Global as Global
from convlast.errors import MalformedCheckpointError, UnsupportedContainerError

ITEM_BYTES = {
    "BoolStorage": 1,
    "ByteStorage": 1,
    "CharStorage": 1,
    "ShortStorage": 2,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "IntStorage": 4,
    "FloatStorage": 4,
    "LongStorage": 8,
    "DoubleStorage": 8,
    "ComplexFloatStorage": 8,
    "ComplexDoubleStorage": 16,
    "QInt8Storage": 1,
    "QUInt8Storage": 1,
    "QInt32Storage": 4,
    "QUInt4x2Storage": 1,
    "QUInt2x4Storage": 1,
    "UntypedStorage": 1,
}
"""Bytes of one element in each storage class that torch pickles."""


class StorageReference(NamedTuple):
    """A storage that a pickle refers to."""

    key: str
    location: str
    nbytes: int
    item_bytes: int = 1
    is_view: bool = False


@dataclass
class Scan:
    """What one pickle asks for."""

    names: set[Global] = field(default_factory=set)
    storages: list[StorageReference] = field(default_factory=list)
    """In the order in which the unpickler meets them, repetitions included."""
    is_framed: bool = False
    """Whether it is cut into frames, as pickles are from protocol 4 on."""
    misuses: dict[str, str] = field(default_factory=dict)
    """What is done with a known class or function that must not be, by its name."""

    @property
    def asks_for(self) -> frozenset[str]:
        """The names that torch has to be allowed before it loads them."""
        return frozenset(str(entry) for entry in self.names if is_known(str(entry)))


_PUT = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")
_GET = ("GET", "BINGET", "LONG_BINGET")


class _Machine:
    """A pickle machine that moves atoms and tuples about, and only the outlines of objects."""

    def __init__(self) -> None:
        self.scan = Scan()
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self.objects = Objects(self._stack)

    def step(self, opcode: pickletools.OpcodeInfo, arg: Any) -> None:
        if opcode.name in _ATOMS:
            self._stack.append(arg)
        elif (verb := _VERBS.get(opcode.name)) is not None:
            verb(self, arg)
        elif not self.objects.step(opcode.name):
            self._apply_declared_effect(opcode)

    def put(self, arg: Any) -> None:
        self._memo[len(self._memo) if arg is None else int(arg)] = self._stack[-1]

    def get(self, arg: Any) -> None:
        self._stack.append(self._memo[int(arg)])

    def push(self, value: object) -> None:
        self._stack.append(value)

    def push_global(self, arg: Any) -> None:
        self._stack.append(self._name(*str(arg).split(" ", 1)))

    def name_global(self) -> None:
        self._stack[-2:] = [self._name(self._stack[-2], self._stack[-1])]

    def make_instance(self, arg: Any) -> None:
        self._name(*str(arg).split(" ", 1))
        self._apply_declared_effect(_OPCODES["INST"])

    def push_storage(self) -> None:
        self.scan.storages.append(_storage_reference(self._stack.pop()))
        self._stack.append(OPAQUE)

    def frame(self) -> None:
        self.scan.is_framed = True

    def push_tuple(self, count: int) -> None:
        start = len(self._stack) - count
        self._stack[start:] = [tuple(self._stack[start:])]

    def push_group(self) -> None:
        mark = last_mark(self._stack)
        self._stack[mark:] = [tuple(self._stack[mark + 1 :])]

    def _apply_declared_effect(self, opcode: pickletools.OpcodeInfo) -> None:
        """Move the stack as pickletools says this opcode does."""
        before, after = opcode.stack_before, opcode.stack_after
        if pickletools.stackslice in before or opcode.name == "POPMARK":
            del self._stack[last_mark(self._stack) :]
            before = before[: before.index(pickletools.markobject)] if before else []
        if len(before) > len(self._stack):
            raise MalformedCheckpointError("Its pickle takes more from the stack than is there.")
        if before:
            del self._stack[-len(before) :]
        for value in after:
            if value is pickletools.markobject:
                self._stack.append(MARK)
            elif value is pickletools.pynone:
                self._stack.append(None)
            else:
                self._stack.append(OPAQUE)

    def _name(self, module: object, name: object) -> Global:
        found = _global(module, name)
        self.scan.names.add(found)
        return found


_OPCODES = {opcode.name: opcode for opcode in pickletools.opcodes}

_ATOMS = {
    name
    for name, opcode in _OPCODES.items()
    if opcode.arg is not None and not opcode.stack_before and opcode.stack_after
} - {*_GET, "GLOBAL"}
"""The opcodes that do nothing but to push their argument."""

_VERBS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(_PUT, _Machine.put),
    **dict.fromkeys(_GET, _Machine.get),
    "MARK": lambda machine, _: machine.push(MARK),
    "NONE": lambda machine, _: machine.push(None),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE1": lambda machine, _: machine.push_tuple(1),
    "TUPLE2": lambda machine, _: machine.push_tuple(2),
    "TUPLE3": lambda machine, _: machine.push_tuple(3),
    "TUPLE": lambda machine, _: machine.push_group(),
    "FRAME": lambda machine, _: machine.frame(),
    "GLOBAL": _Machine.push_global,
    "INST": _Machine.make_instance,
    "STACK_GLOBAL": lambda machine, _: machine.name_global(),
    "BINPERSID": lambda machine, _: machine.push_storage(),
}
"""What is done for each other opcode; for the rest, what pickletools says of the stack."""


def _global(module: object, name: object) -> Global:
    """Read a global's name; what is not text, or cannot be printed, is none."""
    if isinstance(module, str) and isinstance(name, str) and (module + name).isprintable():
        return Global(module, name)
    raise MalformedCheckpointError("Its pickle asks for a global by what is not a name.")


def _storage_reference(identity: object) -> StorageReference:
    """Read `("storage", class, key, location, numel[, view])` as torch's unpickler does.

    Nothing else is looked into: a few bytes can stand for a tuple without end.
    """
    match identity:
        case (
            "storage" | b"storage",
            Global(name=name),
            str() | bytes() as key,
            str() | bytes() as location,
            int() as numel,
            *rest,
        ) if numel >= 0 and name in ITEM_BYTES:
            item_bytes = ITEM_BYTES[name]
            is_view = bool(rest) and rest[0] is not None
            return StorageReference(
                _text(key), _text(location), numel * item_bytes, item_bytes, is_view
            )
        case ("module" | b"module", Global() as found, *_):
            raise UnsupportedContainerError(
                f"The checkpoint is a whole module, {found}, in torch's legacy format.",
                remedy="Load it where it came from, and save it anew: as a state dict, or with "
                "torch.save as it is since 1.6.",
            )
    raise MalformedCheckpointError("Its pickle refers to a storage in a way that PyTorch does not.")


def _text(value: str | bytes) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value


def scan(stream: IO[bytes]) -> Scan:
    """Read one pickle from a stream, which is left behind its last byte.

    Raises:
        MalformedCheckpointError: If it is not a pickle, ends early, or contradicts itself.
    """
    machine = _Machine()
    try:
        for opcode, arg, _position in pickletools.genops(stream):
            machine.step(opcode, arg)
    except (ValueError, IndexError, KeyError, OverflowError, EOFError) as error:
        raise MalformedCheckpointError(f"Its pickle cannot be read: {error}.") from error
    machine.scan.misuses = machine.objects.judge()
    return machine.scan


def unsafe_names(names: Iterable[Global]) -> list[str]:
    """Return those names that neither `torch.load(weights_only=True)` knows nor we do, sorted.

    torch answers that question for a file, so it is asked about a file that holds only these.

    >>> unsafe_names([Global("collections", "OrderedDict"), Global("os", "system")])
    ['os.system']
    """
    pickled = b"\x80\x02" + b"".join(
        f"c{entry.module}\n{entry.name}\n".encode("utf-8", "surrogateescape")
        for entry in sorted(names, key=str)
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data.pkl", pickled + b"N.")
    buffer.seek(0)
    refused = torch.serialization.get_unsafe_globals_in_checkpoint(buffer)
    return sorted(name for name in refused if not is_known(name))
