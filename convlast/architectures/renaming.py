"""The names of a transformers model's tensors in a file, which differ from those in the model.

transformers renames tensors when it loads and saves. Its own function for this returns the same
object under the other name if a tensor is only renamed. A tensor that is split or joined is another
object, and is not supported here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from convlast.architectures.building import persistent


def saved_names(model: nn.Module) -> dict[str, str]:
    """Return the model's key for each key in a file, if the two differ.

    >>> saved_names(nn.Conv3d(1, 1, 1))
    {}
    """
    if not type(model).__module__.startswith("transformers."):
        return {}
    try:
        from transformers.core_model_loading import revert_weight_conversion

        tensors = persistent(model)
        saved: dict[str, Any] = revert_weight_conversion(model, dict(tensors))
    except Exception:  # older versions rename nothing, and newer ones may do it elsewhere
        return {}
    own = {id(tensor): key for key, tensor in tensors.items()}
    return {
        key: own[id(tensor)]
        for key, tensor in saved.items()
        if isinstance(tensor, torch.Tensor) and id(tensor) in own and own[id(tensor)] != key
    }
