"""Copies of a module, so that a run leaves nothing behind for the next.

Some models keep what they computed: frames between two chunks of a video, the features of the last
call. A run that raises leaves such state half made, and then all later runs fail.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import fx, nn


def fresh(module: Any) -> Any:
    """Return a copy of a module to run once: its parameters are shared, its state is not.

    TorchScript copies its parameters too.
    """
    if isinstance(module, fx.GraphModule):
        return _with_own_buffers(module)
    return copy.deepcopy(module, {id(parameter): parameter for parameter in module.parameters()})


def _with_own_buffers(module: nn.Module) -> nn.Module:
    """Copy the modules and buffers of an exported program, whose only state are its buffers.

    A deep copy would copy its graph as well, which takes longer than a run.
    """
    made = object.__new__(type(module))
    vars(made).update(vars(module))
    vars(made)["_buffers"] = {
        name: None if buffer is None else buffer.clone() for name, buffer in module._buffers.items()
    }
    vars(made)["_modules"] = {
        name: None if part is None else _with_own_buffers(part)
        for name, part in module._modules.items()
    }
    return made
