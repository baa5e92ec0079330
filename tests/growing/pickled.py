"""Pickles that can be grown: some things are made and kept, and then much is done with them.

What is kept can be as long as the input, and what is done takes a few bytes each time: so whatever
looks through, copies, hashes or compares what it is handed without counting it is soon seen.
"""

from __future__ import annotations

import random

from convlast.checkpoints.rules import table
from tests.growing.drawing import Drawing
from tests.growing.kept import keep
from tests.growing.programs import Part, again, once
from tests.hostile.parts import FLOATS, PROTOCOL, STOP, named, number, tensor, text

_ARGUMENTS: dict[str, list[tuple[str, ...]]] = {
    "builtins.set": [("list",)],
    "builtins.bytearray": [("bytes",), ("text", "latin1"), ()],
    "builtins.complex": [("number", "number")],
    "collections.Counter": [("dict",)],
    "collections.OrderedDict": [("list",), ("pairs",), ()],
    "_codecs.encode": [("text", "latin1")],
    "torch.Size": [("tuple",)],
    "torch.device": [("text",), ("text", "number")],
    "torch.serialization._get_layout": [("text",)],
    "torch.nn.parameter.Parameter": [("tensor", "true")],
    "torch._utils._rebuild_tensor_v2": [
        ("storage", "number", "tuple", "tuple", "true", "dict"),
        ("storage", "zero", "short", "short", "true", "dict", "dict"),
        ("storage", "zero", "huge", "huge", "true", "none"),
    ],
    "torch._utils._rebuild_meta_tensor_no_storage": [("dtype", "tuple", "tuple", "true")],
    "torch._utils._rebuild_parameter": [("tensor", "true", "dict")],
    "torch._utils._rebuild_parameter_with_state": [("tensor", "true", "dict", "dict")],
    "torch._tensor._rebuild_from_type_v2": [("function", "class", "tuple", "dict")],
    "numpy._core.multiarray.scalar": [("any", "bytes")],
    "numpy.dtype": [("text", "true", "true")],
}
"""What functions take, by kinds: mostly what they should."""


def drawn(lot: random.Random) -> list[Part]:
    """Draw a pickle of a dict with a weight, with what is kept, and with what is done then."""
    one = Drawing(lot, lot.random() < 0.5)
    kept = [part for index in range(lot.randint(1, 4)) for part in keep(one, index)]
    called = [lot.choice([*_ARGUMENTS, *table()] if one.is_wild else [*_ARGUMENTS])]
    called += [lot.choice([*_ARGUMENTS])]
    one.names = {name: b"h" + bytes([100 + index]) for index, name in enumerate(called)}
    naming = b"".join(named(name) + b"q" + get[1:] for name, get in one.names.items())
    doing = [part for _ in range(lot.randint(1, 2)) for part in _done(one)]
    weight = text("conv.weight") + tensor() + text("kept") + b"]("
    return [
        once(PROTOCOL + b"}(" + weight), *kept, once(naming + b"e" + text("made") + b"]("),
        *doing, once(b"eu" + STOP),
    ]  # fmt: skip


def _done(one: Drawing) -> list[Part]:
    """Draw what is done over and over; each time it leaves one thing, or a few, in a list."""
    steps = b"".join(one.lot.choice(_STEPS)(one) for _ in range(one.lot.randint(1, 2)))
    if one.lot.random() < 0.1:  # once, with very many arguments
        get = one.lot.choice([*one.names.values()])
        return [once(get + b"("), again(one.get("any")), once(b"tR")]
    return [again(steps)]


def _call(one: Drawing) -> bytes:
    name, get = one.lot.choice([*one.names.items()])
    kinds = one.lot.choice(_ARGUMENTS.get(name, [("any",), ()]))
    arguments = b"".join(one.get(kind) for kind in kinds)
    call = one.lot.choice([b"R", b"\x81"]) if one.is_wild else b"R"
    return get + b"(" + arguments + b"t" + call


def _call_with_a_tuple(one: Drawing) -> bytes:
    return one.lot.choice([*one.names.values()]) + one.get("tuple") + b"R"


def _give_state(one: Drawing) -> bytes:
    made = [
        named("torch.nn.modules.activation.Threshold") + b")\x81",
        named("collections.OrderedDict") + b")R",
        one.get(one.lot.choice(["module", "dict", "tensor"])),
    ]
    return one.lot.choice(made) + one.get(one.lot.choice(["dict", "dict", "tuple", "any"])) + b"b"


def _put(one: Drawing) -> bytes:
    target = one.lot.choice([b"}", one.get("dict")])
    return target + one.get(one.lot.choice(["text", "any", "tuple"])) + b"Ns"


def _append(one: Drawing) -> bytes:
    return one.lot.choice([b"]", one.get("list")]) + one.get("any") + b"a"


def _wrap(one: Drawing) -> bytes:
    return one.get("any") + one.lot.choice([b"", b"\x85", b"\x85\x85"])


def _refer(one: Drawing) -> bytes:
    key = one.get(one.lot.choice(["text", "any"])) if one.is_wild else text("0")
    head = b"(" + text("storage") + named("torch.FloatStorage")
    return head + key + text("cpu") + number(FLOATS) + b"tQ"


def _share_state(one: Drawing) -> bytes:
    name = text(one.lot.choice(["_parameters", "_buffers", "_modules", "threshold"]))
    made = named("torch.nn.modules.activation.Threshold") + b")\x81}"
    return made + name + one.get("dict") + b"sb"


_STEPS = (
    _call, _call, _call, _call_with_a_tuple, _give_state, _put, _append, _wrap, _refer,
    _share_state,
)  # fmt: skip
