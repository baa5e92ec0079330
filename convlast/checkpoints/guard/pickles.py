"""What a pickle asks for, found by reading its opcodes without running them.

torch's unpickler shows the storages of a checkpoint only while it loads them, and the globals only
by failing. Here both are known before anything is loaded.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import IO, Any

import torch

from convlast.checkpoints.guard.handing import Handing
from convlast.checkpoints.guard.objects import Objects, is_known
from convlast.checkpoints.guard.outlines import MARK, OPAQUE, STORAGE, Global, last_mark
from convlast.checkpoints.guard.rules import rule_of
from convlast.checkpoints.guard.storages import StorageReference, reference_of
from convlast.errors import MalformedCheckpointError


@dataclass
class Scan:
    """What one pickle asks for."""

    names: set[Global] = field(default_factory=set)
    storages: list[StorageReference] = field(default_factory=list)
    """The storage references in the order in which the unpickler meets them, with repetitions."""
    is_framed: bool = False
    """Whether it is divided into frames, as pickles are from protocol 4 on."""
    has_bytes: bool = False
    """Whether it has bytes objects of its own, as pickles do from protocol 3 on."""
    misuses: dict[str, str] = field(default_factory=dict)
    """The misuses of known classes and functions, by their names."""

    @property
    def asks_for(self) -> frozenset[str]:
        """The names that torch has to be allowed to load."""
        return frozenset(str(entry) for entry in self.names if is_known(str(entry)))


_MAX_NAME = 1000
"""The most characters in a global's name."""

_BYTES = {"BINBYTES", "SHORT_BINBYTES"}
"""What torch's unpickler does not know; protocol 2 writes bytes as a call."""

_PUT = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")
_GET = ("GET", "BINGET", "LONG_BINGET")


class _Machine:
    """A pickle machine that works with atoms, tuples, and outlines of all other objects."""

    def __init__(self, handing: Handing) -> None:
        self.scan = Scan()
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self.objects = Objects(self._stack, handing)

    def step(self, opcode: pickletools.OpcodeInfo, arg: Any) -> None:
        self.scan.has_bytes |= opcode.name in _BYTES
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
        self.scan.storages.append(reference_of(self._stack.pop()))
        self._stack.append(STORAGE)

    def frame(self) -> None:
        self.scan.is_framed = True

    def push_tuple(self, count: int) -> None:
        start = len(self._stack) - count
        self._stack[start:] = [tuple(self._stack[start:])]

    def push_group(self) -> None:
        mark = last_mark(self._stack)
        self._stack[mark:] = [tuple(self._stack[mark + 1 :])]

    def _apply_declared_effect(self, opcode: pickletools.OpcodeInfo) -> None:
        """Change the stack as pickletools says this opcode does."""
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
"""The opcodes that only push their argument."""

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
"""The actions of other opcodes; for the rest, the stack effect that pickletools declares."""


def _global(module: object, name: object) -> Global:
    """Read a global's name; refuse one that is not text, not printable, or too long."""
    if (
        isinstance(module, str)
        and isinstance(name, str)
        and len(module) + len(name) <= _MAX_NAME
        and (module + name).isprintable()
    ):
        return Global(module, name)
    raise MalformedCheckpointError("Its pickle asks for a global by an invalid name.")


def scan(stream: IO[bytes]) -> Scan:
    """Scan one pickle from a stream; the stream is left just after its last byte.

    Raises:
        MalformedCheckpointError: If it is not a pickle, ends early, or contradicts itself.
    """
    machine = _Machine(Handing(stream.tell))
    try:
        for opcode, arg, _position in pickletools.genops(stream):
            machine.step(opcode, arg)
    except (ValueError, IndexError, KeyError, OverflowError, EOFError) as error:
        raise MalformedCheckpointError(f"Its pickle cannot be read: {str(error)[:200]}.") from error
    machine.scan.misuses = machine.objects.judge()
    return machine.scan


def unsafe_names(names: Iterable[Global]) -> list[str]:
    """Return the names that neither `torch.load(weights_only=True)` nor this library knows, sorted.

    torch answers this only for a file, so it gets a file that contains only these names.

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


def unruled_names(names: Iterable[Global]) -> list[str]:
    """Return the names that have no rule here, even if torch knows them, sorted.

    >>> unruled_names([Global("collections", "OrderedDict"), Global("UserDict", "OrderedDict")])
    ['UserDict.OrderedDict']
    """
    return sorted(str(entry) for entry in names if rule_of(str(entry)) is None)
