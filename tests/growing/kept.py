"""What a pickle keeps, as long as the input is: each kind of thing that a memo can have."""

from __future__ import annotations

import struct
from collections.abc import Callable

from tests.growing.drawing import Drawing
from tests.growing.programs import Part, again, long, numbered, once
from tests.hostile.parts import FLOATS, named, number, storage, tensor, text

_SHORT_BYTES = 20

_HASHES = (1 << 61) - 1
"""Numbers that differ by this have one hash."""


def keep(one: Drawing, kind: str, index: int) -> list[Part]:
    """Draw something of a kind, or name it, and keep it; what is always short is not kept.

    Some are short, so that others have more room, and what is done with them is not refused.
    """
    if kind not in _KEPT and "." not in kind:
        return []
    parts = _KEPT[kind](one) if kind in _KEPT else [once(named(kind))]
    if one.lot.random() < 0.4:
        parts = [once(part.fill(_SHORT_BYTES)) for part in parts]
    one.memo.setdefault(kind, []).append(b"h" + bytes([index]))
    return [*parts, once(b"q" + bytes([index]))]


def _elements(one: Drawing) -> list[Part]:
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
    return [again(one.get("any")) if one.memo and one.lot.random() < 0.4 else one.lot.choice(some)]


def _list(one: Drawing) -> list[Part]:
    return [once(b"]("), *_elements(one), once(b"e")]


def _tuple(one: Drawing) -> list[Part]:
    return [once(b"("), *_elements(one), once(b"t")]


def _pairs(one: Drawing) -> list[Part]:
    return [once(b"]("), numbered("pair", lambda index: b"](" + number(index) + b"Ne"), once(b"e")]


def _dict(one: Drawing) -> list[Part]:
    value = one.get(one.lot.choice(["any", "none", "none"]))
    pairs = [
        numbered("text: value", lambda index: text(f"a{index}") + value),
        numbered("number: value", lambda index: number(index) + value),
        numbered("a hash: value", lambda index: number(index * _HASHES) + value),
        numbered("tuple: value", lambda index: number(index) + b"\x85" + value),
        numbered("weight", lambda index: text(f"{index}.weight") + _weight(index)),
        again(one.get(one.lot.choice(["text", "any"])) + value),
        again(text("conj") + b"\x88"),
    ]
    return [once(b"}("), one.lot.choice([*pairs[:1] * 3, *pairs]), once(b"u")]


def _weight(index: int) -> bytes:
    """Return a weight, or a view, of the one storage."""
    return tensor((1, 1, 1, 1, 1 + index % 3), (1, 1, 1, 1, 1), index % (FLOATS - 3))


def _text(one: Drawing) -> list[Part]:
    return [long("text", lambda nbytes: text("x" * nbytes))]


def _bytes(one: Drawing) -> list[Part]:
    head = named("_codecs.encode") + b"("
    return [
        once(head),
        long("text", lambda nbytes: text("x" * nbytes)),
        once(text("latin1") + b"tR"),
    ]


def _number(one: Drawing) -> list[Part]:
    ways: list[tuple[str, Callable[[int], bytes]]] = [
        ("LONG4", lambda nbytes: b"\x8b" + struct.pack("<i", nbytes) + b"\x7f" * nbytes),
        ("LONG", lambda nbytes: b"L" + b"9" * nbytes + b"L\n"),
        ("INT", lambda nbytes: b"I" + b"9" * nbytes + b"\n"),
        ("FLOAT", lambda nbytes: b"F1." + b"0" * nbytes + b"1\n"),
        ("FLOAT that is none", lambda nbytes: b"F" + b"x" * nbytes + b"\n"),
    ]
    return [long(*(one.lot.choice(ways) if one.lot.random() < 0.3 else ways[0]))]


def _nested(one: Drawing) -> list[Part]:
    ways = [
        [again(b"(", 1), once(b"N"), again(b"t", 1)],
        [once(b"N"), again(b"\x85")],
        [once(b"]"), numbered("list in a list", lambda _: b"]q\xfeh\xfea")],
        [long("lists", lambda nbytes: b"]" * (nbytes // 2 + 1) + b"a" * (nbytes // 2))],
        [once(b"N" + b"".join(b"q\xff" + b"h\xff" + b"\x86" for _ in range(40)))],
    ]
    return one.lot.choice(ways)


def _storage(one: Drawing) -> list[Part]:
    head = b"(" + text("storage") + named("torch.FloatStorage")
    if one.lot.random() < 0.8:
        return [once(storage())]
    key = long("key", lambda nbytes: text("x" * nbytes))
    return [once(head), key, once(text("cpu") + number(FLOATS) + b"tQ")]


def _module(one: Drawing) -> list[Part]:
    made = named(one.class_of_objects) + b")\x81"
    return [once(made + one.get("dict") + b"b")]


_KEPT: dict[str, Callable[[Drawing], list[Part]]] = {
    "list": _list, "tuple": _tuple, "pairs": _pairs, "dict": _dict, "text": _text,
    "bytes": _bytes, "number": _number, "nested": _nested, "storage": _storage, "module": _module,
}  # fmt: skip

KINDS = (*_KEPT,)
