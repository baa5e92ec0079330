"""The objects that a pickle builds, judged from its opcodes before any is built.

torch's unpickler calls allowed names with any arguments, and gives objects any attributes. Here
each call must match the table in `rules`. A class of `torch.nn` may only be made without arguments,
and then be given its own attributes. Neither such a class, nor an object of one, nor NumPy's names
may be passed to another function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from convlast.checkpoints.guard import numpy_values, plain_values, records
from convlast.checkpoints.guard.handing import Handing
from convlast.checkpoints.guard.keys import Keys
from convlast.checkpoints.guard.modules import classes, found_in, misuses_of
from convlast.checkpoints.guard.outlines import (
    OPAQUE,
    TENSOR,
    Array,
    Dict,
    Global,
    Instance,
    List,
    Misuse,
    Record,
    Set,
    last_mark,
)
from convlast.checkpoints.guard.rebuilding import Judge
from convlast.checkpoints.guard.rules import Rule, is_constant, rule_of
from convlast.checkpoints.guard.states import misuse_by_state


class Objects:
    """The objects of one pickle."""

    def __init__(self, stack: list[Any], handing: Handing) -> None:
        self._handing = handing
        self._misuses: dict[str, str] = {}
        self._stack = stack
        self._instances: list[Instance] = []
        self._records: list[Record] = []
        self._handed_over: list[object] = []
        self._keys = Keys(handing)

    def step(self, opcode: str) -> bool:
        """Carry out an opcode that builds an object; return False for any other opcode."""
        verb = _VERBS.get(opcode)
        if verb is not None:
            verb(self)
        return verb is not None

    def judge(self) -> dict[str, str]:
        """Return the misuses of classes and functions, by their names.

        The contents of objects are checked here, at the end, because a pickle may add them late.
        """
        for name, misuse in misuses_of(self._instances):
            self._misuses.setdefault(name, f"is given {misuse}")
        for name, misuse in records.misuses_of(self._records, is_constant):
            self._misuses.setdefault(name, f"is given {misuse}")
        for found in found_in(self._handed_over, (Global, Instance)):
            name = found.name if isinstance(found, Instance) else str(found)
            if isinstance(found, Instance) or is_known(name):
                self._misuses.setdefault(name, "is passed to a function")
        return self._misuses

    def push(self, value: object) -> None:
        """Put a value on the stack."""
        self._stack.append(value)

    def pop(self, index: int = -1) -> object:
        """Take a value from the stack."""
        return self._stack.pop(index)

    def pop_group(self) -> list[object]:
        """Take the values after the last mark from the stack, and the mark."""
        mark = last_mark(self._stack)
        group = self._stack[mark + 1 :]
        del self._stack[mark:]
        return group

    def append(self, items: list[object]) -> None:
        """Append values to the list on the stack."""
        if isinstance(target := self._stack[-1], List):
            target.items.extend(items)
        else:
            self._handed_over.extend(items)

    def set_items(self, items: list[object]) -> None:
        """Put keys and values, in turns, into the dict on the stack."""
        self._keys.take(items[::2])
        if isinstance(target := self._stack[-1], Dict):
            target.pairs.extend(zip(items[::2], items[1::2], strict=False))
        else:
            self._handed_over.extend(items)

    def make(self) -> None:
        """Make an object of a class."""
        self._keep(self._apply(lambda rule: rule.make))

    def call(self) -> None:
        """Call a function."""
        made = self._apply(lambda rule: rule.call)
        if isinstance(made, Dict):
            self._keys.take(key for key, _ in made.pairs)
        elif isinstance(made, Set):
            self._keys.take(made.items)
        elif made is not TENSOR:  # as most are
            self._keep(made)

    def _keep(self, made: object) -> None:
        """Keep an object whose states are judged at the end."""
        if isinstance(made, Instance):
            self._instances.append(made)
        elif isinstance(made, Record):
            self._records.append(made)

    def give_state(self) -> None:
        """Give an object its state."""
        state, target = self._stack.pop(), self._stack[-1]
        self._handing.count("an object", state if isinstance(state, tuple) else (state,))
        name, misuse = misuse_by_state(target, state)
        if misuse is not None:
            self._misuses.setdefault(name, misuse)
        if isinstance(target, Instance | Record):
            target.states.append(state)
        else:
            self._handed_over.append(state)

    def _apply(self, verb: Callable[[Rule], Judge]) -> object:
        """Take arguments and a name from the stack, and push the outline of the call's result.

        A value that is not a name is not formatted: a few bytes can describe one of any size.
        """
        arguments, called = self._stack.pop(), self._stack.pop()
        name = str(called) if isinstance(called, Global) else "a value"
        rule = rule_of(name)
        made: object = Misuse("is called")
        if rule is not None and isinstance(arguments, tuple):
            self._handing.count(name, arguments)
            made = verb(rule)(arguments)
        if isinstance(made, Misuse):
            self._misuses.setdefault(name, made)
            made = OPAQUE
        # The values of a dict are judged where they are used; an array names its own class.
        if not isinstance(made, Dict | Array):
            self._handed_over.append(arguments)
        self._stack.append(made)
        return made


# One table for all objects: an object that held its own methods would refer to itself, and would be
# kept in memory until Python collects garbage.
_VERBS: dict[str, Callable[[Objects], None]] = {
    "NEWTRUE": lambda objects: objects.push(True),
    "NEWFALSE": lambda objects: objects.push(False),
    "EMPTY_DICT": lambda objects: objects.push(Dict()),
    "EMPTY_LIST": lambda objects: objects.push(List()),
    "APPEND": lambda objects: objects.append([objects.pop()]),
    "APPENDS": lambda objects: objects.append(objects.pop_group()),
    "SETITEM": lambda objects: objects.set_items([objects.pop(-2), objects.pop()]),
    "SETITEMS": lambda objects: objects.set_items(objects.pop_group()),
    "NEWOBJ": Objects.make,
    "REDUCE": Objects.call,
    "BUILD": Objects.give_state,
}


def is_known(name: str) -> bool:
    """Say whether a name that torch alone would refuse is accepted here.

    >>> is_known("torch.nn.modules.loss.CrossEntropyLoss"), is_known("os.system")
    (True, False)
    """
    return (
        name in classes()
        or name in records.CLASSES
        or name in plain_values.table()
        or (name in numpy_values.NAMES and numpy_values.is_present())
    )
