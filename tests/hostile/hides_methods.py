"""A pickle that gives an object an attribute under the name of a method, which then hides it."""

from __future__ import annotations

from tests.hostile.parts import (
    PROTOCOL,
    STOP,
    beside_a_weight,
    called,
    named,
    tensor,
    text,
    torch_zip,
)


def of_a_state_dict(name: str) -> bytes:
    """Return an OrderedDict whose method is None, with a weight in it."""
    weight = text("conv.weight") + tensor()
    made = named("collections.OrderedDict") + b")R(" + weight + b"u"
    return torch_zip(PROTOCOL + made + b"}" + text(name) + b"Nsb" + STOP)


def of_a_parameter(name: str) -> bytes:
    """Return a parameter whose method is None."""
    made = called(
        "torch._utils._rebuild_parameter_with_state",
        tensor() + b"\x89N" + b"}" + text(name) + b"Ns",
    )
    return beside_a_weight(text("other.weight") + made)


def of_a_parameter_by_slots(name: str) -> bytes:
    """Return the same, through the second half of a state."""
    made = called(
        "torch._utils._rebuild_parameter_with_state",
        tensor() + b"\x89N" + b"N}" + text(name) + b"Ns\x86",
    )
    return beside_a_weight(text("other.weight") + made)


def of_a_tensor(name: str) -> bytes:
    """Return a tensor whose method is None."""
    rebuild = named("torch._utils._rebuild_tensor_v2")
    arguments = tensor().removeprefix(rebuild).removesuffix(b"R")
    made = called(
        "torch._tensor._rebuild_from_type_v2",
        rebuild + named("torch.Tensor") + arguments + b"}" + text(name) + b"Ns",
    )
    return beside_a_weight(text("other.weight") + made)


def by_pairs(name: str) -> bytes:
    """Return an OrderedDict that gets its attributes from a list of pairs."""
    made = named("collections.OrderedDict") + b")R](" + text(name) + b"N\x86eb"
    return beside_a_weight(text("x") + made)


def metadata_that_is_none() -> bytes:
    """Return a state dict whose versions are no dict."""
    return of_a_state_dict("_metadata")


def a_name_that_is_a_number() -> bytes:
    """Return an OrderedDict with an attribute that nobody can ask for."""
    return beside_a_weight(text("x") + named("collections.OrderedDict") + b")R}K\x01Nsb")
