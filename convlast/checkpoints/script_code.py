"""The convolutions in a TorchScript program's code, read as text.

`torch.jit` writes code in a form of its own, with every call spelled out:

    torch.conv3d(x, CONSTANTS.c0, CONSTANTS.c1, [1, 1, 1], [0, 0, 0], [1, 1, 1], 1)
    torch._convolution(x, weight, bias, [1, 1, 1], [1, 1, 1], [1, 1, 1], False, [0, 0, 0], 1, ...)
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from convlast.checkpoints.declaration import Declaration, Hyperparameters

_CALL = re.compile(r"\btorch\.(conv3d|conv_transpose3d|_convolution|convolution)\(")
_OWNER = re.compile(
    r"__torch__\.torch\.nn\.modules\.conv\.(?:___torch_mangle_\d+\.)?(Conv3d|ConvTranspose3d)"
)

# Where each operator has stride, padding, dilation and groups among its arguments.
_PLACES = {
    "conv3d": (3, 4, 5, 6),
    "conv_transpose3d": (3, 4, 7, 6),
    "_convolution": (3, 4, 5, 8),
    "convolution": (3, 4, 5, 8),
}
_DEFAULTS: tuple[object, ...] = ([1, 1, 1], [0, 0, 0], [1, 1, 1], 1)
_TRANSPOSED = 6
_LONGEST = 4096
"""Characters of one call; what is longer is not looked into."""


@dataclass(frozen=True)
class Call:
    """A convolution in the code.

    Attributes:
        weight: Its second argument, as it is written.
        declaration: What the call says.
    """

    weight: str
    declaration: Declaration


def calls_in(code: str) -> Iterator[Call]:
    """Yield each convolution that is called with three dimensions.

    >>> [call.weight for call in calls_in("y = torch.conv3d(torch.relu(x), CONSTANTS.c2, None)")]
    ['CONSTANTS.c2']
    """
    for found in _CALL.finditer(code):
        operator = found.group(1)
        arguments = _arguments(code[found.end() : found.end() + _LONGEST])
        if len(arguments) < 3:
            continue
        stride, padding, dilation, groups = (
            _literal(arguments[place]) if place < len(arguments) else default
            for place, default in zip(_PLACES[operator], _DEFAULTS, strict=True)
        )
        if operator.endswith("convolution"):
            is_transposed = _literal(arguments[_TRANSPOSED]) is True
        else:
            is_transposed = operator == "conv_transpose3d"
        known = [_triple(value) for value in (stride, padding, dilation)]
        yield Call(
            arguments[1],
            Declaration(
                "ConvTranspose3d" if is_transposed else "Conv3d",
                f"the program's code: torch.{operator}",
                groups if isinstance(groups, int) else None,
                Hyperparameters(*known) if all(known) else None,  # type: ignore[arg-type]  # all are
            ),
        )


def declaration_of(owner: str, code_of: Callable[[str], str]) -> Declaration | None:
    """Say what a class of PyTorch's own in a program is; None for any other.

    Args:
        owner: The name of the class, such as `__torch__.torch.nn.modules.conv.Conv3d`.
        code_of: Returns the code of a class by that name.
    """
    found = _OWNER.fullmatch(owner)
    if found is None:
        return None
    kind = found.group(1)
    for call in calls_in(code_of(owner)):
        if call.declaration.kind == kind:
            return call.declaration
    return Declaration("ConvTranspose3d" if "Transpose" in kind else "Conv3d", f"its class {kind}")


def _arguments(text: str) -> list[str]:
    """Split the text behind an opening bracket at its commas, up to the closing one."""
    arguments, depth, start = [], 0, 0
    for position, character in enumerate(text):
        if character in "([{":
            depth += 1
        elif character in ")]}" and depth:
            depth -= 1
        elif character == ")" or (character == "," and not depth):
            arguments.append(text[start:position].strip())
            start = position + 1
            if character == ")":
                break
    return arguments


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _triple(value: object) -> tuple[int, ...] | None:
    if isinstance(value, list) and len(value) == 3 and all(type(part) is int for part in value):
        return tuple(value)
    return None
