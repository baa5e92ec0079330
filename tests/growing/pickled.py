"""Pickles that can be grown: some things are made and kept, and then much is done with them.

What is kept can be as long as the input, and what is done takes a few bytes each time: so whatever
looks through, copies, hashes or compares what it is handed without counting it is soon seen.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from convlast.checkpoints.rules import table
from tests.growing.programs import Part, again, long, numbered, once
from tests.hostile.parts import (
    FLOATS,
    PROTOCOL,
    STOP,
    named,
    number,
    numbers,
    storage,
    tensor,
    text,
)

_HASHES = (1 << 61) - 1
"""Numbers that differ by this have one hash."""

Memo = dict[str, list[bytes]]
"""The opcodes that get what is kept, by its kind."""

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

_INLINE: dict[str, bytes] = {
    "latin1": text("latin1"),
    "true": b"\x88",
    "none": b"N",
    "zero": b"K\x00",
    "short": numbers(1, 2, 1, 1, 2),
    "storage": storage(),
    "tensor": tensor(),
    "dtype": named("torch.float32"),
    "function": named("torch._utils._rebuild_parameter_with_state"),
    "class": named("torch.Tensor"),
    "list": b"]",
    "dict": b"}",
    "tuple": b")",
    "text": text("a"),
    "number": b"K\x01",
}


def drawn(lot: random.Random) -> list[Part]:
    """Draw a pickle of a dict with a weight, with what is kept, and with what is done then."""
    memo: Memo = {}
    kept = [part for index in range(lot.randint(1, 4)) for part in _kept(lot, memo, index)]
    called = [lot.choice([*_ARGUMENTS, *_ARGUMENTS, *table()]) for _ in range(2)]
    names = {name: b"h" + bytes([100 + index]) for index, name in enumerate(called)}
    naming = b"".join(named(name) + b"q" + get[1:] for name, get in names.items())
    doing = [part for _ in range(lot.randint(1, 2)) for part in _done(lot, memo, names)]
    weight = text("conv.weight") + tensor() + text("kept") + b"]("
    return [
        once(PROTOCOL + b"}(" + weight), *kept, once(naming + b"e" + text("made") + b"]("),
        *doing, once(b"eu" + STOP),
    ]  # fmt: skip


def _get(lot: random.Random, memo: Memo, kind: str) -> bytes:
    """Get something of a kind, if there is any; now and then anything."""
    everything = [get for gets in memo.values() for get in gets]
    if memo and (kind == "any" or lot.random() < 0.1):
        return lot.choice(everything)
    if kind == "huge":
        return _get(lot, memo, "number") + b"\x85"
    return lot.choice(memo.get(kind) or [_INLINE.get(kind, b"N")])


def _kept(lot: random.Random, memo: Memo, index: int) -> list[Part]:
    """Draw something that is kept."""
    kind = lot.choice([*_KEPT])
    parts = _KEPT[kind](lot, memo)
    memo.setdefault(kind, []).append(b"h" + bytes([index]))
    return [*parts, once(b"q" + bytes([index]))]


def _elements(lot: random.Random, memo: Memo) -> list[Part]:
    some = [
        again(b"K\x01"),
        again(b"N"),
        again(number(_HASHES)),
        again(text("")),
        numbered("number", number),
        numbered("multiple of a hash", lambda index: number(index * _HASHES)),
        numbered("text", lambda index: text(f"a{index}")),
        numbered("global", lambda index: named(f"torch.x{index}")),
        numbered("tuple", lambda index: number(index) + b"\x85"),
        numbered("tensor", lambda index: tensor((1, 1), (1, 1), index % FLOATS)),
    ]
    return [again(_get(lot, memo, "any")) if memo and lot.random() < 0.4 else lot.choice(some)]


def _list(lot: random.Random, memo: Memo) -> list[Part]:
    return [once(b"]("), *_elements(lot, memo), once(b"e")]


def _tuple(lot: random.Random, memo: Memo) -> list[Part]:
    return [once(b"("), *_elements(lot, memo), once(b"t")]


def _pairs(_lot: random.Random, _memo: Memo) -> list[Part]:
    return [once(b"]("), numbered("pair", lambda index: b"](" + number(index) + b"Ne"), once(b"e")]


def _dict(lot: random.Random, memo: Memo) -> list[Part]:
    value = _get(lot, memo, lot.choice(["any", "none"]))
    pairs = [
        numbered("text: value", lambda index: text(f"a{index}") + value),
        numbered("number: value", lambda index: number(index) + value),
        numbered("a hash: value", lambda index: number(index * _HASHES) + value),
        numbered("tuple: value", lambda index: number(index) + b"\x85" + value),
        numbered("weight", lambda index: text(f"{index}.weight") + _weight(index)),
        again(_get(lot, memo, lot.choice(["text", "any"])) + value),
        again(text("conj") + b"\x88"),
    ]
    return [once(b"}("), lot.choice(pairs), once(b"u")]


def _weight(index: int) -> bytes:
    """Return a weight, or a view, of the one storage."""
    return tensor((1, 1, 1, 1, 1 + index % 3), (1, 1, 1, 1, 1), index % (FLOATS - 3))


def _text(_lot: random.Random, _memo: Memo) -> list[Part]:
    return [long("text", lambda nbytes: text("x" * nbytes))]


def _bytes(_lot: random.Random, _memo: Memo) -> list[Part]:
    head = named("_codecs.encode") + b"("
    return [
        once(head),
        long("text", lambda nbytes: text("x" * nbytes)),
        once(text("latin1") + b"tR"),
    ]


def _number(lot: random.Random, _memo: Memo) -> list[Part]:
    ways: list[tuple[str, Callable[[int], bytes]]] = [
        ("LONG4", lambda nbytes: b"\x8b" + struct.pack("<i", nbytes) + b"\x7f" * nbytes),
        ("LONG", lambda nbytes: b"L" + b"9" * nbytes + b"L\n"),
        ("INT", lambda nbytes: b"I" + b"9" * nbytes + b"\n"),
        ("FLOAT", lambda nbytes: b"F1." + b"0" * nbytes + b"1\n"),
        ("FLOAT that is none", lambda nbytes: b"F" + b"x" * nbytes + b"\n"),
    ]
    return [long(*lot.choice([ways[0], ways[0], *ways]))]


def _nested(lot: random.Random, _memo: Memo) -> list[Part]:
    ways = [
        [again(b"(", 1), once(b"N"), again(b"t", 1)],
        [once(b"N"), again(b"\x85")],
        [once(b"]"), numbered("list in a list", lambda _: b"]q\xfeh\xfea")],
        [long("lists", lambda nbytes: b"]" * (nbytes // 2 + 1) + b"a" * (nbytes // 2))],
        [once(b"N" + b"".join(b"q\xff" + b"h\xff" + b"\x86" for _ in range(40)))],
    ]
    return lot.choice(ways)


def _storage(_lot: random.Random, _memo: Memo) -> list[Part]:
    head = b"(" + text("storage") + named("torch.FloatStorage")
    key = long("key", lambda nbytes: text("x" * nbytes))
    return [once(head), key, once(text("cpu") + number(FLOATS) + b"tQ")]


def _module(lot: random.Random, memo: Memo) -> list[Part]:
    made = named("torch.nn.modules.activation.Threshold") + b")\x81"
    return [once(made + _get(lot, memo, "dict") + b"b")]


_KEPT: dict[str, Callable[[random.Random, Memo], list[Part]]] = {
    "list": _list, "tuple": _tuple, "pairs": _pairs, "dict": _dict, "text": _text,
    "bytes": _bytes, "number": _number, "nested": _nested, "storage": _storage, "module": _module,
}  # fmt: skip


def _done(lot: random.Random, memo: Memo, names: dict[str, bytes]) -> list[Part]:
    """Draw what is done over and over; each time it leaves one thing, or a few, in a list."""
    steps = b"".join(lot.choice(_STEPS)(lot, memo, names) for _ in range(lot.randint(1, 2)))
    if lot.random() < 0.1:  # once, with very many arguments
        get = lot.choice([*names.values()])
        return [once(get + b"("), again(_get(lot, memo, "any")), once(b"tR")]
    return [again(steps)]


def _call(lot: random.Random, memo: Memo, names: dict[str, bytes]) -> bytes:
    name, get = lot.choice([*names.items()])
    kinds = lot.choice(_ARGUMENTS.get(name, [("any",), ()]))
    arguments = b"".join(_get(lot, memo, kind) for kind in kinds)
    return get + b"(" + arguments + b"t" + lot.choice([b"R", b"R", b"R", b"\x81"])


def _call_with_a_tuple(lot: random.Random, memo: Memo, names: dict[str, bytes]) -> bytes:
    return lot.choice([*names.values()]) + _get(lot, memo, "tuple") + b"R"


def _give_state(lot: random.Random, memo: Memo, _names: dict[str, bytes]) -> bytes:
    made = [
        named("torch.nn.modules.activation.Threshold") + b")\x81",
        named("collections.OrderedDict") + b")R",
        _get(lot, memo, lot.choice(["module", "dict", "tensor"])),
    ]
    return lot.choice(made) + _get(lot, memo, lot.choice(["dict", "dict", "tuple", "any"])) + b"b"


def _put(lot: random.Random, memo: Memo, _names: dict[str, bytes]) -> bytes:
    target = lot.choice([b"}", _get(lot, memo, "dict")])
    return target + _get(lot, memo, lot.choice(["text", "any", "tuple"])) + b"Ns"


def _append(lot: random.Random, memo: Memo, _names: dict[str, bytes]) -> bytes:
    return lot.choice([b"]", _get(lot, memo, "list")]) + _get(lot, memo, "any") + b"a"


def _wrap(lot: random.Random, memo: Memo, _names: dict[str, bytes]) -> bytes:
    return _get(lot, memo, "any") + lot.choice([b"", b"\x85", b"\x85\x85"])


def _refer(lot: random.Random, memo: Memo, _names: dict[str, bytes]) -> bytes:
    key = _get(lot, memo, lot.choice(["text", "any"]))
    return b"(" + text("storage") + named("torch.FloatStorage") + key + key + b"K\x00tQ"


def _share_state(lot: random.Random, memo: Memo, _names: dict[str, bytes]) -> bytes:
    name = text(lot.choice(["_parameters", "_buffers", "_modules", "threshold"]))
    made = named("torch.nn.modules.activation.Threshold") + b")\x81}"
    return made + name + _get(lot, memo, "dict") + b"sb"


_STEPS = [
    _call,
    _call,
    _call,
    _call_with_a_tuple,
    _give_state,
    _put,
    _append,
    _wrap,
    _refer,
    _share_state,
]
