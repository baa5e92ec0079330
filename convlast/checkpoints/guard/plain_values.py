"""Values of Python's own that trainers store beside a state dict: paths, dates, exact numbers.

Each is made by one call whose arguments are text or numbers, and none of these calls reads a file,
imports a module or runs code from the file. The version of torch is made by NEWOBJ instead. Each
name has its own rule for the arguments. Long texts are refused where parsing one takes more than
linear time.

`collections.defaultdict` and `collections.deque` are not among them: torch's unpickler fills dicts
and lists only.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import http
import os
import pathlib
import re
import signal
import socket
import uuid
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Any

from torch.torch_version import TorchVersion

from convlast.checkpoints.guard.outlines import OPAQUE, UNKNOWN, Bytes, List, Set
from convlast.checkpoints.guard.rebuilding import Arguments, Judge

_MAX_DIGITS = 1000
"""The longest number that is read from text."""

_MAX_VERSION_CHARS = 100
"""The longest version; each comparison parses it."""

VERSION = "torch.torch_version.TorchVersion"
"""The class of `torch.__version__`."""

_ENUMS: tuple[type[Enum], ...] = (
    *(http.HTTPStatus, http.HTTPMethod),
    *(re.RegexFlag, signal.Signals, uuid.SafeUUID),
    *(socket.AddressFamily, socket.SocketKind),
)

_PATHS = ("PurePosixPath", "PureWindowsPath", "WindowsPath" if os.name == "nt" else "PosixPath")
"""The kinds of paths that can be made on this system."""


def _path(arguments: Arguments) -> object:
    return OPAQUE if all(isinstance(part, str) for part in arguments) else UNKNOWN


def _date(nbytes: int) -> Judge:
    def judge(arguments: Arguments) -> object:
        match arguments:
            case (Bytes(nbytes=found),) | (Bytes(nbytes=found), _) if found == nbytes:
                # A zone is the result of another call, which was judged.
                return OPAQUE if all(zone is OPAQUE for zone in arguments[1:]) else UNKNOWN
        return UNKNOWN

    return judge


def _zone(arguments: Arguments) -> object:
    match arguments:
        case (offset,) | (offset, str()) if offset is OPAQUE:
            return OPAQUE
    return UNKNOWN


def _integers(*numbers: int) -> Judge:
    def judge(arguments: Arguments) -> object:
        are_integers = all(isinstance(part, int | None) for part in arguments)
        return OPAQUE if len(arguments) in numbers and are_integers else UNKNOWN

    return judge


def _decimal(arguments: Arguments) -> object:
    match arguments:
        case (str() as text,) if len(text) <= _MAX_DIGITS:
            return OPAQUE
    return UNKNOWN


def _fraction(arguments: Arguments) -> object:
    match arguments:
        case (int(), int()):
            return OPAQUE
    return _decimal(arguments)


def _enum(arguments: Arguments) -> object:
    match arguments:
        case (int() | str(),):
            return OPAQUE
    return UNKNOWN


def _frozenset(arguments: Arguments) -> object:
    match arguments:
        case (List(items=items),):
            return Set(items)
    return UNKNOWN


def version(arguments: Arguments) -> object:
    """Judge the arguments of torch's version, which is text."""
    match arguments:
        case (str() as text,) if len(text) <= _MAX_VERSION_CHARS:
            return OPAQUE
    return UNKNOWN


def _bytes(arguments: Arguments) -> object:
    return Bytes(0) if arguments == () else UNKNOWN


_BUILTINS: dict[str, tuple[Any, Judge]] = {
    "bytes": (bytes, _bytes),
    "frozenset": (frozenset, _frozenset),
    "slice": (slice, _integers(3)),
    "range": (range, _integers(3)),
}


@cache
def table() -> Mapping[str, tuple[Any, Judge]]:
    """Return the class and the judge of its calls, by each name that it has in pickles."""
    found: dict[str, tuple[Any, Judge]] = {
        "datetime.date": (datetime.date, _date(4)),
        "datetime.time": (datetime.time, _date(6)),
        "datetime.datetime": (datetime.datetime, _date(10)),
        "datetime.timedelta": (datetime.timedelta, _integers(3)),
        "datetime.timezone": (datetime.timezone, _zone),
        "decimal.Decimal": (decimal.Decimal, _decimal),
        "fractions.Fraction": (fractions.Fraction, _fraction),
        VERSION: (TorchVersion, version),
    }
    for kind in _PATHS:  # Python 3.13 named the module anew
        for module in ("pathlib", "pathlib._local"):
            found[f"{module}.{kind}"] = (getattr(pathlib, kind), _path)
    for enum in _ENUMS:
        found[f"{enum.__module__}.{enum.__qualname__}"] = (enum, _enum)
    for name, known in _BUILTINS.items():
        found[f"builtins.{name}"] = found[f"__builtin__.{name}"] = known
    found["__builtin__.xrange"] = _BUILTINS["range"]
    return found
