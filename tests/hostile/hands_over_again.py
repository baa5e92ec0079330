"""A small pickle that hands one large thing over again and again, and each time it is copied."""

from __future__ import annotations

from collections.abc import Callable

from tests.hostile.parts import beside_a_weight, called, named, number, storage, tensor, text

LARGE, SMALL, OTHER = b"q\x01", b"q\x02", b"q\x03"
_LARGE, _SMALL, _OTHER = b"h\x01", b"h\x02", b"h\x03"


def _again(kept: bytes, each: bytes, times: int) -> bytes:
    """Return a checkpoint that keeps some things, and then does the same so many times."""
    return beside_a_weight(
        text("kept") + b"](" + kept + b"e" + text("made") + b"](" + each * times + b"e"
    )


def _list(count: int, opening: bytes = b"](", closing: bytes = b"e") -> bytes:
    return opening + b"".join(b"K" + bytes([n % 256]) for n in range(count)) + closing


def _dict(count: int) -> bytes:
    return b"}(" + b"".join(text(f"a{n}") + b"N" for n in range(count)) + b"u"


def sets(count: int = 5000, times: int = 1000) -> bytes:
    """Return sets of one list."""
    kept = _list(count) + LARGE + named("builtins.set") + SMALL
    return _again(kept, _SMALL + _LARGE + b"\x85R", times)


def counters(count: int = 2000, times: int = 1000) -> bytes:
    """Return Counters of one dict."""
    kept = _dict(count) + LARGE + named("collections.Counter") + SMALL
    return _again(kept, _SMALL + _LARGE + b"\x85R", times)


def ordered_dicts(count: int = 2000, times: int = 1000) -> bytes:
    """Return OrderedDicts of one list of pairs."""
    pairs = b"](" + b"".join(b"](" + number(n) + b"Ne" for n in range(count)) + b"e"
    kept = pairs + LARGE + named("collections.OrderedDict") + SMALL
    return _again(kept, _SMALL + _LARGE + b"\x85R", times)


def sizes(count: int = 5000, times: int = 1000) -> bytes:
    """Return Sizes of one tuple."""
    kept = _list(count, b"(", b"t") + LARGE + named("torch.Size") + SMALL
    return _again(kept, _SMALL + _LARGE + b"\x85R", times)


def arguments(count: int = 20_000, times: int = 20_000) -> bytes:
    """Return calls with the same long arguments, which are no copy, and are looked through."""
    kept = _list(count, b"(", b"t") + LARGE + named("collections.OrderedDict") + SMALL
    return _again(kept, _SMALL + _LARGE + b"R", times)


def one_argument(count: int = 50_000, times: int = 50_000) -> bytes:
    """Return one call, whose arguments are the same long tuple over and over."""
    kept = _list(count, b"(", b"t") + LARGE + named("collections.OrderedDict") + SMALL
    return _again(kept, _SMALL + b"(" + _LARGE * times + b"tR", 1)


def parts_of_states(count: int = 20_000, times: int = 20_000) -> bytes:
    """Return an OrderedDict that is given the same long tuple over and over."""
    kept = _list(count, b"(", b"t") + LARGE + named("collections.OrderedDict") + b")R" + SMALL
    return _again(kept, _SMALL + _LARGE + b"b", times)


def attributes_deep_inside(count: int = 20_000, times: int = 20_000) -> bytes:
    """Return tensors that are given the attributes of one dict, three tuples inside the call."""
    kept = _dict(count) + LARGE + named("torch._tensor._rebuild_from_type_v2") + SMALL
    rebuild = named("torch._utils._rebuild_parameter_with_state") + named("torch.Tensor")
    inside = b"(" + tensor() + b"\x89N" + _LARGE + b"N\x86t"
    kept += b"(" + rebuild + inside + b"Nt" + OTHER
    return _again(kept, _SMALL + _OTHER + b"R", times)


