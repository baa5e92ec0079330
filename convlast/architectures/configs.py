"""Model descriptions in a checkpoint, or in files beside it: read as data, never evaluated.

These are a diffusers or transformers `config.json`, the `network_def` of a MONAI bundle, and the
plans that nnU-Net stores in its checkpoints. In a bundle a string that starts with `$` is Python
code, which is refused; `@name` refers to another place in the file, which may have plain values
only.

Source: https://docs.monai.io/en/stable/config_syntax.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from convlast.errors import ArchitectureNotAllowedError

MAX_BYTES = 4 << 20
"""The largest file that is read."""

Read: TypeAlias = Callable[[str], bytes | None]

_CONFIG = "config.json"
_BUNDLE = ("inference.json", "train.json", "evaluate.json")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}", re.ASCII)
_NOTES = {"_desc_", "_mode_"}
_MAX_VALUES, _MAX_DEPTH = 20_000, 40
_GENERATIONS = 8


@dataclass(frozen=True)
class Spec:
    """A model, as a file describes it.

    Attributes:
        name: Its dotted name.
        options: Its keyword arguments, as JSON.
        origin: The file, or the part of it, that describes the model.
        is_whole_config: Whether `options` may also have arguments that the class does not take.
        obstacle: Why the description cannot be used.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    origin: str = "config.json"
    is_whole_config: bool = False
    obstacle: ArchitectureNotAllowedError | None = None


def discover(folder: Path, file: Path) -> Spec | None:
    """Look in the files around a checkpoint for a description of its model.

    Args:
        folder: The model's folder; nothing outside it is read, and no link is followed.
        file: The checkpoint in it.

    Returns:
        The nearest description of a known kind; None if there is none.
    """
    top, path = folder.resolve(), file.resolve()
    if not path.is_relative_to(top):
        return None
    return SpecsBeside(lambda name: _bytes_of(top / name)).of(path.relative_to(top).as_posix())


class SpecsBeside:
    """The model descriptions in a folder, for the checkpoints in it.

    The files of each folder are read once, however many checkpoints are below it.
    """

    def __init__(self, read: Read) -> None:
        """Store `read`, which returns the bytes of the file at a path, or None if there is none."""
        self._read = read
        self._known: dict[PurePosixPath, Spec | None] = {}

    def of(self, file: str) -> Spec | None:
        """Look for a description around a checkpoint, given its path in the folder, with `/`.

        Returns:
            As `discover`. If it cannot be used, its `obstacle` says why.
        """
        for place in PurePosixPath(file).parents:
            if place not in self._known:
                self._known[place] = self._spec_in(place)
            if (found := self._known[place]) is not None:
                return found
        return None

    def _spec_in(self, place: PurePosixPath) -> Spec | None:
        """Look for a description in the files of one folder."""
        config = _parsed(self._read(str(place / _CONFIG)))
        if config and (found := spec_of_config(config)):
            return found
        for name in (*_BUNDLE, *(f"configs/{name}" for name in _BUNDLE)):
            try:
                config = _parsed(self._read(str(place / name)))
                if config and (found := spec_of_bundle(config)):
                    return found
            except ArchitectureNotAllowedError as error:
                return Spec("", origin="network_def", obstacle=error)
        return None


def spec_of_config(config: Mapping[str, Any]) -> Spec | None:
    """Return the model that a diffusers or transformers `config.json` describes; else None.

    >>> spec_of_config({"_class_name": "AutoencoderKLWan", "z_dim": 16}).name
    'diffusers.AutoencoderKLWan'
    >>> spec_of_config({"architectures": ["VideoMAEModel"], "model_type": "videomae"}).name
    'transformers.VideoMAEModel'
    """
    if _is_name(class_name := config.get("_class_name")):
        return Spec(f"diffusers.{class_name}", _public(config), "config.json", True)
    named = config.get("architectures")
    first = named[0] if isinstance(named, list) and named else None
    if _is_name(first) and _is_name(config.get("model_type")):
        return Spec(f"transformers.{first}", _public(config), "config.json", True)
    return None


def spec_of_bundle(config: Mapping[str, Any]) -> Spec | None:
    """Return the model that the `network_def` of a MONAI bundle describes; None if it has none.

    Raises:
        ArchitectureNotAllowedError: If it would have to be evaluated, or contains other objects.

    >>> bundle = {"channels": [8, 16], "network_def": {"_target_": "UNet", "channels": "@channels"}}
    >>> found = spec_of_bundle(bundle)
    >>> found.name, found.options
    ('monai.networks.nets.UNet', {'channels': [8, 16]})
    """
    for place in ("network_def", "network", "net"):
        said = config.get(place)
        if isinstance(said, dict) and "_target_" in said:
            break
    else:
        return None
    target = said["_target_"]
    if not isinstance(target, str) or target.startswith(("$", "@", "%")):
        raise _refusal(place, "a _target_", target)
    literals = _Literals(config)
    options = {
        name: literals.of(value, f"{place}.{name}")
        for name, value in said.items()
        if name != "_target_" and name not in _NOTES
    }
    if special := [name for name in options if name.startswith("_")]:
        raise _refusal(place, f"a {special[0]}", said[special[0]])
    name = target if "." in target else f"monai.networks.nets.{target}"
    return Spec(name, options, "network_def")


