"""torchvision, made to import beside a CPU build of torch as the page of recipes says."""

from __future__ import annotations

import importlib
import warnings
from importlib.util import find_spec
from typing import Any

import pytest

from tests.recipes.page import BESIDE_A_CPU_BUILD, sections


@pytest.fixture(scope="session", autouse=True)
def torchvision_imports() -> dict[str, Any]:
    """Declare what torchvision misses, where it does; what declares it has to stay."""
    names: dict[str, Any] = {}
    if find_spec("torchvision") is None:
        return names
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import torchvision
        except RuntimeError:
            (block,) = sections()[BESIDE_A_CPU_BUILD]
            exec(block.code, names)  # noqa: S102  # the page's own code
            import torchvision  # noqa: F401  # so that no test is the first
    return names


@pytest.fixture(scope="session", autouse=True)
def monai_imports(torchvision_imports: dict[str, Any]) -> None:
    """Import MONAI's handlers quietly: an import that a warning has broken stays broken there."""
    if find_spec("monai") is not None and find_spec("ignite") is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module("monai.handlers")