def texts(count: int = 20_000, times: int = 1000) -> bytes:
    """Return the bytes of one text."""
    kept = text("x" * count) + LARGE + named("_codecs.encode") + SMALL + text("latin1") + OTHER
    return _again(kept, _SMALL + _LARGE + _OTHER + b"\x86R", times)


def bytearrays(count: int = 20_000, times: int = 1000) -> bytes:
    """Return bytearrays of the same bytes."""
    kept = called("_codecs.encode", text("x" * count), text("latin1")) + LARGE
    return _again(kept + named("builtins.bytearray") + SMALL, _SMALL + _LARGE + b"\x85R", times)


def states(count: int = 2000, times: int = 1000) -> bytes:
    """Return OrderedDicts that are given the attributes of one dict."""
    kept = _dict(count) + LARGE + named("collections.OrderedDict") + SMALL
    return _again(kept, _SMALL + b")R" + _LARGE + b"b", times)


def attributes(count: int = 2000, times: int = 1000) -> bytes:
    """Return tensors that are given the attributes of one dict."""
    kept = _dict(count) + LARGE + named("torch._utils._rebuild_parameter_with_state") + SMALL
    each = _SMALL + b"(" + _OTHER + b"\x89N" + _LARGE + b"tR"
    return _again(kept + tensor() + OTHER, each, times)


def modules(count: int = 2000, times: int = 1000) -> bytes:
    """Return modules that are given the attributes of one dict."""
    kept = _dict(count) + LARGE + named("torch.nn.modules.activation.ReLU") + SMALL
    return _again(kept, _SMALL + b")\x81" + _LARGE + b"b", times)


def modules_of_one_value(count: int = 20_000, times: int = 2000) -> bytes:
    """Return modules that hold one list, each in a tuple of its own; that is no copy."""
    kept = _list(count) + LARGE + named("torch.nn.modules.activation.Threshold") + SMALL
    each = _SMALL + b")\x81}" + text("value") + _LARGE + b"\x85sb"
    return _again(kept, each, times)


def modules_of_one_state(count: int = 20_000, times: int = 2000) -> bytes:
    """Return modules that have one dict for their parameters, none of which is there; no copy."""
    kept = _dict(count) + LARGE + named("torch.nn.modules.activation.ReLU") + SMALL
    return _again(kept, _SMALL + b")\x81}" + text("_parameters") + _LARGE + b"sb", times)


def shapes(count: int = 5000, times: int = 1000) -> bytes:
    """Return tensors of one shape, of thousands of extents."""
    ones = _list(count, b"(", b"t") + LARGE
    kept = ones + named("torch._utils._rebuild_tensor_v2") + SMALL + storage() + OTHER
    return _again(kept, _SMALL + b"(" + _OTHER + b"K\x00" + _LARGE * 2 + b"\x89NtR", times)


def long_keys(count: int = 100_000, times: int = 10_000) -> bytes:
    """Return a dict one of whose keys is compared with another of its length, over and over."""
    kept = b"}" + SMALL + b"(" + text("x" * count) + b"N" + text("x" * count) + LARGE + b"Nu"
    return beside_a_weight(text("kept") + kept + (_LARGE + b"Ns") * times)


def long_names(count: int = 100_000, times: int = 1000) -> bytes:
    """Return storages of one name, of any length."""
    kept = text("x" * count) + LARGE + named("torch.FloatStorage") + SMALL + text("storage") + OTHER
    return _again(kept, b"(" + _OTHER + _SMALL + _LARGE + _LARGE + b"K\x00tQ", times)


COPIES: dict[str, Callable[[], bytes]] = {
    function.__name__: function
    for function in (
        sets, counters, ordered_dicts, sizes, arguments, one_argument, parts_of_states,
        attributes_deep_inside, texts, bytearrays, states, attributes, modules, long_keys,
    )
}  # fmt: skip
"""What is refused because of how much is handed over."""
