"""A pickle that calls what PyTorch allows, with arguments that PyTorch never writes."""

from __future__ import annotations

from tests.hostile.parts import (
    PROTOCOL,
    STOP,
    beside_a_weight,
    called,
    named,
    number,
    numbers,
    storage,
    tensor,
    text,
    torch_zip,
)

_IDEOGRAPHS = "".join(chr(0x4E00 + index % 20_000) for index in range(15_000))


def _value(value: bytes) -> bytes:
    return beside_a_weight(text("x") + value)


def encoding(codec: str) -> bytes:
    """Return a text in a codec that takes time or memory of its own."""
    return _value(called("_codecs.encode", text(_IDEOGRAPHS), text(codec)))


def a_class_as_a_value(name: str) -> bytes:
    """Return a class that is not called at all."""
    return _value(named(name))


def a_bytearray_of_a_number(nbytes: int = 10**9) -> bytes:
    """Return a call that sets so many bytes aside."""
    return _value(called("builtins.bytearray", number(nbytes)))


def a_tensor_of_numbers(name: str = "torch.Tensor") -> bytes:
    """Return a call of a class of tensors with extents, which would make one of them."""
    return _value(called(name, number(1 << 20), number(1 << 12)))


def a_new_tensor_of_numbers() -> bytes:
    """Return the same by the opcode that makes objects."""
    return _value(named("torch.Tensor") + numbers(1 << 20, 1 << 12) + b"\x81")


def a_storage_of_a_number() -> bytes:
    """Return a storage that is made, and not read."""
    return _value(called("torch.storage.UntypedStorage", number(1 << 40)))


def a_set_of_a_text() -> bytes:
    """Return a set of what a text has in it."""
    return _value(called("builtins.set", text("abc")))


def a_counter_of_a_list() -> bytes:
    """Return a Counter that counts."""
    return _value(called("collections.Counter", b"](K\x01K\x01e"))


def a_size_of_a_text() -> bytes:
    """Return a torch.Size of no numbers."""
    return _value(called("torch.Size", text("ab") + b"\x85"))


def a_complex_number_of_a_text(digits: int = 1000) -> bytes:
    """Return a number that has to be read."""
    return _value(called("builtins.complex", text(digits * "1")))


def an_ordered_dict_of_a_dict() -> bytes:
    """Return an OrderedDict that copies another dict."""
    return _value(called("collections.OrderedDict", b"}K\x01K\x01s"))


def a_tensor_of_a_text() -> bytes:
    """Return a tensor whose storage is a text."""
    return _value(
        called(
            "torch._utils._rebuild_tensor_v2",
            text("0") + number(0) + numbers(1) + numbers(1) + b"\x89N",
        )
    )


def a_parameter_of_a_number() -> bytes:
    """Return a parameter that is made of no tensor."""
    return _value(called("torch.nn.parameter.Parameter", number(1)))


def a_meta_tensor_of_a_function() -> bytes:
    """Return a tensor whose dtype is no dtype."""
    return _value(
        called(
            "torch._utils._rebuild_meta_tensor_no_storage",
            named("torch.device") + numbers(1) + numbers(1) + b"\x89",
        )
    )


def a_conjugation_of_anything() -> bytes:
    """Return a tensor with bits that no tensor has."""
    return _value(
        called(
            "torch._utils._rebuild_tensor_v2",
            storage()
            + number(0)
            + numbers(2)
            + numbers(1)
            + b"\x89N"
            + b"}"
            + text("x")
            + b"\x88s",
        )
    )


def any_function_through_another(function: str = "builtins.bytearray") -> bytes:
    """Return a call of what calls what it is given."""
    return _value(
        called(
            "torch._tensor._rebuild_from_type_v2",
            named(function) + named("torch.Tensor") + number(10**9) + b"\x85}",
        )
    )


def in_the_legacy_preamble(call: bytes) -> bytes:
    """Return a legacy file whose third pickle, which describes the machine, calls something."""
    magic = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
    version = PROTOCOL + b"M\xe9\x03" + STOP
    return magic + version + PROTOCOL + call + STOP


def a_call_in_the_preamble() -> bytes:
    """Return such a file that sets memory aside."""
    return in_the_legacy_preamble(called("builtins.bytearray", number(10**9)))


def under_an_older_name() -> bytes:
    """Return a name that PyTorch takes for another, as Python 2 called it."""
    return _value(called("UserDict.Counter", b"}"))


def an_attribute_of_a_set() -> bytes:
    """Return a set that is given attributes."""
    return _value(called("builtins.set", b"]") + b"}b")


def a_value_that_is_called() -> bytes:
    """Return a tensor that is called."""
    return torch_zip(PROTOCOL + tensor() + b")R" + STOP)
