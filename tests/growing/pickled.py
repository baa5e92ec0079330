"""Pickles that can be grown: some things are made and kept, and then much is done with them.

What is kept can be as long as the input, and what is done takes a few bytes each time: so whatever
looks through, copies, hashes or compares what it is handed without counting it is soon seen.
"""

from __future__ import annotations

import random
from typing import TypeAlias

from convlast.checkpoints.guard.rules import table
from tests.growing.drawing import Drawing
from tests.growing.kept import KINDS, keep
from tests.growing.programs import Part, again, once
from tests.hostile.parts import FLOATS, PROTOCOL, STOP, named, number, tensor, text

Token: TypeAlias = bytes | str
"""An opcode, or the kind of what is got from the memo; a dotted kind is that class or function."""

_ARGUMENTS: dict[str, list[tuple[Token, ...]]] = {
    "builtins.set": [("list",)],
    "builtins.bytearray": [("bytes",), ("text", "latin1"), ()],
    "builtins.complex": [("number", "number")],
    "collections.Counter": [("dict",)],
    "collections.OrderedDict": [("list",), ("pairs",), ()],
    "_codecs.encode": [("text", "latin1")],
    "torch.Size": [("tuple",)],
    "torch.device": [("text", "number")],
    "torch.nn.parameter.Parameter": [("tensor", "true")],
    "torch._utils._rebuild_tensor_v2": [
        ("storage", "zero", "tuple", "tuple", "true", "none"),
        ("storage", "zero", "short", "short", "true", "dict", "dict"),
        ("storage", "zero", "number", b"\x85", "number", b"\x85", "true", "none"),
    ],
    "torch._utils._rebuild_meta_tensor_no_storage": [("dtype", "tuple", "tuple", "true")],
    "torch._utils._rebuild_parameter": [("tensor", "true", "none")],
    "torch._utils._rebuild_parameter_with_state": [("tensor", "true", "none", "dict")],
    "torch._tensor._rebuild_from_type_v2": [("function", "class", "tuple", "dict")],
    "numpy._core.multiarray.scalar": [("any", "bytes")],
    "numpy.dtype": [("text", "true", "true")],
}
"""What functions take, by kinds: mostly what they should."""


def drawn(lot: random.Random, *, is_script: bool = False) -> list[Part]:
    """Draw a pickle of a dict with a weight, with what is kept, and with what is done then.

    Args:
        lot: Decides.
        is_script: Whether it is one of TorchScript, whose objects are of classes of its own.
    """
    one = Drawing(lot, is_wild=lot.random() < 0.3, is_script=is_script)
    work = [_steps(one) for _ in range(lot.randint(1, 2))]
    wanted = list(dict.fromkeys(kind for steps in work for kind in steps if isinstance(kind, str)))
    kinds = [lot.choice(KINDS), *wanted]
    kept = [part for index, kind in enumerate(kinds) for part in keep(one, kind, index)]
    doing = [part for steps in work for part in _over_and_over(one, steps)]
    weight = text("conv.weight") + tensor() + text("kept") + b"]("
    return [
        once(PROTOCOL + b"}(" + weight), *kept, once(b"e" + text("made") + b"]("),
        *doing, once(b"eu" + STOP),
    ]  # fmt: skip


def _steps(one: Drawing) -> list[Token]:
    return [token for _ in range(one.lot.randint(1, 2)) for token in one.lot.choice(_STEPS)(one)]


def _over_and_over(one: Drawing, steps: list[Token]) -> list[Part]:
    """Do it as often as there is room; now and then once, with very many arguments."""
    if one.lot.random() < 0.1:
        called = one.get(_name(one))
        return [once(called + b"("), again(one.get("any")), once(b"tR")]
    return [again(b"".join(one.get(each) if isinstance(each, str) else each for each in steps))]


def _name(one: Drawing) -> str:
    names: list[str] = [*_ARGUMENTS, *(table() if one.is_wild else ())]
    return one.lot.choice(names)


def _call(one: Drawing) -> list[Token]:
    name, arguments = one.lot.choice(_CALLS)
    if one.is_wild and one.lot.random() < 0.5:
        name = _name(one)
    call = one.lot.choice([b"R", b"\x81"]) if one.is_wild else b"R"
    return [name, b"(", *arguments, b"t", call]


def _call_with_a_tuple(one: Drawing) -> list[Token]:
    return [_name(one), "tuple", b"R"]


def _give_state(one: Drawing) -> list[Token]:
    some: list[list[Token]] = [[one.class_of_objects, b")\x81"], ["module"]]
    if not one.is_script:
        some += [["collections.OrderedDict", b")R"], ["dict"], ["tensor"]]
    return [*one.lot.choice(some), one.lot.choice(["dict", "dict", "tuple", "any"]), b"b"]


def _share_state(one: Drawing) -> list[Token]:
    name = one.lot.choice(["_parameters", "_buffers", "_modules", "threshold"])
    return [one.class_of_objects, b")\x81}" + text(name), "dict", b"sb"]


def _put(one: Drawing) -> list[Token]:
    target: list[Token] = [b"}", "dict"]
    return [one.lot.choice(target), one.lot.choice(["text", "text", "any", "tuple"]), b"Ns"]


def _append(one: Drawing) -> list[Token]:
    target: list[Token] = [b"]", "list"]
    return [one.lot.choice(target), "any", b"a"]


def _wrap(one: Drawing) -> list[Token]:
    return [one.lot.choice([*KINDS, "any"]), one.lot.choice([b"", b"\x85", b"\x85\x85"])]


def _refer(one: Drawing) -> list[Token]:
    key: Token = one.lot.choice(["text", "any"]) if one.is_wild else text("0")
    head = b"(" + text("storage") + named("torch.FloatStorage")
    return [head, key, text("cpu") + number(FLOATS) + b"tQ"]


_CALLS = [(name, each) for name, signatures in _ARGUMENTS.items() for each in signatures]

_STEPS = (
    _call, _call, _call, _call_with_a_tuple, _give_state, _share_state,
    _put, _append, _wrap, _refer,
)  # fmt: skip
