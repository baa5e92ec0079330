"""The objects a pickle builds besides tensors, judged from its opcodes before any is built.

torch's unpickler calls what it is allowed to, with any arguments, and gives objects any
attributes. Here a class of `torch.nn` may only be made empty and then given its own attributes,
NumPy's names may only make plain numbers, and neither may be handed to anything else that is
called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from convlast.checkpoints import numpy_scalars
from convlast.checkpoints.keys import Keys
from convlast.checkpoints.modules import classes, found_in, misuses_of
from convlast.checkpoints.values import (
    OPAQUE,
    Dict,
    Global,
    Instance,
    List,
    NumberType,
    last_mark,
)

_ORDERED_DICT = "collections.OrderedDict"


class Objects:
    """The objects of one pickle."""

    def __init__(self, stack: list[Any]) -> None:
        self._misuses: dict[str, str] = {}
        self._stack = stack
        self._instances: list[Instance] = []
        self._handed_over: list[object] = []
        self._keys = Keys()

    def step(self, opcode: str) -> bool:
        """Carry out an opcode that builds something; False for any other."""
        verb = _VERBS.get(opcode)
        if verb is not None:
            verb(self)
        return verb is not None

    def judge(self) -> dict[str, str]:
        """Return, by the name of a class or function, what is done with it that must not be.

        What objects hold is looked at in the end, since it may have been put there late.
        """
        for instance in self._instances:
            for misuse in misuses_of(instance):
                self._misuses.setdefault(instance.name, f"is given {misuse}")
        for found in found_in(self._handed_over, (Global, Instance)):
            name = found.name if isinstance(found, Instance) else str(found)
            if isinstance(found, Instance) or is_known(name):
                self._misuses.setdefault(name, "is handed to a function")
        return self._misuses

    def push(self, value: object) -> None:
        """Put a value on the stack."""
        self._stack.append(value)

    def pop(self, index: int = -1) -> object:
        """Take a value from the stack."""
        return self._stack.pop(index)

    def pop_group(self) -> list[object]:
        """Take all from the stack that was put there since the last mark, and the mark."""
        mark = last_mark(self._stack)
        group = self._stack[mark + 1 :]
        del self._stack[mark:]
        return group

    def append(self, items: list[object]) -> None:
        """Put values into the list on the stack."""
        if isinstance(target := self._stack[-1], List):
            target.items.extend(items)
        else:
            self._handed_over.extend(items)

    def set_items(self, items: list[object]) -> None:
        """Put keys, each with its value, into the dict on the stack."""
        self._keys.take(items[::2])
        if isinstance(target := self._stack[-1], Dict):
            target.pairs.extend(zip(items[::2], items[1::2], strict=False))
        else:
            self._handed_over.extend(items)

    def make(self) -> None:
        """Make an object of a class."""
        arguments, made = self._stack.pop(), self._stack.pop()
        self._refuse_value(made)
        if not isinstance(made, Global) or str(made) not in classes():
            self._handed_over += [made, arguments]
            self._stack.append(OPAQUE)
            return
        if arguments != ():
            self._misuses.setdefault(str(made), "is made with arguments")
        instance = Instance(str(made))
        self._instances.append(instance)
        self._stack.append(instance)

    def call(self) -> None:
        """Call a function."""
        arguments, called = self._stack.pop(), self._stack.pop()
        self._refuse_value(called)
        self._keys.take_arguments(called, arguments)
        self._stack.append(OPAQUE)
        name = str(called) if isinstance(called, Global) else ""
        if name == _ORDERED_DICT and arguments == ():
            self._stack[-1] = Dict()
        elif name == numpy_scalars.DTYPE and numpy_scalars.is_number_type(arguments):
            self._stack[-1] = NumberType()
        elif name not in numpy_scalars.SCALAR or not numpy_scalars.is_number(arguments):
            self._handed_over.append(arguments)
            if is_known(name):
                self._misuses.setdefault(name, "is called with arguments that it must not have")

    def _refuse_value(self, called: object) -> None:
        """Note that something is called which is no name; torch would refuse it, and write it out.

        What a few bytes stand for can be longer, written out, than any memory.
        """
        if not isinstance(called, Global):
            self._misuses.setdefault("a value", "is called")

    def give_state(self) -> None:
        """Give an object its attributes."""
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, Instance):
            target.states.append(state)
        elif not isinstance(target, NumberType):
            self._handed_over.append(state)
        elif not numpy_scalars.is_number_state(state):
            self._misuses.setdefault(numpy_scalars.DTYPE, "is given a state that no number has")


# A table for all, since an object that held its own methods would refer to itself, and be kept,
# with all that it holds, until Python's collector looks.
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
    """Say whether a name, which torch alone would refuse, is read here.

    >>> is_known("torch.nn.modules.loss.CrossEntropyLoss"), is_known("os.system")
    (True, False)
    """
    return name in classes() or (
        numpy_scalars.is_present() and name in {numpy_scalars.DTYPE, *numpy_scalars.SCALAR}
    )
