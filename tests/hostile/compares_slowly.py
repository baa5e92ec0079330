"""A pickle whose keys take long to compare, though there are few of them, or they are small."""

from __future__ import annotations

from tests.hostile.parts import beside_a_weight, called, named, number, numbers, text

_PRIME = (1 << 61) - 1
"""Numbers that differ by this have the same hash.

Source: https://docs.python.org/3/library/stdtypes.html#hashing-of-numeric-types
"""

_TIMES = 4000


def _get(place: int) -> bytes:
    return b"h" + bytes([place])


def _put(place: int) -> bytes:
    return b"q" + bytes([place])


def _list(*items: bytes) -> bytes:
    return b"](" + b"".join(items) + b"e"


def _frozen(*items: bytes) -> bytes:
    return called("builtins.frozenset", _list(*items))


def _keys(*keys: bytes) -> bytes:
    return b"}(" + b"".join(key + b"N" for key in keys) + b"u"


def _value(value: bytes) -> bytes:
    return beside_a_weight(text("x") + value)


def frozen_sets(depth: int = 40) -> bytes:
    """Return two equal sets of a set, and of that set in a tuple, so many levels deep, as keys."""
    chains = b"".join(
        _frozen(number(1)) + _put(first)
        + b"".join(
            _frozen(_get(at), _get(at) + b"\x85") + _put(at + 1)
            for at in range(first, first + depth)
        )
        for first in (0, 100)
    )  # fmt: skip
    return _value(b"](" + chains + _keys(_get(depth), _get(100 + depth)) + b"e")


def fractions_of_one_hash() -> bytes:
    """Return fractions as keys, each of which is compared with all before it."""
    numerators = (5 + index * _PRIME for index in range(_TIMES))
    return _value(_keys(*(called("fractions.Fraction", number(n), number(1)) for n in numerators)))


def numbers_of_one_hash() -> bytes:
    """Return the same with UUIDs."""
    return _value(
        _keys(
            *(
                named("uuid.UUID") + b")\x81}" + text("int") + number(5 + index * _PRIME) + b"sb"
                for index in range(_TIMES)
            )
        )
    )


def long_keys(one: bytes) -> bytes:
    """Return a long key, and an equal one that is looked up again and again."""
    keys = _keys(_get(1), *[_get(2)] * _TIMES)
    return _value(b"](" + one + _put(1) + one + _put(2) + keys + b"e")


def long_paths() -> bytes:
    """Return a path of many parts as such a key."""
    return long_keys(called("pathlib.PurePosixPath", text("a/" * 100_000)))


def long_bytes() -> bytes:
    """Return bytes as such a key."""
    return long_keys(called("_codecs.encode", text("a" * 100_000), text("latin1")))


def long_text_of_numpy() -> bytes:
    """Return a text of NumPy's as such a key."""
    state = b"(" + number(3) + text("<") + b"NNN" + number(400_000) + number(4) + number(8) + b"t"
    kind = called("numpy.dtype", text("U100000"), b"\x89\x88") + state + b"b"
    data = called("_codecs.encode", text("a\0\0\0" * 100_000), text("latin1"))
    return long_keys(called("numpy._core.multiarray.scalar", kind, data))


def a_number_that_is_spelt_short(spelling: str) -> bytes:
    """Return a fraction that is far longer than its text."""
    return _value(called("fractions.Fraction", text(spelling)))


def flags_that_are_remembered() -> bytes:
    """Return flags that Python keeps for as long as it runs."""
    return _value(called("re.RegexFlag", number(1 << 1000)))


def a_key_that_changes() -> bytes:
    """Return a UUID as a key, which gets another number afterwards."""
    given = named("uuid.UUID") + b")\x81}" + text("int") + number(5) + b"sb" + _put(1)
    again = _get(1) + b"}" + text("int") + number(6) + b"sb"
    return _value(b"}" + given + b"Ns" + text("x") + again + b"s")


def a_dtype_that_changes() -> bytes:
    """Return a dtype as a key, whose order of bytes is another one afterwards."""
    states = [
        b"(" + number(3) + text(order) + b"NNN" + number(-1) * 2 + number(0) + b"tb"
        for order in "|<"
    ]
    given = called("numpy.dtype", text("i1"), b"\x89\x88") + states[0] + _put(1)
    return _value(b"}" + given + b"Ns" + text("x") + _get(1) + states[1] + b"s")


def a_uuid_without_a_number() -> bytes:
    """Return a UUID that nothing was given to."""
    return _value(named("uuid.UUID") + b")\x81")


def an_array_of_nothing(extents: tuple[int, ...], code: str, item_bytes: int) -> bytes:
    """Return an array without bytes, of such extents."""
    state = numbers(3)[:-1] + (
        text("<") + b"NNN" + number(item_bytes) + number(4) + number(8) + b"t"
        if code.startswith("U")
        else text("<") + b"NNN" + number(-1) * 2 + number(0) + b"t"
    )
    kind = called("numpy.dtype", text(code), b"\x89\x88") + state + b"b"
    encoded = [called("_codecs.encode", text(data), text("latin1")) for data in ("b", "")]
    made = called(
        "numpy._core.multiarray._reconstruct", named("numpy.ndarray"), numbers(0), encoded[0]
    )
    return _value(made + b"(" + number(1) + numbers(*extents) + kind + b"\x89" + encoded[1] + b"tb")
