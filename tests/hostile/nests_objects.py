"""A small pickle that stands for more, or deeper, objects than anything can visit."""

from __future__ import annotations

from tests.hostile.parts import PROTOCOL, STOP, tensor, text, torch_zip

_DOUBLED = b"".join(b"q" + bytes([n]) + b"h" + bytes([n]) + b"\x86" for n in range(40))
"""Opcodes that put what is on the stack into a tuple twice."""


def lists(depth: int) -> bytes:
    """Return a list in a list in a list."""
    return torch_zip(PROTOCOL + b"]" * depth + b"a" * (depth - 1) + STOP)


def itself_in_a_dict() -> bytes:
    """Return a dict that contains itself, beside a weight."""
    return torch_zip(
        PROTOCOL + b"}q\x00(" + text("conv.weight") + tensor() + text("me") + b"h\x00u" + STOP
    )


def itself_in_a_list(beside: int = 0) -> bytes:
    """Return a list that contains itself, behind so many other things."""
    return torch_zip(PROTOCOL + b"]q\x00(" + b"N" * beside + b"h\x00e" + STOP)


def a_billion_places(*, for_a_tensor: bool) -> bytes:
    """Return a tuple of two that are one, of two that are one ... forty levels deep."""
    inmost = b"]" + (tensor() + b"a" if for_a_tensor else b"")
    weight = text("conv.weight") + tensor()
    return torch_zip(PROTOCOL + b"}(" + weight + text("x") + inmost + _DOUBLED + b"u" + STOP)


def tuples(then: bytes) -> bytes:
    """Return a tuple of two that are one, forty levels deep, handed to an opcode."""
    return torch_zip(PROTOCOL + text("x") + _DOUBLED + then + STOP)


def deep_tuples(then: bytes, depth: int = 100_000) -> bytes:
    """Return a tuple in a tuple in a tuple, handed to an opcode."""
    return torch_zip(PROTOCOL + text("x") + b"\x85" * depth + then + STOP)
