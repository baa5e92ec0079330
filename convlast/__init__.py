"""Converts the Conv3d weights of PyTorch checkpoints to channels_last_3d, and proves the result.

Importing this package, or `convlast.report`, does not import torch; the verbs below do when
they are first used (PEP 562).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from convlast.errors import ConvlastError
from convlast.options import Limits, Options
from convlast.version import __version__

if TYPE_CHECKING:
    from convlast.conversion import convert
    from convlast.digests.digesting import digest
    from convlast.inspection import inspect
    from convlast.layout.memory_format import convert_conv3d_weight_memory_format
    from convlast.loading import load, load_into
    from convlast.loading.applied_layout import apply_layout
    from convlast.report import Report
    from convlast.state_dict import convert_state_dict
    from convlast.verification import verify

_HOME = {
    "Report": "convlast.report",
    "apply_layout": "convlast.loading.applied_layout",
    "convert": "convlast.conversion",
    "convert_conv3d_weight_memory_format": "convlast.layout.memory_format",
    "convert_state_dict": "convlast.state_dict",
    "digest": "convlast.digests.digesting",
    "inspect": "convlast.inspection",
    "load": "convlast.loading",
    "load_into": "convlast.loading",
    "verify": "convlast.verification",
}

__all__ = [
    "ConvlastError",
    "Limits",
    "Options",
    "Report",
    "__version__",
    "apply_layout",
    "convert",
    "convert_conv3d_weight_memory_format",
    "convert_state_dict",
    "digest",
    "inspect",
    "load",
    "load_into",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import a verb from its module when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
