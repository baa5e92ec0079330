"""The pickles of a TorchScript archive, read without running them.

The C++ code of `torch.jit` writes them: with a few opcodes, objects of the program's own classes,
and tensors with their strides as numbers. So strides can be replaced in place, and all other bytes
stay the same.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from convlast.checkpoints.guard.outlines import OPAQUE, Dict, Global, Instance, List
from convlast.checkpoints.guard.tensor_limits import TensorCount
from convlast.checkpoints.programs.script_tensors import (
    Call,
    Group,
    Storage,
    Tensor,
    Unread,
    made_by,
)
from convlast.errors import MalformedCheckpointError

_MAX_DEPTH = 200


@dataclass
class _Machine:
    """A pickle machine that builds outlines only."""

    stack: list[Any] = field(default_factory=list)
    marks: list[tuple[int, int]] = field(default_factory=list)
    """Where each open group begins, on the stack and in the pickle."""
    memo: dict[int, Any] = field(default_factory=dict)

    def step(self, name: str, arg: Any, position: int) -> None:
        stack = self.stack
        if name in {"BINPUT", "LONG_BINPUT"}:
            self.memo[int(arg)] = stack[-1]
        elif name in {"BINGET", "LONG_BINGET"}:
            stack.append(self.memo[int(arg)])
        elif name in _PUSHES:
            stack.append(_PUSHES[name]())
        elif name in _VERBS:
            _VERBS[name](self, position)
        elif name == "GLOBAL":
            stack.append(Global(*str(arg).split(" ", 1)))
        elif name in _ATOMS:
            stack.append(arg)
        elif name not in {"PROTO", "STOP"}:
            raise MalformedCheckpointError(f"Its pickle has the opcode {name}; no program has it.")

    def mark(self, position: int) -> None:
        self.marks.append((len(self.stack), position + 1))

    def pop_group(self) -> tuple[list[Any], int]:
        index, start = self.marks.pop()
        group = self.stack[index:]
        del self.stack[index:]
        return group, start

    def close_tuple(self, position: int) -> None:
        group, start = self.pop_group()
        closed = Group(group)
        closed.span = (start, position)
        self.stack.append(closed)

    def short_tuple(self, count: int) -> None:
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def append(self, items: list[Any]) -> None:
        self.stack[-1].items.extend(items)

    def set_items(self, items: list[Any]) -> None:
        self.stack[-1].pairs.extend(zip(items[::2], items[1::2], strict=True))

    def make(self) -> None:
        self.stack.pop()
        match self.stack.pop():
            case Global() as made:
                self.stack.append(Instance(str(made)))
            case _:  # not formatted: it can be larger than any memory
                raise MalformedCheckpointError("Its pickle makes an object without a class.")

    def give_state(self) -> None:
        state = self.stack.pop()
        self.stack[-1].states.append(state)

    def refer(self) -> None:
        match self.stack.pop():
            case ("storage", Global(name=name), str() as key, str() as location, int() as numel):
                self.stack.append(Storage(name, key, location, numel))
            case _:
                self.stack.append(OPAQUE)

    def call(self) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        self.stack.append(made_by(called, arguments))


_PUSHES: dict[str, Callable[[], object]] = {
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": Dict,
    "EMPTY_LIST": List,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "NONE": lambda: None,
}

_ATOMS = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING"}

_VERBS: dict[str, Callable[[_Machine, int], None]] = {
    "MARK": lambda machine, position: machine.mark(position),
    "TUPLE": lambda machine, position: machine.close_tuple(position),
    "TUPLE1": lambda machine, _: machine.short_tuple(1),
    "TUPLE2": lambda machine, _: machine.short_tuple(2),
    "TUPLE3": lambda machine, _: machine.short_tuple(3),
    "APPEND": lambda machine, _: machine.append([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.pop_group()[0]),
    "SETITEM": lambda machine, _: machine.set_items([machine.stack.pop(-2), machine.stack.pop()]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_group()[0]),
    "NEWOBJ": lambda machine, _: machine.make(),
    "BUILD": lambda machine, _: machine.give_state(),
    "BINPERSID": lambda machine, _: machine.refer(),
    "REDUCE": lambda machine, _: machine.call(),
}


def read_pickle(data: bytes) -> object:
    """Return the outline of the object in a pickle of a TorchScript archive.

    Raises:
        MalformedCheckpointError: If it is not such a pickle.
    """
    machine = _Machine()
    try:
        for opcode, arg, position in pickletools.genops(data):
            machine.step(opcode.name, arg, int(position or 0))
        return machine.stack.pop()
    except (ValueError, IndexError, KeyError, AttributeError, TypeError) as error:
        raise MalformedCheckpointError(f"Its pickle cannot be read: {str(error)[:200]}.") from error


def tensors_in(value: object, places: TensorCount) -> Iterator[tuple[str, Tensor | Unread, str]]:
    """Yield each tensor below a value: its dotted name, the tensor, and the class that holds it.

    A tensor in several places is yielded for each of them.

    Raises:
        MalformedCheckpointError: If the objects are nested too deeply, or contain themselves.
        LimitExceededError: If there are too many places, or their names are too long.
    """
    for path, tensor, owner in _Walk().below(value, ()):
        places.take(path)
        yield ".".join(path), tensor, owner


class _Walk:
    """One walk; in an object that was met before, only the ways to tensors are followed again.

    This also holds for a state that many objects share, and for the arguments of many calls.
    """

    def __init__(self) -> None:
        self._fruitful: dict[int, list[tuple[object, object]]] = {}
        self._open: set[int] = set()

    def below(
        self, value: object, path: tuple[str, ...], owner: str = "", depth: int = 0
    ) -> Iterator[tuple[tuple[str, ...], Tensor | Unread, str]]:
        """Yield the tensors below the value at a path, in an object of the class `owner`."""
        if depth > _MAX_DEPTH or id(value) in self._open:
            raise MalformedCheckpointError(
                "Its objects are nested too deeply, or contain themselves."
            )
        self._open.add(id(value))
        children = self._fruitful.get(id(value))
        kept: list[tuple[object, object]] = []
        for key, child in _children(value) if children is None else children:
            if not isinstance(child, _HOLDERS):
                continue
            is_fruitful, is_part = False, key is _PART
            if not isinstance(child, Tensor | Unread):
                inside = path if is_part else (*path, _text(key))
                inner = value.name if is_part and isinstance(value, Instance) else ""
                for found in self.below(child, inside, inner, depth + 1):
                    is_fruitful = True
                    yield found
            elif not is_part:
                is_fruitful = True
                yield (*path, _text(key)), child, owner
            kept += [(key, child)] if is_fruitful else []
        self._fruitful[id(value)] = kept
        self._open.remove(id(value))


def _text(key: object) -> str:
    """Write a key as text; show only the type of one that may be larger than any memory."""
    return str(key) if isinstance(key, str | int | float) else f"<{type(key).__name__}>"


def with_strides(data: bytes, strides: dict[tuple[int, int], tuple[int, ...]]) -> bytes:
    """Return a pickle with the strides in some places replaced; it contains no byte counts."""
    pieces, done = [], 0
    for (start, end), stride in sorted(strides.items()):
        pieces += [data[done:start], b"".join(_number(extent) for extent in stride)]
        done = end
    return b"".join([*pieces, data[done:]])


def _number(value: int) -> bytes:
    """Write a number as the C++ code does, in the shortest form."""
    if value < 1 << 8:
        return b"K" + value.to_bytes(1, "little")
    if value < 1 << 16:
        return b"M" + value.to_bytes(2, "little")
    if value < 1 << 31:
        return b"J" + value.to_bytes(4, "little")
    return b"\x8a\x08" + value.to_bytes(8, "little")


_HOLDERS = (Tensor, Unread, Instance, Dict, List, tuple, Call)
"""The classes that are tensors, or can hold some."""


_PART = object()
"""The key of an object's state or a call's arguments, which adds nothing to the names below it."""


def _children(value: object) -> Iterator[tuple[object, object]]:
    if isinstance(value, Instance):
        yield from ((_PART, state) for state in value.states)
    elif isinstance(value, Dict):
        yield from value.pairs
    elif isinstance(value, List):
        yield from enumerate(value.items)
    elif isinstance(value, tuple):
        yield from enumerate(value)
    elif isinstance(value, Call):
        yield _PART, value.arguments
