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
from convlast.checkpoints.values import OPAQUE, Dict, Global, Instance, List, NumberType

_ORDERED_DICT = "collections.OrderedDict"


class Objects:
    """The objects of one pickle."""

    def __init__(self, stack: list[Any], last_mark: Callable[[], int]) -> None:
        self._misuses: dict[str, str] = {}
        self._stack, self._last_mark = stack, last_mark
        self._instances: list[Instance] = []
        self._handed_over: list[object] = []
        self._keys = Keys()
        self._verbs: dict[str, Callable[[], None]] = {
            "NEWTRUE": lambda: stack.append(True),
            "NEWFALSE": lambda: stack.append(False),
            "EMPTY_DICT": lambda: stack.append(Dict()),
            "EMPTY_LIST": lambda: stack.append(List()),
            "APPEND": lambda: self._append([stack.pop()]),
            "APPENDS": lambda: self._append(self._pop_group()),
            "SETITEM": lambda: self._set_items([stack.pop(-2), stack.pop()]),
            "SETITEMS": lambda: self._set_items(self._pop_group()),
            "NEWOBJ": self._make,
            "REDUCE": self._call,
            "BUILD": self._give_state,
        }

    def step(self, opcode: str) -> bool:
        """Carry out an opcode that builds something; False for any other."""
        verb = self._verbs.get(opcode)
        if verb is not None:
            verb()
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

    def _append(self, items: list[object]) -> None:
        if isinstance(target := self._stack[-1], List):
            target.items.extend(items)
        else:
            self._handed_over.extend(items)

    def _set_items(self, items: list[object]) -> None:
        self._keys.take(items[::2])
        if isinstance(target := self._stack[-1], Dict):
            target.pairs.extend(zip(items[::2], items[1::2], strict=False))
        else:
            self._handed_over.extend(items)

    def _make(self) -> None:
        arguments, made = self._stack.pop(), self._stack.pop()
        if not isinstance(made, Global) or str(made) not in classes():
            self._handed_over += [made, arguments]
            self._stack.append(OPAQUE)
            return
        if arguments != ():
            self._misuses.setdefault(str(made), "is made with arguments")
        instance = Instance(str(made))
        self._instances.append(instance)
        self._stack.append(instance)

    def _call(self) -> None:
        arguments, called = self._stack.pop(), self._stack.pop()
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

    def _give_state(self) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, Instance):
            target.states.append(state)
        elif not isinstance(target, NumberType):
            self._handed_over.append(state)
        elif not numpy_scalars.is_number_state(state):
            self._misuses.setdefault(numpy_scalars.DTYPE, "is given a state that no number has")

    def _pop_group(self) -> list[object]:
        mark = self._last_mark()
        group = self._stack[mark + 1 :]
        del self._stack[mark:]
        return group


def is_known(name: str) -> bool:
    """Say whether a name, which torch alone would refuse, is read here.

    >>> is_known("torch.nn.modules.loss.CrossEntropyLoss"), is_known("os.system")
    (True, False)
    """
    return name in classes() or (
        numpy_scalars.is_present() and name in {numpy_scalars.DTYPE, *numpy_scalars.SCALAR}
    )
