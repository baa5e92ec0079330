"""The convolutions in a TorchScript program's code, read as text.

`torch.jit` writes code in a form of its own, with every call spelled out:

    torch.conv3d(x, CONSTANTS.c0, CONSTANTS.c1, [1, 1, 1], [0, 0, 0], [1, 1, 1], 1)
    torch._convolution(x, weight, bias, [1, 1, 1], [1, 1, 1], [1, 1, 1], False, [0, 0, 0], 1, ...)
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from convlast.checkpoints.declaration import Declaration, Hyperparameters

_TOKEN = re.compile(
    r"\btorch\.(?P<operator>conv3d|conv_transpose3d|_convolution|convolution)\("
    r"|(?P<opening>[(\[{])|(?P<closing>[)\]}])|(?P<comma>,)"
    # A string literal; one without an end goes on to the end of the code.
    r"""|"(?:[^"\\]|\\.)*+\\?(?:"|\Z)|'(?:[^'\\]|\\.)*+\\?(?:'|\Z)""",
    re.DOTALL,
)
_OWNER = re.compile(
    r"__torch__\.torch\.nn\.modules\.conv\.(?:___torch_mangle_\d+\.)?(Conv3d|ConvTranspose3d)"
)

# The positions of stride, padding, dilation and groups among each operator's arguments.
_PLACES = {
    "conv3d": (3, 4, 5, 6),
    "conv_transpose3d": (3, 4, 7, 6),
    "_convolution": (3, 4, 5, 8),
    "convolution": (3, 4, 5, 8),
}
_DEFAULTS: tuple[object, ...] = ([1, 1, 1], [0, 0, 0], [1, 1, 1], 1)
_TRANSPOSED = 6
_LONGEST = 256
"""The most characters of an argument; a longer one is neither a weight's name nor a few numbers."""


@dataclass(frozen=True)
class Call:
    """A convolution in the code.

    Attributes:
        weight: Its second argument, as it is written.
        declaration: What the call says about the weight.
    """

    weight: str
    declaration: Declaration


def calls_in(code: str) -> list[Call]:
    """Return each call of a 3-D convolution, in the order of the code.

    >>> [call.weight for call in calls_in("y = torch.conv3d(torch.relu(x), CONSTANTS.c2, None)")]
    ['CONSTANTS.c2']
    """
    calls: dict[int, Call] = {}
    # All open brackets: one pass is enough, however deeply calls are nested.
    open_calls: list[_OpenCall | None] = []
    for token in _TOKEN.finditer(code):
        if token.lastgroup == "operator":
            open_calls.append(_OpenCall(token["operator"], token.start(), [token.end()]))
        elif token.lastgroup == "opening":
            open_calls.append(None)
        elif token.lastgroup == "comma" and open_calls and open_calls[-1]:
            open_calls[-1].starts.append(token.end())
        elif token.lastgroup == "closing" and open_calls and (ended := open_calls.pop()):
            ended.starts.append(token.end())
            if call := _call(ended, code):
                calls[ended.place] = call
    return [calls[place] for place in sorted(calls)]


@dataclass
class _OpenCall:
    """A call whose closing bracket has not come yet.

    Attributes:
        operator: The operator that is called.
        place: Where the call begins.
        starts: Where each argument begins, and finally where the call ends.
    """

    operator: str
    place: int
    starts: list[int]

    def arguments(self, code: str) -> list[str]:
        """Return the arguments; the empty string for one that is too long."""
        return [
            code[start : end - 1].strip() if end - start <= _LONGEST else ""
            for start, end in pairwise(self.starts)
        ]


def _call(ended: _OpenCall, code: str) -> Call | None:
    """Read a call; None if it has too few arguments for a convolution."""
    arguments, operator = ended.arguments(code), ended.operator
    if len(arguments) < 3:
        return None
    stride, padding, dilation, groups = (
        _literal(arguments[place]) if place < len(arguments) else default
        for place, default in zip(_PLACES[operator], _DEFAULTS, strict=True)
    )
    if operator.endswith("convolution"):
        is_transposed = len(arguments) > _TRANSPOSED and arguments[_TRANSPOSED] == "True"
    else:
        is_transposed = operator == "conv_transpose3d"
    known = [_triple(value) for value in (stride, padding, dilation)]
    return Call(
        arguments[1],
        Declaration(
            "ConvTranspose3d" if is_transposed else "Conv3d",
            f"the program's code: torch.{operator}",
            groups if isinstance(groups, int) else None,
            Hyperparameters(*known) if all(known) else None,  # type: ignore[arg-type]  # all are
        ),
    )


def declaration_of(owner: str, code_of: Callable[[str], str]) -> Declaration | None:
    """Return what one of PyTorch's convolution classes in a program declares; None for others.

    Args:
        owner: The name of the class, such as `__torch__.torch.nn.modules.conv.Conv3d`.
        code_of: Returns the code of the class with such a name.
    """
    found = _OWNER.fullmatch(owner)
    if found is None:
        return None
    kind = found.group(1)
    for call in calls_in(code_of(owner)):
        if call.declaration.kind == kind:
            return call.declaration
    return Declaration("ConvTranspose3d" if "Transpose" in kind else "Conv3d", f"its class {kind}")


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _triple(value: object) -> tuple[int, ...] | None:
    if isinstance(value, list) and len(value) == 3 and all(type(part) is int for part in value):
        return tuple(value)
    return None
