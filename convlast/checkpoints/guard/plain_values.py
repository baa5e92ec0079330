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
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import cache
from typing import Any

from torch.torch_version import TorchVersion

from convlast.checkpoints.guard.outlines import OPAQUE, UNKNOWN, Bytes, Exact, List, Set, Text
from convlast.checkpoints.guard.rebuilding import Arguments, Judge

_MAX_DIGITS = 1000
"""The longest number that is read from text."""

_FRACTION = re.compile(rf"-?[0-9]{{1,{_MAX_DIGITS}}}(/[0-9]{{1,{_MAX_DIGITS}}})?")
"""A fraction as Python writes it. `1e999999999` is one too, and takes all memory there is."""

_MAX_FLAGS = 1 << 10
"""Python keeps each combination of flags that it was ever asked for; more is no flag of `re`."""

_MAX_VERSION_CHARS = 100
"""The longest version; each comparison parses it."""

VERSION = "torch.torch_version.TorchVersion"
"""The class of `torch.__version__`."""

_ENUMS: tuple[type[Enum], ...] = (
    *(http.HTTPStatus, http.HTTPMethod),
    *(signal.Signals, uuid.SafeUUID),
    *(socket.AddressFamily, socket.SocketKind),
)

_DATE, _TIME = (2, 1, 1), (1, 1, 1, 3)
"""The sizes of year, month and day, and of hour, minute, second and microsecond, in bytes."""

_PATHS = ("PurePosixPath", "PureWindowsPath", "WindowsPath" if os.name == "nt" else "PosixPath")
"""The kinds of paths that can be made on this system."""


def _path(arguments: Arguments) -> object:
    parts = [part for part in arguments if isinstance(part, str)]
    return Text(sum(map(len, parts))) if len(parts) == len(arguments) else UNKNOWN


def _date(kind: Callable[..., object], *sizes: int) -> Judge:
    """Return the judge for a class of dates, whose parts have so many bytes each.

    Python itself looks at the month alone, or at the hour, and fails later, at a comparison. The
    second of two hours that are called the same has a month of 128 more, which protocol 2 loses.
    """

    def judge(arguments: Arguments) -> object:
        match arguments:
            case (Bytes() as found,) | (Bytes() as found, _) if found.nbytes == sum(
                sizes
            ) and _can_be_made(kind, found.start, sizes):
                # A zone is the result of another call, which was judged.
                return OPAQUE if all(zone is OPAQUE for zone in arguments[1:]) else UNKNOWN
        return UNKNOWN

    return judge


def _can_be_made(kind: Callable[..., object], data: bytes, sizes: Iterable[int]) -> bool:
    parts, left = [], data
    for size in sizes:
        parts.append(int.from_bytes(left[:size], "big"))
        left = left[size:]
    try:
        kind(*parts)
    except ValueError:
        return False
    return True


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
            return Exact()
    return UNKNOWN


def _fraction(arguments: Arguments) -> object:
    match arguments:
        case (int(), int()):
            return Exact()
        case (str() as text,) if _FRACTION.fullmatch(text):
            return Exact()
    return UNKNOWN


def _enum(arguments: Arguments) -> object:
    match arguments:
        case (int() | str(),):
            return OPAQUE
    return UNKNOWN


def _flags(arguments: Arguments) -> object:
    match arguments:
        case (int() as flags,) if 0 <= flags < _MAX_FLAGS:
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
        "datetime.date": (datetime.date, _date(datetime.date, *_DATE)),
        "datetime.time": (datetime.time, _date(datetime.time, *_TIME)),
        "datetime.datetime": (datetime.datetime, _date(datetime.datetime, *_DATE, *_TIME)),
        "datetime.timedelta": (datetime.timedelta, _integers(3)),
        "datetime.timezone": (datetime.timezone, _zone),
        "decimal.Decimal": (decimal.Decimal, _decimal),
        "fractions.Fraction": (fractions.Fraction, _fraction),
        "re.RegexFlag": (re.RegexFlag, _flags),
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
