"""The packages that architectures come from, which are imported only when they are needed.

A module counts as part of a package only if its specification says so and its file is in the
package's folder. Any other module with its name in `sys.modules`, or behind a link in the folder,
is refused.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import torch

from convlast.errors import ArchitectureNotAllowedError, OptionError
from convlast.report.wording import words_of

_NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def import_inside(name: str) -> ModuleType:
    """Import a module, after checking where it and each of its parents are.

    Raises:
        ArchitectureNotAllowedError: If it does not exist, or is not in its package's folder.
        OptionError: If the package, or a package that it needs, is not installed.
    """
    top, *rest = name.split(".")
    folder = _folder_of(top)
    module = _import(top)
    for part in rest:
        full = f"{module.__name__}.{part}"
        spec = _specification(full)
        if spec is None:
            raise ArchitectureNotAllowedError(
                f"There is no module {full!r}.", remedy="The last part of the name is no module."
            )
        if not _lies_in(spec, full, folder):
            raise ArchitectureNotAllowedError(f"{full!r} is not a module of {top}'s own.")
        module = _import(full)
    return module


def is_inside(module: ModuleType) -> bool:
    """Say whether an imported module is in the folder of the package that it is named for."""
    spec = getattr(module, "__spec__", None)
    name = module.__name__
    return isinstance(spec, ModuleSpec) and _lies_in(spec, name, _folder_of(name.split(".")[0]))


def _folder_of(top: str) -> Path:
    spec = _specification(top)
    if spec is None:
        raise OptionError(
            "architecture",
            f"The package {top} is not installed here.",
            remedy=f"Install it beside PyTorch: pip install --no-deps {top.replace('_', '-')}, and "
            "what it needs. Or leave architecture out: each layer is then run alone.",
        )
    if spec.origin is None or Path(spec.origin).name != "__init__.py":
        raise ArchitectureNotAllowedError(
            f"{top!r} is not a package with an __init__.py.",
            remedy=f"Make it one: move the module to {top}/__init__.py.",
        )
    return Path(spec.origin).resolve().parent


def _specification(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):  # its parent is not a package, or it has no specification
        return None


def _lies_in(spec: ModuleSpec, name: str, folder: Path) -> bool:
    """Say whether a specification is this module's, and its files are in the folder."""
    places = [spec.origin] if spec.has_location else list(spec.submodule_search_locations or ())
    return (
        spec.name == name
        and bool(places)
        and all(Path(place or "/").resolve().is_relative_to(folder) for place in places)
    )


def attribute_of(module: ModuleType, name: str) -> object:
    """Return an attribute of a module; some modules import a part of themselves for this.

    Raises:
        AttributeError: If there is no such attribute.
        OptionError: If a package that it needs is not installed.
    """
    with _importing(f"{module.__name__}.{name}"):
        return getattr(module, name)


def _import(name: str) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    with _importing(name):
        _prepare_torchvision()
        return importlib.import_module(name)


@contextmanager
def _importing(name: str) -> Iterator[None]:
    """Import without warnings; if the import fails, say what is missing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except AttributeError:
        raise
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise OptionError(
            "architecture",
            f"{name} cannot be imported: {words_of(cause)}.",
            remedy="Install what it needs beside PyTorch, with pip install --no-deps.",
        ) from error


def _prepare_torchvision() -> None:
    """Import torchvision, if it is installed, even if its native library does not load.

    That library is built for one build of PyTorch, and the one on PyPI for CUDA. Without it the
    import fails at two operators that no model of volumes calls. So they are declared here, for the
    life of the process. The other packages import torchvision if it is installed.
    """
    if "torchvision" in sys.modules or _specification("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for operator in ("nms", "qnms"):
            torch.library.define(f"torchvision::{operator}", _NMS)
        importlib.import_module("torchvision")
