"""A pickle that wants to run a program, or to build a module."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import torch

from tests.hostile.parts import PROTOCOL, STOP, text, torch_zip


class _Call:
    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self._call


def by_os_system(trace: Path, *, legacy: bool = False) -> bytes:
    """Return a checkpoint that leaves a trace when it is unpickled."""
    root = {"conv.weight": torch.ones(1, 2, 1, 1, 1), "x": _Call(os.system, f"touch {trace}")}
    buffer = io.BytesIO()
    torch.save(root, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def in_the_legacy_preamble(trace: Path) -> bytes:
    """Return a legacy file whose third pickle, which only describes the machine, runs code."""
    magic = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
    version = PROTOCOL + b"M\xe9\x03" + STOP
    return magic + version + PROTOCOL + b"cposix\nsystem\n" + text(f"touch {trace}") + b"\x85R."


def by_a_class_of_its_own() -> bytes:
    """Return an object of a class that only its author has."""
    return torch_zip(PROTOCOL + b"cmynet.models\nUNet3d\n)\x81}b" + STOP)


def by_calling_a_module_class() -> bytes:
    """Return a call of a constructor of `torch.nn`, that would set 4 GB aside."""
    return torch_zip(PROTOCOL + b"ctorch.nn.modules.linear\nLinear\nM\xff\xffM\x00\x40\x86R" + STOP)


def by_a_stack_global(module: str, name: str) -> bytes:
    """Return a checkpoint that asks for a global by two texts, as protocol 4 does."""
    return torch_zip(b"\x80\x04" + text(module) + text(name) + b"\x93.")
