"""Resolving a name to a class or a function that builds a model, in an allowed module only.

The name is untrusted. So its syntax is checked first, then only modules under an allowed prefix are
imported, and the object with this name must be *defined* there: an `nn.Module` class, or a function
whose annotation says that it returns one. Objects that a module has merely imported are refused; so
are a package's functions that do not build models, since they might run programs, or fetch code.
"""

from __future__ import annotations

import inspect
import re
import sys
from abc import ABCMeta
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from types import FunctionType
from typing import TypeAlias

from torch import nn

from convlast.architectures.packages import attribute_of, import_inside, is_inside
from convlast.errors import ArchitectureNotAllowedError, ConvlastError

PREFIXES = (
    "torchvision.models.video",
    "monai.networks.nets",
    "diffusers",
    "transformers",
    "pytorchvideo.models",
    "dynamic_network_architectures",
)
"""The modules that an architecture may come from, unless a setting says otherwise."""

Builder: TypeAlias = type[nn.Module] | FunctionType

_PART = "[A-Za-z][A-Za-z0-9_]{0,99}"
_NAME = re.compile(rf"{_PART}(\.{_PART}){{1,15}}", re.ASCII)


def resolve(name: str, prefixes: Sequence[str] | None = None) -> Builder:
    """Return the class or function with this name.

    Args:
        name: A dotted name, such as `torchvision.models.video.r3d_18`.
        prefixes: The modules it may come from; None for `PREFIXES`.

    Raises:
        ArchitectureNotAllowedError: If it names anything but an `nn.Module` class, or a function
            that returns one, defined in a module under a prefix.
        OptionError: If its package is not installed.
    """
    prefix = _prefix_of(name, PREFIXES if prefixes is None else prefixes)
    module_name, _, last = name.rpartition(".")
    module = import_inside(module_name)
    try:
        found = attribute_of(module, last)
    except AttributeError as error:
        close = get_close_matches(last, [each for each in dir(module) if each[0].isalpha()])
        raise _refusal(
            name,
            f"there is no {last!r} in {module_name}",
            f"Close to it: {', '.join(close)}." if close else "",
        ) from error
    _require_class_or_function(name, found)
    _require_home(name, found, prefix)
    if isinstance(found, FunctionType) and not _returns_module(found):
        raise _refusal(name, "it does not say, in its annotation, that it returns an nn.Module")
    return found  # type: ignore[return-value]  # it was just looked at


def _prefix_of(name: str, prefixes: Sequence[str]) -> str:
    if not _NAME.fullmatch(name):
        full = _full_name(name, prefixes) if re.fullmatch(_PART, name, re.ASCII) else None
        raise _refusal(
            name,
            "it is not a dotted name of public parts, such as package.module.Name",
            f"Did you mean {full}?" if full else "",
        )
    for prefix in prefixes:
        bare = prefix.rstrip(".")
        if name.startswith(f"{bare}."):
            return bare
    raise _refusal(
        name,
        "it is outside the allowed modules",
        f"Allowed: {', '.join(prefixes) or 'none'}. Allow others with --architecture-prefix, or in "
        "a service with the setting CONVLAST_ARCHITECTURE_PREFIXES.",
    )


def _full_name(last: str, prefixes: Sequence[str]) -> str | None:
    """Return the name of a model under the first prefix that has one of this last part."""
    for prefix in (each.rstrip(".") for each in prefixes):
        try:
            found = attribute_of(import_inside(prefix), last)
        except (AttributeError, ConvlastError):
            continue  # the package has none, or is not installed
        if type(found) in (FunctionType, type, ABCMeta):
            return f"{prefix}.{last}"
    return None


def _require_class_or_function(name: str, found: object) -> None:
    """Refuse an object that is neither; its type is checked, which the object cannot fake."""
    kind = type(found)
    if kind is not FunctionType and kind not in (type, ABCMeta):
        raise _refusal(name, f"it is neither a plain class nor a function, but a {kind.__name__}")
    if isinstance(found, type) and nn.Module not in type.mro(found):
        raise _refusal(name, "it is a class, but not an nn.Module")


def _require_home(name: str, found: object, prefix: str) -> None:
    """Refuse an object that was not defined, under a public name, in a module under the prefix."""
    home, own = getattr(found, "__module__", None), getattr(found, "__qualname__", None)
    if not isinstance(home, str) or not f"{home}.".startswith(f"{prefix}."):
        raise _refusal(name, f"it is defined in {str(home)[:200]}, outside {prefix}")
    if not isinstance(own, str) or not re.fullmatch(_PART, own, re.ASCII):
        raise _refusal(name, "it has no public name of its own")
    module = sys.modules.get(home)
    if module is None or module.__name__ != home or not is_inside(module):
        raise _refusal(name, f"{home} is not a module of the package's own")
    if vars(module).get(own) is not found:
        raise _refusal(name, f"{home}.{own} is a different object")
    if isinstance(found, FunctionType):
        _require_code(name, found, str(getattr(module, "__file__", "")))


def _require_code(name: str, function: FunctionType, file: str) -> None:
    """Refuse a function whose code, below its decorators, is not in the file of its module."""
    try:
        innermost = inspect.unwrap(function)
    except ValueError as error:
        raise _refusal(name, "it wraps itself") from error
    if type(innermost) is not FunctionType:
        raise _refusal(name, "the object that it wraps is not a function")
    if Path(innermost.__code__.co_filename).resolve() != Path(file).resolve():
        raise _refusal(name, "its code comes from another file")


def _returns_module(function: FunctionType) -> bool:
    """Say whether a function is annotated to return an `nn.Module`.

    A string annotation is looked up in the function's module, name by name, and never evaluated.
    """
    innermost = inspect.unwrap(function)
    said = getattr(innermost, "__annotations__", {}).get("return")
    if isinstance(said, str):
        first, *rest = said.strip("'\"").split(".")
        said = innermost.__globals__.get(first)
        for part in rest:
            said = getattr(said, part, None)
    return isinstance(said, type) and nn.Module in type.mro(said)


def _refusal(name: str, reason: str, remedy: str = "") -> ArchitectureNotAllowedError:
    shown = name[:200].encode("ascii", "backslashreplace").decode()
    return ArchitectureNotAllowedError(
        f"The architecture {shown!r} is not allowed: {reason}.",
        remedy=remedy or "Name a model's class, such as monai.networks.nets.UNet.",
        architecture=shown,
    )
