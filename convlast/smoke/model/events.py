"""The events of a watched forward: operators, modules' turns, and failures."""

from __future__ import annotations

import linecache
import re
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_MARKED = re.compile(r"\n([^\n]+)\n *~+ <--- HERE")


@dataclass(frozen=True)
class ModulePlace:
    """A module, or an operator of a program, by name and kind."""

    name: str
    kind: str


@dataclass(frozen=True)
class Operation:
    """One operator that ran.

    Attributes:
        place: The module that called it.
        name: PyTorch's name for it, such as `aten::avg_pool3d`.
        args: Its arguments; tensors may be parameters.
        outputs: The tensors that it returned.
        is_view: Whether its result is a view of an operand.
    """

    place: ModulePlace
    name: str
    args: tuple[Any, ...]
    outputs: tuple[Tensor, ...]
    is_view: bool


@dataclass(frozen=True)
class Turn:
    """One call of a module that called no other module; or of a program's operator."""

    place: ModulePlace
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Failure:
    """Where and how a forward raised.

    Attributes:
        message: The error's type and message.
        place: The module that was running.
        operator: PyTorch's operator that raised; None if no operator raised.
        line: The line of the model's own code.
    """

    message: str
    place: ModulePlace | None = None
    operator: str | None = None
    line: str | None = None


def line_of(error: BaseException) -> str | None:
    """Return the last line outside PyTorch and this package that led to an error."""
    if marked := _MARKED.search(str(error)):  # by TorchScript, in the code of the program
        return marked[1].strip()[:200]
    own = {Path(torch.__file__).parent, Path(__file__).parents[2]}
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_absolute() and not own & set(path.parents):
            code = linecache.getline(frame.filename, frame.lineno or 0).strip()
            return f"{path.name}:{frame.lineno}: {code}"[:200]
    return None