def spec_of_plans(root: object) -> Spec | None:
    """Return the model that the plans in an nnU-Net checkpoint describe; None for any other.

    Source: https://github.com/MIC-DKFZ/nnUNet/blob/master/documentation/explanation_plans_files.md
    """
    arguments = _at(root, "init_args")
    configurations = _at(arguments, "plans", "configurations")
    said = _at(configurations, _at(arguments, "configuration"))
    for _ in range(_GENERATIONS):
        if _at(said, "architecture") is not None:
            break
        said = _at(configurations, _at(said, "inherits_from"))
    name = _at(said, "architecture", "network_class_name")
    options = _at(said, "architecture", "arch_kwargs")
    channels = _at(arguments, "dataset_json", "channel_names")
    classes = _classes(_at(arguments, "dataset_json", "labels"))
    if not isinstance(name, str) or not isinstance(options, dict) or classes == 0:
        return None
    sizes = {"input_channels": len(channels or ()), "num_classes": classes}
    return Spec(name, {**options, **sizes}, "plans of nnU-Net")


def _at(value: object, *keys: object) -> Any:
    """Return the value at a path of keys in nested dicts; None if there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) and isinstance(key, str) else None
    return value


def _classes(labels: object) -> int:
    """Count the outputs for nnU-Net's labels; if some are regions, the background has none."""
    if not isinstance(labels, dict):
        return 0
    kept = [value for name, value in labels.items() if name != "ignore"]
    has_regions = any(isinstance(value, list | tuple) and len(value) > 1 for value in kept)
    return len(kept) - 1 if has_regions else len(kept)


class _Literals:
    """Resolves the references in a config to plain values, up to a number of values."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self._left = _MAX_VALUES

    def of(self, value: Any, place: str, depth: int = 0) -> Any:
        """Return a value with its references resolved."""
        self._left -= 1
        if self._left < 0 or depth > _MAX_DEPTH:
            raise _refusal(place, "too many values, or a cycle of references,", value)
        if isinstance(value, dict):
            if any(str(name).startswith("_") for name in value):
                raise _refusal(place, "an object", value)
            return {name: self.of(part, place, depth + 1) for name, part in value.items()}
        if isinstance(value, list):
            return [self.of(part, place, depth + 1) for part in value]
        if not isinstance(value, str) or not value.startswith(("$", "@", "%")):
            return value
        if not value.startswith("@"):
            raise _refusal(place, "a text", value)
        return self.of(self._at(value, place), place, depth + 1)

    def _at(self, reference: str, place: str) -> Any:
        found: Any = self._config
        for part in re.split(r"::|#", reference[1:]):
            if isinstance(found, dict) and part in found:
                found = found[part]
            elif (
                isinstance(found, list)
                and part.isdecimal()
                and len(part) < 9
                and int(part) < len(found)
            ):
                found = found[int(part)]
            else:
                raise _refusal(place, "a reference to nothing", reference)
        return found


def _refusal(place: str, what: str, value: object) -> ArchitectureNotAllowedError:
    shown = str(value)[:100].encode("ascii", "backslashreplace").decode()
    return ArchitectureNotAllowedError(
        f"{place} has {what} that would have to be evaluated: {shown!r}.",
        remedy="Write plain values in its place, or name the model with architecture and "
        "architecture_options.",
    )


def _bytes_of(path: Path) -> bytes | None:
    """Read a small file; None if it is not a small file, or is behind a link."""
    try:
        if path.resolve() != path or not path.is_file() or path.stat().st_size > MAX_BYTES:
            return None
        return path.read_bytes()
    except OSError:
        return None


def _parsed(data: bytes | None) -> dict[str, Any] | None:
    """Parse a JSON object; None for anything else."""
    if data is None or len(data) > MAX_BYTES:
        return None
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _public(config: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the library's notes, and options that would fetch code or change the arithmetic."""
    left_out = {"auto_map", "dtype", "quantization_config", "torch_dtype"}
    return {
        name: value
        for name, value in config.items()
        if _is_name(name) and name not in left_out and "attn_implementation" not in name
    }


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None
