"""The keyword arguments of an architecture: plain JSON of bounded size that downloads nothing."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from convlast.architectures.resolving import Builder
from convlast.errors import OptionError
from convlast.options import MAX_DEPTH

MAX_CHARACTERS = 256 << 10
"""The largest size of the options, written as JSON."""

_KEYWORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}", re.ASCII)
_LAYER = re.compile(r"torch\.nn\.(?:modules\.[a-z]+\.)?([A-Z][A-Za-z0-9]{0,99})", re.ASCII)


def keywords_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments that the options describe.

    A string that names a class of `torch.nn`, such as `"torch.nn.Conv3d"`, becomes that class:
    some architectures take one, and nnU-Net's plans contain such names.

    Raises:
        OptionError: If they are not plain JSON, too large, or would fetch weights.

    >>> keywords_of({"layers": [2, 2], "conv_op": "torch.nn.Conv3d", "pretrained": False})
    {'layers': [2, 2], 'conv_op': <class 'torch.nn.modules.conv.Conv3d'>, 'pretrained': False}
    """
    _require_short(_require_plain(options, 0))
    _require_short(len(json.dumps(options)))
    for name, value in options.items():
        if not _KEYWORD.fullmatch(name):
            raise _refusal(f"{name[:100]!r} is not the name of a public argument")
        if _fetches(name) and value not in (None, False):
            raise _refusal(f"{name!r} would fetch weights", "The values are the checkpoint's own.")
    return {name: _with_layers(value) for name, value in options.items()}


def defaults_against_fetching(builder: Builder) -> dict[str, bool]:
    """Return the arguments that keep a class or function from fetching weights by default."""
    try:
        parameters = inspect.signature(builder).parameters
    except (TypeError, ValueError):
        return {}
    return {
        name: False
        for name, parameter in parameters.items()
        if _fetches(name) and parameter.default is True
    }


def taken_by(builder: Builder, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments that a class or function has a parameter for."""
    parameters = inspect.signature(builder).parameters
    return {name: value for name, value in keywords.items() if name in parameters}


def _fetches(name: str) -> bool:
    """Say whether an argument of this name asks for weights from elsewhere."""
    words = name.split("_")
    return "pretrained" in words or words[0] == "weights" or name.endswith("_weights_path")


def _require_plain(value: object, depth: int) -> int:
    """Refuse values that are not JSON; return how many characters they have at least.

    They are counted before they are written as JSON, because a file may refer to one long string
    many times.
    """
    if depth > MAX_DEPTH:
        raise _refusal("they are nested too deeply")
    if type(value) is str:
        return len(value)
    parts: list[object] = []
    if isinstance(value, dict):
        if not all(type(name) is str for name in value):
            raise _refusal("an object's names must be strings")
        parts = [*value, *value.values()]
    elif isinstance(value, list | tuple):
        parts = [*value]
    elif type(value) not in (int, float, bool, type(None)):
        raise _refusal(f"a {type(value).__name__} is not JSON")
    characters = 1
    for part in parts:
        characters += _require_plain(part, depth + 1)
        _require_short(characters)
    return characters


def _require_short(characters: int) -> None:
    if characters > MAX_CHARACTERS:
        raise _refusal(f"they are longer than {MAX_CHARACTERS:,} characters")


def _with_layers(value: Any) -> Any:
    """Replace names of classes of `torch.nn` by the classes."""
    if isinstance(value, dict):
        return {name: _with_layers(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_with_layers(part) for part in value]
    if isinstance(value, str) and (named := _LAYER.fullmatch(value)):
        if named[1] in nn.modules.__all__ and issubclass(
            layer := getattr(torch.nn, named[1]), nn.Module
        ):
            return layer
        raise _refusal(f"torch.nn has no layer {named[1]!r}")
    return value


def _refusal(reason: str, remedy: str = "") -> OptionError:
    return OptionError("architecture_options", f"architecture_options: {reason}.", remedy=remedy)
